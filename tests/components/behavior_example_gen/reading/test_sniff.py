"""What `describe` sees in a file: settings with which a run reads it."""

import pytest

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import sniff
from schemas import errors
from tests.components.behavior_example_gen.reading import test_delimited as forms
from tests.components.behavior_example_gen.test_readers import read

# What a run needs no setting for, as the file says it itself.
_NAMES = {
    "names beside a header": {},
    "names instead of a header": None,
    "no header": None,
    "no header, said": None,
}


@pytest.mark.parametrize("group, form", [(g, f) for g in ("PLAIN", "QUOTED") for f in getattr(forms, g)])
def test_what_is_seen_reads_the_file(tmp_path, monkeypatch, group, form):
    data, settings = getattr(forms, group)[form]
    rows = forms.events(forms.TITLES if group == "PLAIN" else forms.ODD)
    for name in ("log.csv", "log.dat"):
        (tmp_path / name).write_bytes(data)
        found = sniff.sniff(str(tmp_path / name), spec.LogSpec(path=str(tmp_path / name)))
        seen = dict(found.settings)
        if seen.get("header") is False:
            assert form.startswith("no header") and found.rows[0] == list(rows[0])
            seen["column_names"] = forms.NAMES
        elif form == "names instead of a header":
            seen["column_names"] = forms.NAMES
            seen["header"] = True
        good, _, rejects = forms.values(tmp_path / name, monkeypatch, 1 << 20, **seen)
        assert good == forms.stored(rows) and not rejects, found
        assert "format" in seen or name == "log.csv"


@pytest.mark.parametrize(
    "name, data, expected",
    [
        ("a.csv", b"user_id;item_id;price\nu;i;3,5\nv;j;4,5\n", {"delimiter": ";"}),
        ("a.csv", b"user,item,tags\nu,i,a|b|c|d\nv,j,a|b|c|d\n", {}),
        ("a.dat", b"1::1193::5::978300760\n2::661::3::978302109\n", {"format": "csv", "delimiter": "::", "header": False}),
        ("a.inter", b"user_id:token\titem_id:token\ttimestamp:float\nu\ti\t5\n", {}),
        ("a.tsv", b'user\ttitle\nu\t5" disk\nv\tx"y\n', {}),
        ("a", b"u1 2010-10-19T23:55:27Z 30.2 -97.7 22847\nu2 2010-10-18T22:17:43Z 30.2 -97.7 420315\n",
         {"format": "csv", "delimiter": r"\s+", "header": False}),
        ("a.log", b'{"user": "a"}\n{"user": "b"}\n', {"format": "jsonl"}),
        ("a.csv", b'{"user": "a", "item": 1}\n', {"format": "jsonl"}),
        ("a.json", b"user,item,time\nu,i,5\n", {"format": "csv"}),
        ("a.csv", b"PAR1" + bytes(20), {"format": "parquet"}),
        ("a.csv", b"user,item,t\n" + "café,naïve,1\n".encode("latin-1") * 3, {"encoding": "cp1252"}),
        ("a.csv", b"user,item,t\nu,i,1\nu\xff,i,2\n", {}),
        ("a.csv", "user,item,t\nü,i,1\né,i,2\n".encode() + b"a\xe9,i,3\n", {}),
        ("a.csv", b"#user,item,time\nu,i,1600000000\n", {"comment": "#", "column_names": ["user", "item", "time"]}),
        ("a.csv", b"# made today\nuser,item,time\nu,i,1600000000\n", {"comment": "#"}),
        ("a.csv", b"", {}),
        ("a.csv", b"user\nx\n", {}),
    ],
)  # fmt: skip
def test_settings_that_are_seen(tmp_path, name, data, expected):
    (tmp_path / name).write_bytes(data)
    assert sniff.sniff(str(tmp_path / name), spec.LogSpec(path="x")).settings == expected


@pytest.mark.parametrize(
    "data, words",
    [
        (b"PK\x03\x04xxxx", "an Excel workbook"),
        (b'[{"user": 1},\n{"user": 2}]', "one JSON array; .* one object per line"),
        (b'[\n  {"user": 1}\n]', "one JSON array"),
        (b'{\n  "user": 1\n}', "JSON over several lines"),
    ],
)
def test_what_is_not_read_says_what_it_is(tmp_path, data, words):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(errors.InputError, match=words):
        sniff.sniff(str(tmp_path / "a.csv"), spec.LogSpec(path="x"))


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("a.csv", b"user_id;item_id;timestamp\nu;i;5\n", "has user_id;item_id;timestamp; looks like ';' .* log.delimiter: \";\""),
        ("a.tsv", b'"user_id"\t"item_id"\t"timestamp"\n"u"\t"i"\t"5"\n', 'values in " quotes: log.quote'),
        ("a.csv", "user_id,item_id,timestamp\nu,i,5\n".encode("utf-16-le"), 'log.encoding: "utf-16-le"'),
        ("a.csv", b"u1,i1,1600000000\nu2,i2,1600000001\n", "no header: the first row is u1, i1, 1600000000: log.header: false"),
        ("a.dat", b"user_id::item_id::timestamp\nu::i::5\n", "log.format is not set .* log.delimiter: \"::\""),
        ("a.csv", b'{"user_id": 1}\n', "log.format: \"jsonl\""),
    ],
)  # fmt: skip
def test_a_run_whose_settings_do_not_fit_says_what_it_looks_like(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(errors.InputError, match=words):
        read(tmp_path / name)
