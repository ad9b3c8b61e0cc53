"""Whole logs through the real readers and Beam: formats, bad rows, and inputs that cannot work."""

import collections
import gzip
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml
import zstandard

from components.behavior_example_gen import component, describe, readers, spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.next import NextWindow
from pipeline import suggest
from schemas import errors, names
from tests.components.behavior_example_gen import harness, reference
from tests.components.behavior_example_gen.cutting import test_next


def log_rows(count=60, users=6):
    """Rows with different times: user n % users, item n % 7."""
    return [f"u{n % users},i{n % 7},{1000 + n}" for n in range(count)]


@pytest.fixture
def rows_csv(tmp_path):
    return harness.write_csv(tmp_path / "log.csv", log_rows())


def test_examples_equal_plain_python(tmp_path):
    events = test_next.make_log(11, users=40, events=900)
    path = harness.write_csv(tmp_path / "log.csv", [f"{e['user']},{e['item']},{e['time']}" for e in events])
    window = NextWindow(length=5, shards=4)
    found, _, _ = harness.run(tmp_path, path, window)
    expected = reference.windows(
        events,
        length=5,
        train="sliding",
        stride=5,
        min_history=1,
        by=("leave_one_out",),
        targets="all",
        cuts=None,
        held_out=set(),
    )
    for split in names.SPLITS:
        mine = [{**w, "split": split} for w in found[split]]
        for w in mine:
            w.setdefault(names.SEEN_ITEM_ID, [])
        assert sorted(map(harness.key, mine)) == sorted(
            harness.key(w) for w in expected if w["split"] == split
        )


@pytest.mark.parametrize("by", [("leave_one_out",), ("time",)])
def test_a_filter_equals_plain_python_on_what_it_leaves(tmp_path, by):
    events = test_next.make_log(3, users=60, events=900, items=120)
    for number, event in enumerate(events):
        event["time"] = number  # so that the cut in time falls on one event
    left = reference.without_rare(events, 4, 5)
    of_items = collections.Counter(e["item"] for e in events)
    path = harness.write_csv(tmp_path / "log.csv", [f"{e['user']},{e['item']},{e['time']}" for e in events])
    log = spec.LogSpec(
        path=path, timestamp_unit="ms", filter=spec.FilterSpec(min_item_events=4, min_user_events=5)
    )
    found, profiled, _ = harness.run(tmp_path, log, NextWindow(length=5, shards=3), spec.SplitSpec(by=by))
    after_items = sum(of_items[e["item"]] >= 4 for e in events)
    users = {e["user"] for e in events}
    assert profiled["filter"] == {
        "min_item_events": 4,
        "min_user_events": 5,
        "items": sum(count < 4 for count in of_items.values()),
        "item_events": len(events) - after_items,
        "users": len(users) - len({e["user"] for e in left}),
        "user_events": after_items - len(left),
    }
    # Each part of the filter has something to do here.
    assert min(profiled["filter"].values()) > 0
    assert (profiled["rows"], profiled["events"]) == (len(events), len(left))
    cuts = None
    if by == ("time",):
        # The first moment before which at least that share of what is left lies.
        cuts = [left[math.ceil(share * len(left))]["time"] for share in (0.8, 0.9)]
    expected = reference.windows(
        left,
        length=5,
        train="sliding",
        stride=5,
        min_history=1,
        by=by,
        targets="all",
        cuts=cuts,
        held_out=set(),
    )
    for split in names.SPLITS:
        mine = [{names.SEEN_ITEM_ID: [], **w, "split": split} for w in found[split]]
        assert sorted(map(harness.key, mine)) == sorted(
            harness.key(w) for w in expected if w["split"] == split
        )


def test_a_filter_that_leaves_nothing_says_so(tmp_path, rows_csv):
    log = spec.LogSpec(path=rows_csv, timestamp_unit="ms", filter=spec.FilterSpec(min_item_events=99))
    with pytest.raises(errors.InputError, match="log.filter leaves nothing.*7 of 7 items with fewer than 99"):
        harness.run(tmp_path, log)


