"""JSON lines: both ways to read them give the same, and a broken line changes nothing else."""

import json
import random
import re

import pytest

from components.behavior_example_gen import readers, spec
from components.behavior_example_gen.reading import json_lines
from schemas import errors
from tests.components.behavior_example_gen.reading import harness

COLUMNS = {
    "item": {"price": {"column": "price", "type": "numeric"}, "tags": {"column": "tags", "type": "multi"}},
    "context": {"slot": "slot"},
    "label": {"buy": "bought"},
}


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def event(**values):
    return json.dumps({"user_id": "u", "item_id": "i", "timestamp": 1_700_000_000, **values})


@pytest.mark.parametrize(
    "odd", ["17.0", "13835058055282163712", '"text"', "true", '{"id": 7}', "[1, 2]", "1e3"]
)
def test_integers_pass_through_no_float(tmp_path, odd):
    users = [1515915625519388267, 1515915625519388268, 1515915625519388269]
    lines = [event(user_id=user) for user in users] + [event().replace('"u"', odd)]
    rows, rejects, _ = harness.read(write(tmp_path / "log.jsonl", lines))
    assert [row["user_id"] for row in rows][:3] == list(map(str, users))
    nested = odd[0] in "{["
    assert rejects == [(4, "an object or a list where one value belongs (column 'user_id')")] * nested
    expected = {"17.0": "17", '"text"': "text", "1e3": "1000"}.get(odd, odd)
    assert nested or rows[3]["user_id"] == expected


@pytest.mark.parametrize("broken", [[], ["{broken"]])
def test_one_number_is_one_item_however_it_is_written(tmp_path, broken):
    lines = [event(item_id=value) for n in range(12) for value in (float(n), str(n), n)] + broken
    rows, rejects, notes = harness.read(write(tmp_path / "log.jsonl", lines))
    assert {row["item_id"] for row in rows} == set(map(str, range(12)))
    assert len(rejects) == len(broken) and notes["item_id", "floats"] == 12


