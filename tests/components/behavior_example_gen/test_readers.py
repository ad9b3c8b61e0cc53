"""Files into columns: what is read, and which row is set aside why. Values are worked out by hand."""

import fnmatch

import pyarrow as pa
import pytest
from apache_beam.io import filesystem, filesystems

from components.behavior_example_gen import readers, spans, spec
from components.behavior_example_gen.reading import delimited, files
from schemas import errors
from tests.components.behavior_example_gen import harness

HEADER = "user_id,item_id,timestamp,title\n"


def read(path, **settings):
    """The good rows as one table, and the bad ones as (row, reason, value)."""
    # Most times here count from 0.
    log = spec.LogSpec.from_values({"path": str(path), "earliest": "1970-01-01", **settings})
    blocks = [block for source in readers.sources([str(path)], log) for block in readers.read(source, log)]
    assert sum(block.rows for block in blocks) == sum(
        block.batch.num_rows + len(block.rejects) for block in blocks
    )
    rejects = [(r.row, r.reason, r.value) for block in blocks for r in block.rejects]
    return pa.Table.from_batches([block.batch for block in blocks]).to_pydict(), rejects


@pytest.fixture
def rows():
    return [f"u{n},i{n},{1000 + n},t{n}" for n in range(1, 10)]


def test_a_stray_quote_swallows_no_row_in_silence(tmp_path, rows):
    """Not even in a column that no setting names: its own line is the bad one."""
    rows[2] = 'u3,i3,1003,"Big'
    rows[4] = 'u5,i5,1005,small"'
    rows[6] = "u7,i7"
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    found, rejects = read(path)
    assert found["row"] == [1, 2, 4, 5, 6, 8, 9]
    assert found["user_id"] == [b"u1", b"u2", b"u4", b"u5", b"u6", b"u8", b"u9"]
    assert sorted(rejects) == [
        (3, "a quote is not closed", 'u3,i3,1003,"Big'),
        (7, "wrong column count: 2 instead of 4", "u7,i7"),
    ]
    path.write_text(HEADER + "\n".join(rows[:4]) + "\n")
    _, rejects = read(path)
    assert [row for row, _, _ in rejects] == [3]


def test_a_text_of_several_lines_is_no_torn_row(tmp_path, rows):
    rows[2] = 'u3,i3,1003,"Good,\nand it fits.\n\nAgain."'
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    found, rejects = read(path)
    assert found["row"] == list(range(1, 10)) and not rejects


def test_tab_separated_values_have_no_quotes(tmp_path, rows):
    rows[2], rows[4] = 'u3,"i3,1003,"Big', 'u5,"i5",1005,x'
    path = tmp_path / "log.tsv"
    path.write_text((HEADER + "\n".join(rows) + "\n").replace(",", "\t"))
    found, rejects = read(path)
    assert found["row"] == list(range(1, 10)) and not rejects
    assert found["item_id"][2] == b'"i3' and found["item_id"][4] == b'"i5"'


def test_columns_that_are_not_read_may_hold_anything(tmp_path, monkeypatch):
    """Arrow holds a column to the type that it guesses from the first block."""
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 200)
    lines = [f"u{n},i,{n},{'text' if n > 50 else 7}" for n in range(100)]
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    found, rejects = read(path)
    assert found["row"] == list(range(1, 101)) and not rejects


@pytest.mark.parametrize("size", [40, 100, 1000])
def test_a_quote_over_blocks_swallows_nothing(tmp_path, monkeypatch, rows, size):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", size)
    rows[2] = 'u3,i3,1003,"Big'
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(rows * 5) + "\n")
    found, rejects = read(path)
    assert [row for row, _, _ in rejects] == [3, 12, 21, 30, 39]
    assert found["row"] == [n for n in range(1, 46) if n % 9 != 3]