def test_target_behaviors_must_be_in_the_log(tmp_path):
    rows = [f"{row},{'buy' if n % 9 == 0 else 'view'}" for n, row in enumerate(log_rows())]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,what")
    log = spec.LogSpec(path=path, timestamp_unit="ms", columns=spec.Columns(behavior="what"))
    split = spec.SplitSpec(by=("leave_one_out",), target_behaviors=("buy",))
    found, _, _ = harness.run(tmp_path / "buy", log, split=split)
    assert {w["target_behavior"] for s in ("eval", "test") for w in found[s]} == {"buy"}
    assert {b for w in found["test"] for b in w["behavior"]} == {"buy", "view"}
    split = spec.SplitSpec(by=("leave_one_out",), target_behaviors=("buy", "bye"))
    with pytest.raises(errors.InputError, match="no event of bye; the log has view, buy"):
        harness.run(tmp_path / "bye", log, split=split)
    with pytest.raises(errors.InputError, match="target_behaviors .* needs log.columns.behavior"):
        harness.run(tmp_path / "none", spec.LogSpec(path=path, timestamp_unit="ms"), split=split)


def test_whole_and_broken_seconds_are_in_one_order(tmp_path):
    """A file with fractions is read in finer ticks than one without."""
    rows = [f"u,i{n},{n if n % 2 else n + 0.25}" for n in range(20)]
    harness.write_csv(tmp_path / "a.csv", rows[::2])
    harness.write_csv(tmp_path / "b.csv", rows[1::2])
    log = spec.LogSpec(path=f"{tmp_path}/?.csv", timestamp_unit="s")
    found, _, _ = harness.run(tmp_path, log)
    (test,) = found["test"]
    assert test["item_id"] == [f"i{n}" for n in range(19)] and test["target_item_id"] == "i19"


def test_number_of_shards_changes_no_example(tmp_path, rows_csv):
    results = []
    for shards in (1, 7):
        found, _, _ = harness.run(tmp_path / str(shards), rows_csv, NextWindow(length=4, shards=shards))
        results.append({name: sorted(map(harness.key, found[name])) for name in names.SPLITS})
    assert results[0] == results[1] and all(results[0].values())


@pytest.mark.parametrize(
    "kind", ["csv", "csv.gz", "csv.zst", "tsv", "jsonl", "jsonl.gz", "parquet", "headerless"]
)
def test_formats_give_the_same_windows(tmp_path, kind, rows_csv):
    expected, _, _ = harness.run(tmp_path / "expected", rows_csv)
    rows = [row.split(",") for row in log_rows()]
    text = "user_id,item_id,timestamp\n" + "".join(",".join(r) + "\n" for r in rows)
    log = {"path": str(tmp_path / f"other.{kind}"), "timestamp_unit": "ms"}
    if kind == "csv":
        (tmp_path / "other.csv").write_text(text)
    elif kind == "csv.gz":
        (tmp_path / "other.csv.gz").write_bytes(gzip.compress(text.encode()))
    elif kind == "csv.zst":
        (tmp_path / "other.csv.zst").write_bytes(zstandard.compress(text.encode()))
    elif kind == "tsv":
        (tmp_path / "other.tsv").write_text(text.replace(",", "\t"))
    elif kind == "headerless":
        (tmp_path / "other.headerless").write_text(text.partition("\n")[2])
        log.update(format="csv", column_names=["user_id", "item_id", "timestamp"])
    elif kind == "parquet":
        frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
        frame["timestamp"] = pd.to_datetime(frame["timestamp"].astype(int), unit="ms")
        pa.parquet.write_table(pa.Table.from_pandas(frame), tmp_path / "other.parquet", row_group_size=17)
    else:
        lines = "".join(
            json.dumps({"user_id": u, "item_id": i, "timestamp": int(t)}) + "\n" for u, i, t in rows
        )
        data = gzip.compress(lines.encode()) if kind.endswith("gz") else lines.encode()
        (tmp_path / f"other.{kind}").write_bytes(data)
    found, result, _ = harness.run(tmp_path / "found", spec.LogSpec.from_values(log))
    for split in names.SPLITS:
        assert sorted(map(harness.key, found[split])) == sorted(map(harness.key, expected[split]))
    assert result["rows"] == 60 and result["rejected"] == 0


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
    rows = [r.encode() for r in log_rows(300)]
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
    rows = log_rows(90) + ["u1,,1"] * 10
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
    rows = log_rows(90) + [f",i{n},{n}" for n in range(42)]  # 31.8 %
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
        harness.write_csv(tmp_path / f"part-{number}.csv", log_rows(40))
    harness.write_csv(tmp_path / "part-5.csv", ["u1,,1"] * 40)
    harness.write_csv(tmp_path / "part-6.csv", log_rows(39) + ["u1,i1,never"])
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