def test_floats_that_have_lost_digits_are_no_ids(tmp_path):
    lines = [
        event(user_id=7),
        event().replace('"u"', "1515915625519388267.0"),
        event().replace('"u"', "1e999"),
    ]
    rows, rejects, _ = harness.read(write(tmp_path / "log.jsonl", lines))
    assert [row["user_id"] for row in rows] == ["7"]
    assert [row for row, reason in rejects if "user_id is a float of 2^53 or more" in reason] == [2, 3]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{broken", "not JSON"),
        (b'{"user_id":1}{"user_id":2}', "not JSON"),
        (b'{"user_id": "\\ud800", "item_id": 1, "timestamp": 1}', "invalid UTF-8 in column 'user_id'"),
        (b'{"user_id": "\xff", "item_id": 1, "timestamp": 1}', "invalid UTF-8"),
        (b'{"user_id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON, or nested too deeply"),
        (b'{"user_id": 1, "item_id": 1, "timestamp": {}}', "an object or a list .*'timestamp'.*"),
        (b"\x00", "not JSON"),
    ],
)
def test_a_bad_line_is_a_bad_row(tmp_path, line, reason):
    """Some of these end the process where Arrow reads them."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(event().encode() + b"\n" + line + b"\n" + event().encode() + b"\n")
    rows, rejects, _ = harness.read(path)
    assert [row["row"] for row in rows] == [1, 3] and [row for row, _ in rejects] == [2]
    assert re.fullmatch(reason, rejects[0][1])


def test_a_byte_order_mark_and_other_line_ends(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + event(user_id=1).encode() + b"\r\n" + event(user_id="2 ").encode())
    rows, rejects, _ = harness.read(path)
    assert [row["user_id"] for row in rows] == ["1", "2"] and not rejects


VALUES = {
    "user_id": [
        "7",
        "7.0",
        '"7"',
        '" 7"',
        "-0",
        "0.0",
        "1.5",
        "1e3",
        '"1e+03"',
        "null",
        "true",
        '"NA"',
        "9007199254740993",
        "9007199254740993.0",
        "1515915625519388267",
        '"\\u00e9"',
        '"2024-01-01"',
    ],
    "item_id": ["7", '"7.0"', "12345678901234567890", '"guest"', '{"id": 7}', "[1]", '""', '"a\\nb"'],
    "timestamp": [
        "1700000000",
        "1700000000.25",
        '"1700000000"',
        "1e9",
        "null",
        "true",
        '"2024-01-01 00:00:00"',
    ],
    "price": ["1", "1.5", '"2.5"', "null", "1e400", '"NA"', '"dear"', "true", "0.1"],
    "tags": [
        '"a|b"',
        '["a", " b ", null]',
        "[1, 2.0, 3.5]",
        "7",
        "null",
        "[]",
        '[["a"]]',
        '"1.0|x"',
        '["NULL"]',
    ],
    "slot": ["1", "1.0", '"NA"', '"top"', "null", "1e20", "false", "0.00001"],
    "bought": ["1", "0", "true", "false", "null", '"yes"', '"N"', "1.0", '"maybe"', "-1"],
}


def test_both_ways_give_the_same(tmp_path, monkeypatch):
    """On random objects, some files of one type per key and some of several; in blocks of any size."""
    draw = random.Random(0)
    fast, ways = json_lines._Reader._fast, set()

    def counted(self, text):
        table = fast(self, text)
        ways.add(table is not None)
        return table

    for number in range(16):
        kinds = draw.choice((1, 1, 2, 9))
        chosen = {key: draw.sample(values, min(kinds, len(values))) for key, values in VALUES.items()}
        for key in ("user_id", "item_id", "timestamp"):
            chosen[key] = chosen[key] if number % 4 == 0 else VALUES[key][:1]
        lines = [
            "{"
            + ", ".join(
                f'"{key}": {draw.choice(chosen[key])}'
                for key in VALUES
                if key in COLUMNS or draw.random() > 0.1
            )
            + "}"
            for _ in range(draw.randrange(1, 30))
        ]
        lines[0] = "{" + ", ".join(f'"{key}": {chosen[key][0]}' for key in VALUES) + "}"
        path = write(tmp_path / "log.jsonl", lines)
        monkeypatch.setattr(json_lines._Reader, "_fast", lambda self, text: None)
        expected = harness.read(path, columns=COLUMNS)
        monkeypatch.setattr(json_lines._Reader, "_fast", counted)
        for block, piece in ((1 << 20, 1 << 20), (500, 200)):
            monkeypatch.setattr(json_lines, "_BLOCK_BYTES", block)
            monkeypatch.setattr(json_lines, "_PIECE_BYTES", piece)
            found = harness.read(path, columns=COLUMNS)
            # A column with fractions is one of floats, whole numbers among them.
            found[2].pop(("context_slot", "floats"), None), expected[2].pop(("context_slot", "floats"), None)
            for _, _, notes in (found, expected):
                # In how many blocks.
                notes.update({key: 1 for key in notes if key[1] == "column"})
            for mine, other in zip(found, expected):
                assert mine == other, lines
    assert ways == {True, False}


@pytest.mark.parametrize("encoding, marked", [("utf-16", True), ("utf-16-le", False), ("cp1252", False)])
def test_encodings(tmp_path, encoding, marked):
    """As of separated values: a mark tells the encoding, else `log.encoding` does."""
    path = tmp_path / "log.jsonl"
    lines = [f'{{"user_id": "{user}", "item_id": "é", "timestamp": {1000 + user}}}' for user in range(9)]
    path.write_bytes("\n".join(lines).encode(encoding))
    settings = {} if marked else {"encoding": encoding}
    rows, rejects, _ = harness.read(path, **settings)
    assert harness.ids(rows) == [(str(user), "é") for user in range(9)] and not rejects
    assert readers.header(str(path), spec.LogSpec(path=str(path), **settings)) == [
        "user_id",
        "item_id",
        "timestamp",
    ]


def test_a_key_that_no_line_has_is_a_missing_column(tmp_path):
    path = write(tmp_path / "log.jsonl", ['{"user_id": 1, "item_id": 2}', "{broken"])
    with pytest.raises(
        errors.InputError, match="column 'timestamp' .* is missing; the file has user_id, item_id"
    ):
        harness.read(path)


@pytest.mark.parametrize("more", [-1, 0, 20_000])
def test_arrow_is_given_no_block_that_it_refuses_for_its_number_of_lines(tmp_path, monkeypatch, more):
    monkeypatch.setattr(json_lines, "_BLOCK_BYTES", 32 << 20)
    read, refused = json_lines._arrow, []
    monkeypatch.setattr(
        json_lines, "_arrow", lambda *args: (found := read(*args)) or refused.append(len(args[0])) or found
    )
    users = [b"%d" % user for user in range(json_lines._MOST_LINES + more)]
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b"".join(b'{"user_id":%s,"item_id":2,"timestamp":1700000000}\n' % user for user in users)
    )
    batches = [block.batch for block in readers.read_all([str(path)], spec.LogSpec(path=str(path)))]
    assert (len(batches) > 1) == (more >= 0) and not refused
    assert [user for batch in batches for user in batch.column("user_id").to_pylist()] == users
    rows = [row for batch in batches for row in batch.column("row").to_pylist()]
    assert rows == list(range(1, len(users) + 1))
