"""Whole logs through the real readers and Beam: formats, cuts, and odd logs."""

import datetime
import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from tfx.types import standard_artifacts

from components.behavior_example_gen import artifacts, describe, executor, readers, spans, spec, state
from components.behavior_example_gen.reading import files
from components.behavior_example_gen.stages import cut
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.next import NextWindow
from components.behavior_example_gen.windows.period import PeriodWindow
from pipeline.runners import failures
from schemas import errors, names
from tests.components.behavior_example_gen import harness, reference
from tests.components.behavior_example_gen.cutting import test_next


@pytest.fixture
def rows_csv(tmp_path):
    return harness.write_csv(tmp_path / "log.csv", harness.log_rows())


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


def json_log(tmp_path, more, columns, first=""):
    """Two files of JSON lines; the last event of the second one has `more`."""
    rows = [dict(zip(("user_id", "item_id", "timestamp"), row.split(","))) for row in harness.log_rows()]
    rows[-1].update(more)
    (tmp_path / "log").mkdir()
    for name, part in (("a", rows[:50]), ("b", rows[50:])):
        lines = [first, *map(json.dumps, part)] if first else map(json.dumps, part)
        (tmp_path / "log" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    values = {
        "path": str(tmp_path / "log"),
        "timestamp_unit": "ms",
        "columns": columns,
        "max_rejected_share": 0.1,
    }
    return spec.LogSpec.from_values(values)


# With a broken line, files are read line by line.
@pytest.mark.parametrize("first", ["", "{broken"])
def test_a_key_that_no_record_has_is_refused(tmp_path, first):
    columns = {"behavior": "evnt", "item": {"color": "colour"}}
    log = json_log(tmp_path, {"event": "buy", "colour": "red"}, columns, first)
    with pytest.raises(errors.InputError) as caught:
        harness.run(tmp_path, log)
    rows = len(harness.log_rows()) + 2 * bool(first)
    assert str(caught.value) == (
        f"{log.path}: column 'evnt' (log.columns.behavior) is missing in all {rows:,} rows; they have user_id, "
        "item_id, timestamp, event, colour; did you mean log.columns.behavior: event?"
    )


@pytest.mark.parametrize("first", ["", "{broken"])
def test_one_record_with_a_key_is_enough(tmp_path, first):
    columns = {"behavior": "event", "item": {"color": "colour", "size": "size"}}
    log = json_log(tmp_path, {"event": "buy", "colour": None, "size": 7}, columns, first)
    _, profile, _ = harness.run(tmp_path, log)
    assert profile["behaviors"]["buy"] == 1
    (said,) = (notice for notice in profile["notices"] if "no value" in notice)
    assert said == "column 'colour' (log.columns.item.color) has no value in any row"


def test_a_rare_key_may_be_in_no_record(tmp_path):
    """A day without it is a day like any other; a key that is read for something else is not what it may be misspelt for."""
    columns = {"behavior": "event", "item": {"colour": "colour", "brand": "brand", "old": "colour_2"}}
    log = json_log(tmp_path, {"event": "buy", "colour": "red", "brnd": "b", "branding": "c"}, columns)
    with pytest.raises(errors.InputError, match="'brand' .*; did you mean log.columns.item.brand: brnd[?]"):
        harness.run(tmp_path / "misspelt", log)
    (tmp_path / "day").mkdir()
    log = json_log(tmp_path / "day", {"event": "buy", "colour": "red", "brochure": "b"}, columns)
    _, profile, _ = harness.run(tmp_path / "day", log)
    (said,) = (notice for notice in profile["notices"] if "no value" in notice)
    assert "'brand' (log.columns.item.brand)" in said and "'colour_2' (log.columns.item.old)" in said


def test_a_column_without_a_value_is_told(tmp_path):
    rows = [f"{row},,NULL,{n}" for n, row in enumerate(harness.log_rows())]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,page,color,size")
    values = {"scene": "page", "item": {"color": "color", "size": "size"}}
    log = spec.LogSpec.from_values({"path": path, "timestamp_unit": "ms", "columns": values})
    _, profile, _ = harness.run(tmp_path, log)
    (said,) = (notice for notice in profile["notices"] if "no value" in notice)
    assert (
        said
        == "columns 'page' (log.columns.scene), 'color' (log.columns.item.color) have no value in any row"
    )


@pytest.mark.parametrize("path", ["log/*.csv", "log", "log/{SPAN}.csv"])
def test_a_file_that_appears_while_a_run_begins_is_none_of_it(tmp_path, monkeypatch, path):
    """It is in no fingerprint, so that what is made of it would be taken from the cache for the log without it."""
    (tmp_path / "log").mkdir()
    rows = harness.log_rows()
    harness.write_csv(tmp_path / "log" / "1.csv", rows)
    harness.write_csv(tmp_path / "log" / "2.csv", rows)
    log = spec.LogSpec(path=f"{tmp_path}/{path}", timestamp_unit="ms", earliest=harness.EPOCH)
    known = state.look(log)
    module, name = (spans, "find") if "{SPAN}" in path else (files, "match")
    look = getattr(module, name)

    def late(*args):
        found = look(*args)
        # Behind the first look at the log.
        harness.write_csv(tmp_path / "log" / "0.csv", [f"late,{row.split(',', 1)[1]}" for row in rows])
        return found

    monkeypatch.setattr(module, name, late)
    kinds = {
        "examples": standard_artifacts.Examples,
        "rejected": artifacts.RejectedRows,
        "profile": artifacts.LogProfile,
    }
    outputs = {}
    for name, kind in kinds.items():
        outputs[name] = [kind()]
        outputs[name][0].uri = str(tmp_path / "out" / name)
    context = executor.Executor.Context(beam_pipeline_args=harness.ARGS, tmp_dir=str(tmp_path), unique_id="1")
    properties = {
        "log": log.to_json(),
        "window": NextWindow(shards=2).to_json(),
        "split": spec.SplitSpec(by=("leave_one_out",)).to_json(),
        "state": json.dumps({**known, "path": None}),
    }
    executor.Executor(context).Do({}, outputs, properties)
    assert (tmp_path / "log" / "0.csv").exists()
    profile = json.loads((tmp_path / "out" / "profile" / "profile.json").read_text())
    assert profile["events"] == 2 * len(rows)


def test_target_behaviors_must_be_in_the_log(tmp_path):
    rows = [f"{row},{'buy' if n % 9 == 0 else 'view'}" for n, row in enumerate(harness.log_rows())]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,what")
    log = spec.LogSpec(path=path, timestamp_unit="ms", columns=spec.Columns(behavior="what"))
    split = spec.SplitSpec(by=("leave_one_out",), target_behaviors=("buy",))
    found, _, _ = harness.run(tmp_path / "buy", log, split=split)
    assert {w["target_behavior"] for s in ("eval", "test") for w in found[s]} == {"buy"}
    assert {b for w in found["test"] for b in w["history_behavior"]} == {"buy", "view"}
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
    assert test["history_item_id"] == [f"i{n}" for n in range(19)] and test["target_item_id"] == "i19"


def test_number_of_shards_changes_no_example(tmp_path, rows_csv):
    results = []
    for shards in (1, 7):
        found, _, _ = harness.run(tmp_path / str(shards), rows_csv, NextWindow(length=4, shards=shards))
        results.append({name: sorted(map(harness.key, found[name])) for name in names.SPLITS})
    assert results[0] == results[1] and all(results[0].values())


def test_a_program_among_users_stops_before_its_windows_fill_the_disk(tmp_path, monkeypatch):
    """What windows list grows with the square of a user's events: it is counted before any is written."""
    rows = [*harness.log_rows(), *(f"bot,b{n},{n}" for n in range(2000))]
    path = harness.write_csv(tmp_path / "log.csv", rows)
    split = spec.SplitSpec(eval_from=0.5, test_from=0.8)
    monkeypatch.setattr(cut, "_MET", 1000)
    harness.run(tmp_path / "few", path, split=split)
    monkeypatch.setattr(cut, "_MET_OF_EVENT", 100)
    harness.run(tmp_path / "last", path, split=split.model_copy(update={"targets": "last"}))
    with pytest.raises(Exception, match="are of user 'bot': write split: {targets: last}") as caught:
        harness.run(tmp_path / "all", path, split=split)
    found = failures.input_error(caught.value)
    assert f"of {len(rows):,} events, where 100 for each event are allowed" in str(found)
    assert not list((tmp_path / "all" / "out" / "examples").glob("*/windows*"))


# Of train, eval and test.
_MOMENTS = (*range(1500, 1560, 10), *range(1610, 1950, 10), *range(2010, 2500, 10))


@pytest.mark.parametrize(
    "moments, words",
    [
        (
            {"stride": 0.01, "overlap": True},
            "window.stride: each window .*: write a longer stride, or fewer window",
        ),
        (
            {"at": [f"1970-01-01T00:00:0{ms / 1000:.2f}Z" for ms in _MOMENTS], "overlap": True},
            "window.at: each window .*: name fewer moments",
        ),
    ],
)
def test_many_moments_of_a_program_stop_before_windows_are_written(tmp_path, monkeypatch, moments, words):
    rows = [*harness.log_rows(2000, users=200), *(f"bot,b{n},{1000 + n}" for n in range(2000))]
    path = harness.write_csv(tmp_path / "log.csv", rows)
    split = spec.SplitSpec(eval_from=0.3, test_from=0.5)
    window = PeriodWindow.from_values(
        {"kind": "period", "past": "1s", "future": "0.04s", "shards": 2, **moments}
    )
    monkeypatch.setattr(cut, "_MET", 1000)
    harness.run(tmp_path / "few", path, window, split, read_splits=())
    monkeypatch.setattr(cut, "_MET_OF_EVENT", 10)
    with pytest.raises(Exception, match=f"{words}.* log.missing.user_id") as caught:
        harness.run(tmp_path / "all", path, window, split)
    found = failures.input_error(caught.value)
    assert f"of {len(rows):,} events, where 10 for each event are allowed" in str(found)
    assert "are of user 'bot'" in str(found)
    assert not list((tmp_path / "all" / "out" / "examples").glob("*/windows*"))


@pytest.mark.parametrize(
    "kind", ["csv", "csv.gz", "csv.zst", "tsv", "jsonl", "jsonl.gz", "parquet", "headerless"]
)
def test_formats_give_the_same_windows(tmp_path, kind, rows_csv):
    expected, _, _ = harness.run(tmp_path / "expected", rows_csv)
    rows = [row.split(",") for row in harness.log_rows()]
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


def test_identical_times(tmp_path):
    text = "user_id,item_id,timestamp\n" + "".join(f"u{n % 6},i{n},7\n" for n in range(60))
    message = harness.fails(tmp_path, text, split=spec.SplitSpec(by=("time",)))
    assert "a cut in time" in message and "1 distinct time" in message and "leave_one_out" in message
    found, result, _ = harness.run(tmp_path / "loo", str(tmp_path / "log.csv"))
    assert result["tie_share"] == pytest.approx(54 / 60)
    assert {w["target_item_id"] for w in found["test"]} == {f"i{n}" for n in range(54, 60)}


def test_one_user(tmp_path):
    text = "user_id,item_id,timestamp\n" + "".join(f"u,i{n},{n}\n" for n in range(60))
    (tmp_path / "log.csv").write_text(text)
    found, _, _ = harness.run(tmp_path, str(tmp_path / "log.csv"), split=spec.SplitSpec(by=("time",)))
    assert all(found.values())
    message = harness.fails(
        tmp_path, text, split=spec.SplitSpec(by=("held_out_users",), held_out_share=0.001)
    )
    assert "no window for 'eval'" in message and "60 events of 1 user(s)" in message


def test_one_item(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{n % 6},i,{n}\n" for n in range(60))
    )
    found, result, _ = harness.run(tmp_path, str(tmp_path / "log.csv"))
    assert result["items"] == 1 and all(w[names.SEEN_ITEM_ID] == ["i"] for w in found["test"])


def test_a_cut_before_the_end_moves_with_the_log(tmp_path):
    """By the last event but for lonely ones, which a wrong clock may have written."""
    day = 86_400
    split = spec.SplitSpec.from_values({"by": ["time"], "eval_from": "-4d", "test_from": "-48h"})
    for last, lonely in ((20, ()), (23, ()), (23, (4000 * day,))):
        times = [n * 3600 for n in range(24 * last + 1)] + list(lonely)
        rows = [f"u{n % 7},i{n % 5},{time}" for n, time in enumerate(times)]
        log = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp")
        given = spec.LogSpec(path=log, timestamp_unit="s", earliest=None, latest=None)
        _, result, _ = harness.run(tmp_path / f"{last} {len(lonely)}", given, split=split)
        found = [
            datetime.datetime.fromisoformat(result["split"][name]).timestamp()
            for name in ("eval_from", "test_from")
        ]
        assert found == [(last - 4) * day, (last - 2) * day]
        # From 48 hours before the last event on, that included.
        assert result["windows"]["test"] == 49 + len(lonely) and result["windows"]["eval"] == 48
    short = spec.SplitSpec.from_values({"by": ["time"], "eval_from": "-400d", "test_from": "-2d"})
    with pytest.raises(
        errors.InputError, match=r"split\.eval_from: nothing is left to train on: .* falls on 1968-"
    ):
        harness.run(tmp_path / "short", given, split=short)


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