def test_advice_on_a_cut_that_is_impossible_fits_the_window(tmp_path):
    rows = [f"u{n % 6},i{n % 9},1000,{n % 2}" for n in range(60)]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,click")
    by_time = spec.SplitSpec(by=("time",))
    with pytest.raises(errors.InputError, match=r"use split: \{by: \[leave_one_out\]\}, or name moments"):
        harness.run(tmp_path, path, split=by_time)
    log = spec.LogSpec(path=path, timestamp_unit="ms", columns={"label": {"click": "click"}})
    window = ExposureWindow(kind="exposure", steps=("click",))
    with pytest.raises(errors.InputError, match="; name moments, as split: ") as caught:
        harness.run(tmp_path, log, window=window, split=by_time)
    assert "leave_one_out" not in str(caught.value)


def fails(tmp_path, text, **options):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(errors.InputError) as caught:
        harness.run(tmp_path, spec.LogSpec(path=str(path), timestamp_unit="ms"), **options)
    return str(caught.value)


def test_a_missing_column_names_the_file_the_key_and_the_columns(tmp_path):
    message = fails(tmp_path, "uid,item_id,timestamp\nu,i,1\n")
    assert (
        "log.csv: column 'user_id' (log.columns.user_id) is missing; the file has uid, item_id, timestamp"
        in message
    )


def test_empty_files(tmp_path):
    assert "no rows in 1 file(s)" in fails(tmp_path, "")
    assert "no rows in 1 file(s)" in fails(tmp_path, "user_id,item_id,timestamp\n")
    # Beside a file with rows, an empty one is only reported.
    folder = tmp_path / "several"
    folder.mkdir()
    harness.write_csv(folder / "b.csv", log_rows())
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


def test_identical_times(tmp_path):
    text = "user_id,item_id,timestamp\n" + "".join(f"u{n % 6},i{n},7\n" for n in range(60))
    message = fails(tmp_path, text, split=spec.SplitSpec(by=("time",)))
    assert "a cut in time" in message and "1 distinct time" in message and "leave_one_out" in message
    found, result, _ = harness.run(tmp_path / "loo", str(tmp_path / "log.csv"))
    assert result["tie_share"] == pytest.approx(54 / 60)
    assert {w["target_item_id"] for w in found["test"]} == {f"i{n}" for n in range(54, 60)}


def test_one_user(tmp_path):
    text = "user_id,item_id,timestamp\n" + "".join(f"u,i{n},{n}\n" for n in range(60))
    (tmp_path / "log.csv").write_text(text)
    found, _, _ = harness.run(tmp_path, str(tmp_path / "log.csv"), split=spec.SplitSpec(by=("time",)))
    assert all(found.values())
    message = fails(tmp_path, text, split=spec.SplitSpec(by=("held_out_users",), held_out_share=0.001))
    assert "no window for 'eval'" in message and "60 events of 1 user(s)" in message


def test_one_item(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{n % 6},i,{n}\n" for n in range(60))
    )
    found, result, _ = harness.run(tmp_path, str(tmp_path / "log.csv"))
    assert result["items"] == 1 and all(w[names.SEEN_ITEM_ID] == ["i"] for w in found["test"])


def test_cut_at_a_moment_and_at_a_share(tmp_path, rows_csv):
    share = spec.SplitSpec(by=("time",), eval_from=0.5, test_from=0.8)
    _, result, _ = harness.run(tmp_path / "share", rows_csv, split=share)
    # 60 events at 1000..1059 ms: half of them lie before 1030.
    assert result["split"] == {
        "eval_from": "1970-01-01T00:00:01+00:00",
        "test_from": "1970-01-01T00:00:01+00:00",
    }
    assert result["windows"]["test"] == 12 and result["windows"]["eval"] == 18
    moments = spec.SplitSpec.from_values(
        {"by": ["time"], "eval_from": "1970-01-01T00:00:01.030", "test_from": "1970-01-01T00:00:01.048Z"}
    )
    _, same, _ = harness.run(tmp_path / "moment", rows_csv, split=moments)
    assert same["windows"] == result["windows"]


