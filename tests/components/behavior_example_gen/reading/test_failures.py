"""Files that cannot be read: one line that names the file, and the column where it is one."""

import bz2
import decimal
import gzip
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from components.behavior_example_gen import readers, spec
from schemas import errors
from tests.components.behavior_example_gen.reading import harness

LINES = b"user_id,item_id,timestamp\n" + b"".join(
    b"u%d,i%d,%d\n" % (n % 9, n, 1_600_000_000 + n) for n in np.random.default_rng(0).permutation(9000)
)


def refused(path, **settings):
    with pytest.raises(errors.InputError) as caught:
        harness.read(path, **settings)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize(
    "ending, codec, compress",
    [("gz", "gzip", gzip.compress), ("zst", "zstd", zstandard.compress), ("bz2", "bz2", bz2.compress)],
)
def test_cut_damaged_and_misnamed_compressed_files(tmp_path, ending, codec, compress):
    path, whole = tmp_path / f"log.csv.{ending}", compress(LINES)
    path.write_bytes(whole)
    assert len(harness.read(path)[0]) == 9000
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    # Without a checksum, as zstandard writes it, damage may look like other data.
    for data in (
        whole[: len(whole) // 2],
        whole[:-1],
        whole + b"more",
        *[bytes(damaged)] * (codec != "zstd"),
    ):
        path.write_bytes(data)
        assert f"is the file whole, and {codec} as its name says?" in refused(path)
    path.write_bytes(LINES)
    assert "no compressed data" in refused(path)


def write_parquet(path, **columns):
    table = {"user_id": ["u"] * 3, "item_id": ["i"] * 3, "timestamp": [1, 2, 3], **columns}
    pa.parquet.write_table(pa.table(table), path, compression="none", use_dictionary=False)
    return path


def test_parquet_that_is_cut_or_damaged(tmp_path):
    path = tmp_path / "log.parquet"
    items = [f"item-{n:06d}" for n in range(3000)]
    table = {
        "user_id": pa.array(["user"] * 3000),
        "item_id": pa.array(items),
        "timestamp": pa.array(range(3000)),
    }
    pa.parquet.write_table(pa.table(table), path, compression="snappy", use_dictionary=["user_id"])
    whole = path.read_bytes()
    for data in (
        whole[: len(whole) // 2],
        whole[:-3],
        whole[:-20] + b"\xff" * 12 + whole[-8:],
        b"PAR1",
        b"x" * 99,
    ):
        path.write_bytes(data)
        assert "is the file whole?" in refused(path) or "not a Parquet file" in refused(path)
    chunk = pa.parquet.ParquetFile(pa.BufferReader(whole)).metadata.row_group(0).column(1)
    start, damaged = chunk.data_page_offset, bytearray(whole)
    # Behind the header of the page.
    damaged[start + 60 : start + 200] = b"\xff" * 140
    path.write_bytes(damaged)
    message = refused(path)
    assert "column 'item_id' not readable as parquet" in message and "row group 0 (from row 1)" in message


ODD = {
    "struct": (
        pa.array([{"id": 7}] * 3),
        "user_id",
        r"'user_id' \(log.columns.user_id\) holds struct<id: int64>",
    ),
    "list": (pa.array([[7]] * 3), "item_id", r"'item_id' \(log.columns.item_id\) holds list"),
    "duration": (pa.array([1] * 3, pa.duration("s")), "item_id", r"holds duration\[s\]; which has no text"),
    "time struct": (
        pa.array([{"t": 1}] * 3),
        "timestamp",
        r"'timestamp' \(log.columns.timestamp\) holds struct",
    ),
    "time bool": (
        pa.array([True] * 3),
        "timestamp",
        "holds bool; times are timestamps, dates, numbers or text",
    ),
    "time of day": (
        pa.array([1] * 3, pa.time32("s")),
        "timestamp",
        r"holds time32\[ms\]; times are timestamps",
    ),
    "span": (pa.array([1] * 3, pa.duration("s")), "timestamp", r"holds duration\[s\]; times are timestamps"),
}


@pytest.mark.parametrize("values, column, words", ODD.values(), ids=ODD)
def test_types_that_suit_no_column(tmp_path, values, column, words):
    message = refused(write_parquet(tmp_path / "log.parquet", **{column: values}))
    assert re.search(words, message), message


def test_odd_types_that_can_be_read(tmp_path):
    ids = pa.array([decimal.Decimal("7.00"), decimal.Decimal("8.50"), None])
    path = write_parquet(
        tmp_path / "log.parquet", user_id=ids, item_id=pa.array([b"a ", b"b", b"c"], pa.binary())
    )
    rows, rejects, _ = harness.read(path)
    assert harness.ids(rows) == [("7", "a"), ("8.5", "b")]
    assert rejects == [(3, "missing user_id (column 'user_id')")]
    times = pa.array([decimal.Decimal("1.5"), decimal.Decimal("2.0"), None])
    rows, rejects, _ = harness.read(write_parquet(tmp_path / "times.parquet", timestamp=times))
    assert [row["timestamp"] for row in rows] == [1500, 2000] and len(rejects) == 1
    for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        written = (
            pa.array(["3", "4", "5"]).cast(kind)
            if kind == pa.large_string()
            else pa.array(["3", "4", "5"]).dictionary_encode()
        )
        rows, _, _ = harness.read(
            write_parquet(tmp_path / "texts.parquet", timestamp=written, user_id=written)
        )
        assert [(row["user_id"], row["timestamp"]) for row in rows] == [("3", 3000), ("4", 4000), ("5", 5000)]


def test_parquet_says_of_any_bytes_that_they_are_text(tmp_path):
    raw = pa.array([b"a", b"\xff", b"c"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    rows, rejects, _ = harness.read(write_parquet(tmp_path / "log.parquet", item_id=text))
    assert [row["item_id"] for row in rows] == ["a", "c"]
    assert rejects == [(2, "invalid UTF-8 in column 'item_id'")]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_files_that_the_system_refuses(tmp_path, monkeypatch, ending):
    path = tmp_path / f"log.{ending}"
    path.mkdir()
    log = spec.LogSpec(path=str(path))
    source = readers.files.Source(str(path), 0, ending, 0 if ending == "parquet" else None)
    with pytest.raises(errors.InputError, match="cannot be read .Is a directory"):
        readers.header(str(path), log)
    path.rmdir()
    with pytest.raises(errors.InputError, match="cannot be read .No such file or directory"):
        list(readers.read(source, log))

    def denied(*args, **kwargs):
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(readers.files.filesystems.FileSystems, "open", denied)
    for read in (lambda: readers.header(str(path), log), lambda: list(readers.read(source, log))):
        with pytest.raises(errors.InputError, match=f"log.{ending}: cannot be read .Permission denied"):
            read()