@pytest.mark.parametrize(
    "header, words",
    [
        (
            b"user_id,item_id,timestamp,item_id\n",
            r"column 'item_id' \(log.columns.item_id\) is there 2 times",
        ),
        (b"user_id,item\xff,timestamp\n", "log.csv: not readable as csv"),
        (b"user,item_id,timestamp\n", r"column 'user_id' \(log.columns.user_id\) is missing"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, header, words):
    path = tmp_path / "log.csv"
    path.write_bytes(header + b"u,i,1\n")
    with pytest.raises(errors.InputError, match=words):
        read(path)


def test_columns_that_are_not_read_may_have_one_name(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,x,x\nu,i,1,,\n")
    found, rejects = read(path)
    assert found["timestamp"] == [1000] and not rejects


def test_a_header_may_have_a_mark_empty_lines_and_other_line_ends(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbf"user_id",item_id,timestamp\r\nu,i,1\r\n\r\nv,j,2\r\n')
    found, rejects = read(path)
    assert found["user_id"] == [b"u", b"v"] and found["timestamp"] == [1000, 2000] and not rejects


@pytest.mark.parametrize("broken", ["", "no JSON\n"])
def test_json_ids_are_the_text_that_they_are(tmp_path, broken):
    """Whether or not the block has a bad line, and whatever Arrow takes them for."""
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"user_id": "2020-01-01", "item_id": true, "timestamp": 1}\n'
        + '{"user_id": "2020-01-02 00:00:00", "item_id": false, "timestamp": 2}\n'
        + broken
    )
    found, rejects = read(path)
    assert found["user_id"] == [b"2020-01-01", b"2020-01-02 00:00:00"]
    assert found["item_id"] == [b"true", b"false"] and len(rejects) == bool(broken)
    times = tmp_path / "times.jsonl"
    times.write_text('{"user_id": 1, "item_id": 2, "timestamp": "1970-01-01T00:00:01Z"}\n')
    assert read(times, timestamp_unit="iso8601")[0]["timestamp"] == [1000]


def test_json_keys_may_be_left_out_but_for_those_of_an_event(tmp_path):
    path = tmp_path / "log.jsonl"
    first, second = (
        '{"user_id": 1, "item_id": 2, "timestamp": 3}\n',
        '{"user_id": 1, "item_id": 2, "page": "p"}\n',
    )
    path.write_text(first)
    found, rejects = read(path, columns={"scene": "page"})
    assert found["scene"] == [b""] and not rejects
    path.write_text(second)
    with pytest.raises(errors.InputError, match=r"column 'timestamp' \(log.columns.timestamp\) is missing"):
        read(path, columns={"scene": "page"})
    path.write_text(first + second)
    log = spec.LogSpec.from_values({"path": str(path)})
    assert set(readers.header(str(path), log)) == {"user_id", "item_id", "timestamp", "page"}


def test_hidden_folders_of_a_bucket_are_left_out(monkeypatch):
    """As those of a job that is at work, or of a table's own log; but not one that the path itself names."""
    names_in = ["a.csv", "_temporary/0/b.csv", "_delta_log/0.json", "day/.c.csv", "day/d.csv"]

    def match(patterns):
        listed = [filesystem.FileMetadata(f"gs://b/_log/{name}", 1, 1.0) for name in names_in]
        return [filesystem.MatchResult(patterns[0], listed if patterns[0].endswith("*") else [])]

    monkeypatch.setattr(filesystems.FileSystems, "match", match)
    for pattern in ("gs://b/_log", "gs://b/_log/", "gs://b/_log/**"):
        assert spans.paths(pattern) == ["gs://b/_log/a.csv", "gs://b/_log/day/d.csv"]
    assert not files.is_hidden("gs://b/_log/_temporary/0/b.csv", "gs://b/_log/_temporary/*")


@pytest.mark.parametrize("beside", [[], ["_SUCCESS"], [".DS_Store"]])
def test_folders_that_a_pattern_matches_are_all_files_in_them(tmp_path, monkeypatch, beside):
    """Here and in a bucket, but for hidden ones, which hide no folders that they are beside."""
    names_in = ["day=1/a.csv", "day=2/h/b.csv", "_temporary/0/c.csv", "day=2/_SUCCESS", *beside]
    for name in names_in:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    expected = ["day=1/a.csv", "day=2/h/b.csv"]
    assert spans.paths(f"{tmp_path}/*") == [f"{tmp_path}/{name}" for name in expected]

    def match(patterns):
        listed = [filesystem.FileMetadata(f"gs://b/log/{name}", 1, 1.0) for name in names_in]
        # A * alone crosses no folder.
        below = patterns[0].endswith("/**")
        listed = [m for m in listed if below or m.path.count("/") == patterns[0].count("/")]
        matched = [m for m in listed if fnmatch.fnmatch(m.path, patterns[0])]
        return [filesystem.MatchResult(patterns[0], matched)]

    monkeypatch.setattr(filesystems.FileSystems, "match", match)
    assert spans.paths("gs://b/log/*") == [f"gs://b/log/{name}" for name in expected]
    assert spans.paths("gs://b/log/day={SPAN}", 1) == ["gs://b/log/day=2/h/b.csv"]


@pytest.mark.parametrize(
    "path", ["gs://b/log", "gs://b/log/", "gs://b/log/*", "gs://b/log/**", "gs://b/log/{SPAN}"]
)
def test_what_marks_a_folder_in_a_bucket_is_no_file(monkeypatch, path):
    """As the Cloud console, Cloud Storage FUSE and Hadoop make it: an empty object with / at its end."""
    markers = ["gs://b/log/", "gs://b/log/1/", "gs://b/log/1/h/", "gs://b/log/_temporary/"]
    harness.Bucket("gs://b/log/1/h/a.csv", *markers).in_place(monkeypatch)
    log = spec.LogSpec(path=path)
    (source,) = readers.sources(spans.paths(log.path), log)
    assert (source.path, source.format) == ("gs://b/log/1/h/a.csv", "csv")
    harness.Bucket(*markers).in_place(monkeypatch)
    with pytest.raises(errors.InputError, match=r"no file matches gs://b/log[^;]*(; \{SPAN\} is .*)?$"):
        readers.sources(spans.paths(log.path), log)


@pytest.mark.parametrize(
    "group, name", [("user", "group"), ("user", "status"), ("item", "counts"), ("item", "id")]
)
def test_an_attribute_has_no_name_of_a_feature_or_file_of_footfalls(group, name):
    with pytest.raises(
        ValueError, match=f"{group} attribute cannot be called '{name}': {group}_{name} is Footfall's"
    ):
        spec.Columns.from_values({group: {name: "column"}})
