"""Rows that are set aside, and files that cannot be read."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from components.behavior_example_gen import spec
from schemas import errors
from tests.components.behavior_example_gen import harness

BAD = {
    "no-user,": (",i1,5", "missing user_id (column 'user_id')"),
    "no-item": ("u1,,5", "missing item_id (column 'item_id')"),
    "nan-item": ("u1,NaN,5", "missing item_id (column 'item_id')"),
    "time": ("u1,i1,yesterday", "unparsable time (column 'timestamp', log.timestamp_unit ms)"),
    "nan-time": ("u1,i1,nan", "missing time (column 'timestamp')"),
    "columns": ("u1,i1", "wrong column count"),
    "more-columns": ("u1,i1,5,6", "wrong column count"),
    "utf-8": (b"u1,i\xff1,5", "invalid UTF-8 in column 'item_id'"),
    "long": ("u1," + "x" * 300 + ",5", "item_id longer than 256 bytes"),
}


@pytest.mark.parametrize("row,reason", BAD.values(), ids=BAD)
def test_a_bad_row_is_set_aside_with_its_place(tmp_path, row, reason):
    rows = [r.encode() for r in harness.log_rows(300)]
    rows.insert(150, row if isinstance(row, bytes) else row.encode())
    (tmp_path / "log.csv").write_bytes(b"\n".join([b"user_id,item_id,timestamp", *rows]) + b"\n")
    found, result, summary = harness.run(tmp_path, str(tmp_path / "log.csv"))
    assert (result["rows"], result["rejected"], result["events"]) == (301, 1, 300)
    assert summary["by_reason"] == {reason: 1}
    (example,) = summary["examples"]
    assert example["row"] == 151 and example["file"].endswith("log.csv")
    assert example["reason"].startswith(reason)
    (written,) = (tmp_path / "out" / "rejected").glob("rejected-*.jsonl")
    assert json.loads(written.read_text()) == example
    assert all(found.values())


def test_bad_rows_of_json_and_parquet(tmp_path):
    good = [{"user_id": f"u{n % 6}", "item_id": f"i{n % 7}", "timestamp": n} for n in range(300)]
    lines = [json.dumps(event) for event in good]
    lines.insert(10, "{broken")
    lines.insert(20, json.dumps({"user_id": "u1", "timestamp": 5}))
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    _, result, summary = harness.run(tmp_path / "json", str(tmp_path / "log.jsonl"))
    assert result["events"] == 300
    assert {(e["row"], e["reason"]) for e in summary["examples"]} == {
        (11, "not JSON"),
        (21, "missing item_id (column 'item_id')"),
    }
    frame = pd.DataFrame(good)
    # As pandas has it: an integer column with a gap is float, and 3.0 stands for 3.
    frame["user_id"] = [float(n % 6) for n in range(300)]
    frame.loc[7, "user_id"] = np.nan
    frame.to_parquet(tmp_path / "log.parquet")
    found, result, summary = harness.run(tmp_path / "parquet", str(tmp_path / "log.parquet"))
    assert [(e["row"], e["reason"]) for e in summary["examples"]] == [
        (8, "missing user_id (column 'user_id')")
    ]
    assert {w["user_id"] for w in found["test"]} == {str(n) for n in range(6)}


def test_too_many_bad_rows_stop_the_run_and_show_examples(tmp_path):
    rows = harness.log_rows(90) + ["u1,,1"] * 10
    path = harness.write_csv(tmp_path / "log.csv", rows)
    with pytest.raises(errors.InputError) as caught:
        harness.run(tmp_path, path)
    message = str(caught.value)
    assert "10 of 100 rows (10.0%) are bad" in message and "log.max_rejected_share allows 1.0%" in message
    assert "row 91: missing item_id" in message and "\n" not in message
    # The same rows pass where so many are allowed, and they are all there.
    log = spec.LogSpec(path=path, timestamp_unit="ms", max_rejected_share=0.1)
    _, result, _ = harness.run(tmp_path / "allowed", log)
    assert result["rejected"] == 10 and result["events"] == 90


def test_the_line_that_lets_bad_rows_pass_is_enough(tmp_path):
    """Rows without a customer, as a third of those of a shop are."""
    rows = harness.log_rows(90) + [f",i{n},{n}" for n in range(42)]  # 31.8 %
    path = harness.write_csv(tmp_path / "log.csv", rows)
    with pytest.raises(errors.InputError, match="42 of 132 rows") as caught:
        harness.run(tmp_path, path)
    message = str(caught.value)
    assert "Events without a user are normal where guests need no account" in message
    told = yaml.safe_load(message.rsplit("lets the log pass: ", 1)[1])
    assert told == {"log": {"max_rejected_share": 0.32}}
    log = spec.LogSpec(path=path, timestamp_unit="ms", **told["log"])
    assert harness.run(tmp_path / "allowed", log)[1]["events"] == 90


def test_a_bad_file_among_many_is_named_once(tmp_path):
    for number in range(5):
        harness.write_csv(tmp_path / f"part-{number}.csv", harness.log_rows(40))
    harness.write_csv(tmp_path / "part-5.csv", ["u1,,1"] * 40)
    harness.write_csv(tmp_path / "part-6.csv", harness.log_rows(39) + ["u1,i1,never"])
    for path, files in ((f"{tmp_path}/*.csv", 2), (f"{tmp_path}/part-[0-5].csv", 1)):
        with pytest.raises(errors.InputError) as caught:
            harness.run(tmp_path, path)
        message = str(caught.value)
        assert message.count("part-5.csv") == 1 and "part-0.csv" not in message
        assert message.count("part-6.csv") == files - 1
        assert f"They are in {files} of {5 + files} files, 1 wholly bad." in message
        assert "Events without a user" not in message and "row 1: missing item_id" in message
    # Where every row is bad, no share would help.
    with pytest.raises(errors.InputError) as caught:
        harness.run(tmp_path, str(tmp_path / "part-5.csv"))
    assert "max_rejected_share: " not in str(caught.value) and str(caught.value).count("part-5.csv row") == 1


def test_a_missing_column_names_the_file_the_key_and_the_columns(tmp_path):
    message = harness.fails(tmp_path, "uid,item_id,timestamp\nu,i,1\n")
    assert (
        "log.csv: column 'user_id' (log.columns.user_id) is missing; the file has uid, item_id, timestamp"
        in message
    )


def test_empty_files(tmp_path):
    assert "no rows in 1 file(s)" in harness.fails(tmp_path, "")
    assert "no rows in 1 file(s)" in harness.fails(tmp_path, "user_id,item_id,timestamp\n")
    # Beside a file with rows, an empty one is only reported.
    folder = tmp_path / "several"
    folder.mkdir()
    harness.write_csv(folder / "b.csv", harness.log_rows())
    (folder / "a.csv").write_text("")
    _, result, summary = harness.run(tmp_path / "run", str(folder) + "/")
    assert result["events"] == 60 and [name.rsplit("/", 1)[-1] for name in summary["empty_files"]] == [
        "a.csv"
    ]


def test_no_file_and_no_format(tmp_path):
    with pytest.raises(errors.InputError, match="no file matches"):
        harness.run(tmp_path, str(tmp_path / "*.csv"))
    (tmp_path / "log.dat").write_text("x")
    with pytest.raises(errors.InputError, match="log.format is not set"):
        harness.run(tmp_path, str(tmp_path / "log.dat"))