def test_spans_bring_new_days_and_keep_history(tmp_path):
    def day(number):
        folder = tmp_path / f"day-{number}"
        folder.mkdir()
        harness.write_csv(folder / "log.csv", [f"u{n % 6},i{n % 9},{1000 * number + n}" for n in range(60)])

    day(1), day(2)
    log = spec.LogSpec(path=str(tmp_path / "day-{SPAN}" / "*.csv"), timestamp_unit="ms")
    _, first, _ = harness.run(tmp_path / "first", log, span=2)
    day(3)
    found, second, _ = harness.run(tmp_path / "second", log, span=3)
    assert (first["events"], second["events"]) == (120, 180)
    assert max(w["target_timestamp"] for w in found["test"]) >= 3000
    assert any(w["timestamp"][0] < 3000 for w in found["test"])
    # The span that TFX's driver resolved is the newest to be read, and `spans` limits the past.
    assert harness.run(tmp_path / "third", log, span=2)[1]["events"] == 120
    limited = log.model_copy(update={"spans": 1})
    assert harness.run(tmp_path / "fourth", limited, span=3)[1]["events"] == 60


def test_late_events_of_an_older_span_are_no_cached_input(tmp_path):
    for number in (1, 2):
        (tmp_path / f"day-{number}").mkdir()
        harness.write_csv(tmp_path / f"day-{number}" / "log.csv", log_rows())

    def fingerprint(**settings):
        log = spec.LogSpec(path=str(tmp_path / "day-{SPAN}" / "*.csv"), **settings)
        made = component.BehaviorExampleGen(log, NextWindow(length=5), spec.SplitSpec())
        driver = component.BehaviorExampleGen.DRIVER_CLASS(None)
        found = driver.resolve_exec_properties(dict(made.exec_properties), None, None)
        assert found["span"] == 2
        return found["input_fingerprint"]

    before, newest = fingerprint(), fingerprint(spans=1)
    assert fingerprint() == before
    with open(tmp_path / "day-1" / "log.csv", "a", encoding="utf-8") as stream:
        stream.write("late,i1,5\n")
    changed = fingerprint()
    harness.write_csv(tmp_path / "day-1" / "more.csv", log_rows(3))
    assert len({before, changed, fingerprint()}) == 3
    # What is not read does not count.
    assert fingerprint(spans=1) == newest


@pytest.mark.parametrize(
    "pattern,names", [("{YYYY}-{MM}-{DD}.csv", ("2010-12-31", "2011-01-16")), ("{SPAN}.csv", ("07", "8"))]
)
def test_tfx_and_footfall_agree_on_the_newest_span(tmp_path, pattern, names):
    for name in names:
        harness.write_csv(tmp_path / f"{name}.csv", log_rows())
    log = spec.LogSpec(path=str(tmp_path / pattern), timestamp_unit="ms")
    made = component.BehaviorExampleGen(log, NextWindow(length=5), spec.SplitSpec())
    found = component.BehaviorExampleGen.DRIVER_CLASS(None).resolve_exec_properties(
        dict(made.exec_properties), None, None
    )
    assert found["span"] == (14990 if "YYYY" in pattern else 8)  # days since 1970
    assert harness.run(tmp_path / "all", log, span=found["span"])[1]["events"] == 2 * len(log_rows())
    assert harness.run(tmp_path / "old", log, span=found["span"] - 1)[1]["events"] == len(log_rows())


def test_a_span_that_is_no_number_is_said_in_words(tmp_path):
    harness.write_csv(tmp_path / "2011-01-16.csv", log_rows())
    log = spec.LogSpec(path=str(tmp_path / "{SPAN}.csv"))
    made = component.BehaviorExampleGen(log, NextWindow(length=5), spec.SplitSpec())
    with pytest.raises(
        errors.InputError, match=r"found '2011-01-16' in .*path: .*/\{YYYY\}-\{MM\}-\{DD\}\.csv"
    ):
        component.BehaviorExampleGen.DRIVER_CLASS(None).resolve_exec_properties(
            dict(made.exec_properties), None, None
        )


