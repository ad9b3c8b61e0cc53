"""A value is the same text in every format, and whatever stands beside it: in its file, block or column."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from components.behavior_example_gen import readers, spans, spec
from components.behavior_example_gen.reading import delimited, json_lines
from tests.components.behavior_example_gen.reading import harness

HEADER = "user_id,item_id,timestamp"


def test_parts_of_a_log_may_write_a_number_in_any_way(tmp_path):
    """Twenty users are twenty, in CSV with and without `.0`, in JSON and in Parquet."""
    users = np.arange(20)
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *(f"{n},i,1" for n in users)]) + "\n")
    (tmp_path / "b.csv").write_text("\n".join([HEADER, *(f"{n}.0,i,1" for n in users)]) + "\n")
    (tmp_path / "c.tsv").write_text(
        "\n".join([HEADER, *(f" {n},i,1" for n in users)]).replace(",", "\t") + "\n"
    )
    lines = [
        json.dumps({"user_id": v, "item_id": "i", "timestamp": 1}) for n in range(20) for v in (n, float(n))
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    for name, kind in (("e", pa.float64()), ("f", pa.int32()), ("g", pa.string()), ("h", pa.uint64())):
        ids = pa.array(users).cast(kind)
        table = pa.table({"user_id": ids, "item_id": ["i"] * 20, "timestamp": [1] * 20})
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    found = []
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        log = spec.LogSpec.from_values({"path": f"{tmp_path}/*.{ending}", "earliest": "1970-01-01"})
        blocks = list(readers.read_all(spans.paths(log.path), log))
        assert not any(block.rejects for block in blocks)
        found += [user.as_py().decode() for block in blocks for user in block.batch.column(0)]
    assert len(found) == 180 and set(found) == set(map(str, range(20)))


@pytest.mark.parametrize("ending, mark", [("csv", ","), ("tsv", "\t")])
def test_blanks_are_no_part_of_a_value(tmp_path, ending, mark):
    path = tmp_path / f"log.{ending}"
    lines = ["user_id,item_id,timestamp,what,page,tags", "u1, i1, 1700000000,view , home,a| b "]
    lines += [
        "u2 ,i1\u00a0,1700000000, view,home\t," if mark == "," else "u2 ,i1\u00a0,1700000000, view,home,"
    ]
    path.write_text("\n".join(lines).replace(",", mark) + "\n", encoding="utf-8")
    columns = {"behavior": "what", "scene": "page", "item": {"tags": {"column": "tags", "type": "multi"}}}
    rows, rejects, notes = harness.read(path, columns=columns)
    assert harness.ids(rows) == [("u1", "i1"), ("u2", "i1")] and not rejects
    assert {row["behavior"] for row in rows} == {"view"} and {row["scene"] for row in rows} == {"home"}
    assert rows[0]["item_tags"] == ["a", "b"] and rows[0]["timestamp"] == 1_700_000_000_000
    assert notes["item_id", "blanks"] == 2 and notes["user_id", "blanks"] == 1


NULLS = [
    "NA",
    "na",
    "N/A",
    "None",
    "<NA>",
    "\\N",
    "null",
    "NULL",
    "nan",
    "undefined",
    "(null)",
    "-",
    "-1",
    "-1.0",
    " NA ",
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_words_that_mean_nobody_are_no_users(tmp_path, ending):
    path = tmp_path / f"log.{ending}"
    users = [*NULLS, "anonymous", "Guest".upper(), "0", "u", "NAN1"]
    items = ["i"] * len(users)
    if ending == "csv":
        path.write_text(
            "\n".join([HEADER, *(f"{u},{i},1" for u, i in zip(users, items)), 'u,"NULL",1', "u,NA,1"]) + "\n"
        )
    else:
        users, items = users + ["u", "u"], items + ["NULL", "NA"]
        table = pa.table({"user_id": users, "item_id": items, "timestamp": [1] * len(users)})
        if ending == "parquet":
            pa.parquet.write_table(table, path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    rows, rejects, _ = harness.read(path)
    assert harness.ids(rows) == [("0", "i"), ("u", "i"), ("NAN1", "i")]
    reasons = dict(rejects)
    assert reasons[1] == "missing user_id (column 'user_id' holds 'NA', a word of log.missing)"
    assert reasons[8] == "missing user_id (column 'user_id')"  # NULL
    assert reasons[16] == "missing user_id (column 'user_id' holds 'anonymous', a word of log.missing)"
    assert reasons[21] == "missing item_id (column 'item_id')" and "holds 'NA'" in reasons[22]
    # The words are a setting.
    rows, rejects, _ = harness.read(path, missing={"user_id": [0]})
    assert {"anonymous", "-1", "u"} <= {row["user_id"] for row in rows} and dict(rejects)[18].count(
        "holds '0'"
    )
    assert not harness.read(path, missing=[])[1]


def test_words_that_mean_nothing_in_other_columns(tmp_path):
    path = tmp_path / "log.csv"
    rows = [
        "u,i,1,NA,NA,NA,NA|x",
        "u,i,1,NULL,,\\N,NULL|x",
        "u,i,1,Nan,undefined,-1,",
        "u,i,1,-1,3,yes,\\N",
        "u,i,1,0,-1,0,y",
    ]
    path.write_text("\n".join([f"{HEADER},country,price,bought,tags", *rows]) + "\n")
    columns = {
        "user": {"country": "country"},
        "item": {
            "price": {"column": "price", "type": "numeric"},
            "tags": {"column": "tags", "type": "multi"},
        },
        "label": {"buy": "bought"},
    }
    found, rejects, notes = harness.read(path, columns=columns)
    assert not rejects
    assert [row["user_country"] for row in found] == ["NA", "", "Nan", "-1", "0"]
    assert [row["item_price"] for row in found] == [None, None, None, 3, -1]
    assert [row["label_buy"] for row in found] == [-1, -1, 0, 1, 0]
    assert [row["item_tags"] for row in found] == [["NA", "x"], ["x"], [], [], ["y"]]
    assert (notes["label_buy", "minus_ones"], notes["label_buy", "zeros"]) == (1, 1)
    counted = [notes[name, "values"] for name in ("user_country", "item_price", "item_tags", "label_buy")]
    assert counted == [4, 2, 4, 3]
    found, _, _ = harness.read(path, columns=columns, label_minus_one="unknown")
    assert [row["label_buy"] for row in found] == [-1, -1, -1, 1, 0]


@pytest.mark.parametrize(
    "yes, no",
    [("yes", "no"), ("Y", "N"), ("t", "f"), ("1", "-1"), ("1.0", "0.0"), ("True", "FALSE"), ("on", "off")],
)
def test_labels_in_any_spelling(tmp_path, yes, no):
    path = tmp_path / "log.csv"
    path.write_text(f"{HEADER},bought\nu,i,1,{yes}\nu,i,1,{no}\nu,i,1,\nu,i,1, {yes} \nu,i,1,maybe\n")
    rows, rejects, _ = harness.read(path, columns={"label": {"buy": "bought"}})
    assert [row["label_buy"] for row in rows] == [1, 0, -1, 1]
    assert [row for row, _ in rejects] == [5]
    if yes[0] in "1":
        ids = ["u"] * 2
        table = {"user_id": ids, "item_id": ids, "timestamp": [1, 1], "bought": [float(yes), float(no)]}
        pa.parquet.write_table(pa.table(table), tmp_path / "log.parquet")
        rows, _, _ = harness.read(tmp_path / "log.parquet", columns={"label": {"buy": "bought"}})
        assert [row["label_buy"] for row in rows] == [1, 0]


IDS = [
    "7",
    "7.0",
    " 8",
    "9 ",
    "007",
    "1515915625519388267",
    "18446744073709551615",
    "é",
    "1e3",
    "1e+05",
    "a.b",
    '"q',
]
BROKEN = {
    "csv": ["x", "a,b,c,d,e", ",i,1", "u,,1", "u,i,soon", "1e+18,i,1", "NA,i,1", "u," + "x" * 300 + ",1"],
    "tsv": ["x", "a\tb\tc\td", "\ti\t1", "u\t\t1", "u\ti\tsoon", "9007199254740993.0\ti\t1", "-1\ti\t1"],
    "jsonl": [
        "x",
        "null",
        "[]",
        "{}",
        '{"user_id": {}, "item_id": 1, "timestamp": 1}',
        '{"user_id": 1, "item_id": 2}',
        '{"user_id": 1e999, "item_id": 1, "timestamp": 1}',
        '{"user_id": "\\ud800", "item_id": 1, "timestamp": 1}',
        '{"user_id": 1.5, "item_id": [], "timestamp": 1}',
        '{"user_id": true, "item_id": 1, "timestamp": "x"}',
    ],
}


def lines_of(ending, draw, count):
    """Good lines, in a file of numbers, of texts or of both."""
    chosen = draw.choice((IDS[:1], IDS[:2], IDS[5:7], IDS[:-1], IDS[4:5]))
    rows = [(draw.choice(chosen), draw.choice(IDS[:-1]), 1_700_000_000 + n) for n in range(count)]
    if ending != "jsonl":
        return ["\t".join(map(str, row)) if ending == "tsv" else ",".join(map(str, row)) for row in rows]
    numbers = draw.random() < 0.7

    def value(text):
        return text if numbers and text[:1].isdigit() and text != "007" else json.dumps(text)

    return [f'{{"user_id": {value(u)}, "item_id": {value(i)}, "timestamp": {t}}}' for u, i, t in rows]


@pytest.mark.parametrize("ending", BROKEN)
def test_a_broken_line_changes_nothing_else(tmp_path, monkeypatch, ending):
    """Wherever it is, in blocks of any size."""
    draw = random.Random(1)
    header = {"csv": [HEADER], "tsv": [HEADER.replace(",", "\t")], "jsonl": []}[ending]
    path = tmp_path / f"log.{ending}"
    for _ in range(20):
        size = draw.choice((200, 1000, 1 << 20))
        for module, name in (
            (delimited, "_BLOCK_BYTES"),
            (json_lines, "_BLOCK_BYTES"),
            (json_lines, "_PIECE_BYTES"),
        ):
            monkeypatch.setattr(module, name, max(1000, size) if module is delimited else size)
        good = lines_of(ending, draw, draw.randrange(5, 40))
        path.write_text("\n".join([*header, *good]) + "\n", encoding="utf-8")
        expected, rejects, _ = harness.read(path)
        assert not rejects and len(expected) == len(good)
        at, broken = draw.randrange(1, len(good) + 1), draw.choice(BROKEN[ending])
        path.write_text("\n".join([*header, *good[:at], broken, *good[at:]]) + "\n", encoding="utf-8")
        found, rejects, _ = harness.read(path)
        assert [row for row, _ in rejects] == [at + 1], broken
        for row in expected:
            row["row"] += row["row"] > at
        assert found == expected, broken