def test_describe_guesses_a_log(tmp_path):
    lines = ["visitorid\tevent\titemid\ttimestamp"]
    lines += [
        f"{n % 6}\t{'buy' if n % 10 == 0 else 'view'}\t{n % 7}\t{1_400_000_000_000 + n}" for n in range(60)
    ]
    (tmp_path / "events.tsv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "events.tsv"))
    # What is as by default is not written out: the time is in the column `timestamp`.
    assert found["log"]["columns"] == {"user_id": "visitorid", "item_id": "itemid", "behavior": "event"}
    assert found["log"]["timestamp_unit"] == "ms"
    assert found["behaviors"] == {"view": 54, "buy": 6} and found["users"] == 6
    assert "timestamp_unit: ms" in suggest.experiment(found)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        errors.InputError, match="looks like user_id, item_id or timestamp among a, b. A log has"
    ):
        describe.describe(str(tmp_path / "other.csv"))


def test_describe_knows_better_names_and_items_that_come_again(tmp_path):
    lines = ["session_id,user_id,description,product_id,event_time"]
    lines += [f"s{n},u{n % 6},text,p{n % 4},{1_400_000_000 + n}" for n in range(60)]
    (tmp_path / "shop.csv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "shop.csv"))
    # `user_id` is so by default.
    assert found["log"]["columns"] == {"item_id": "product_id", "timestamp": "event_time"}
    # 6 and 4 have a common multiple of 12: a user has two items.
    assert (found["users"], found["items"]) == (6, 4) and found["repeat_share"] == pytest.approx(1 - 12 / 60)
    assert "exclude_seen: false" in suggest.experiment(found)
    assert describe.guess_columns(["session_id", "description", "time"]) == {
        "user_id": "session_id",
        "item_id": "description",
        "timestamp": "time",
    }


def test_describe_guesses_the_steps_of_exposures(tmp_path):
    lines = ["userId,sku,time,isClicked,Purchased,colour"]
    lines += [f"{n % 6},{n % 7},{1_400_000_000 + n},{n % 2},{'' if n % 3 else n % 2},red" for n in range(60)]
    (tmp_path / "shown.csv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "shown.csv"))
    assert found["log"]["columns"]["label"] == {"click": "isClicked", "buy": "Purchased"}
    # Purchases are known of every third row; every other one of these has one.
    assert found["steps"] == {"click": 0.5, "buy": 0.5} and found["unused_columns"] == ["colour"]
    suggested = suggest.experiment(found)
    assert "steps:\n  - click\n  - buy\n" in suggested and "Not used yet: colour." in suggested
    # Counts are no labels, and a log of events has none.
    (tmp_path / "counts.csv").write_text("\n".join(lines).replace(",1,", ",7,") + "\n")
    counts = describe.describe(str(tmp_path / "counts.csv"))
    assert list(counts["steps"]) == ["buy"] and counts["rejected"] == 0
    assert any("'isClicked' is named like a step" in notice for notice in counts["notices"])
    (tmp_path / "events.csv").write_text("\n".join(lines).replace("colour", "event") + "\n")
    assert describe.describe(str(tmp_path / "events.csv"))["steps"] == {}


def test_real_logs(shared_data, tmp_path):
    """Real files, with what their description says of them."""
    retail = describe.describe(str(shared_data("retailrocket/events.csv.gz")))
    assert (retail["users"], retail["items"], retail["events"]) == (2174, 29905, 97381)
    assert retail["behaviors"] == {"view": 75374, "cart": 12456, "buy": 9551}
    log = spec.LogSpec(
        path=str(shared_data("online-retail/transactions.parquet")),
        columns=spec.Columns(user_id="CustomerID", item_id="Description", timestamp="InvoiceDate"),
        max_rejected_share=0.3,
    )
    rejected = sum(len(b.rejects) for b in readers.read_all([log.path], log))
    assert 135_080 <= rejected < 136_000
