"""Exposures against plain Python, what must hold of any, and whole logs of both kinds."""

import gzip
import json
import logging
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from tfx import v1 as tfx

from components.anomaly_gate import component as anomaly_gate
from components.behavior_example_gen import (
    component,
    profile,
    readers,
    shards,
    spec,
    splits,
)
from components.behavior_example_gen.cutting import exposure as cutting
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.log_state import component as log_state_component
from schemas import errors, load, names
from tests.components.behavior_example_gen import harness, reference
from tests.components.behavior_example_gen.cutting import test_next

CUTS = splits.Cuts(600, 800)
VIEWS = ExposureWindow(
    kind="exposure", steps=("cart", "buy"), exposure="view", horizon=0.1, history=4, shards=3
)
ROWS = ExposureWindow(kind="exposure", steps=("click", "buy"), history=4, shards=3)
COLUMNS = {
    "label": {"click": "clicked", "buy": "bought"},
    "item": {"brand": "brand", "price": {"column": "price", "type": "numeric"}},
    "user": {"tags": {"column": "tags", "type": "multi"}},
    "context": {"device": "device"},
}
BY_TIME = spec.SplitSpec(by=("time",))
MOMENTS = spec.SplitSpec(
    by=("time",), eval_from="1970-01-01T00:00:00.600", test_from="1970-01-01T00:00:00.800"
)


def make_views(seed, events=500, times=1000):
    """Random views, carts and buys of few users and items; many times tie."""
    behaviors = ["view"] * 6 + ["cart", "cart", "buy"]
    return test_next.make_log(seed, users=9, items=7, events=events, times=times, behaviors=behaviors)


def make_rows(seed, events=300):
    """Random rows of exposures: labels with gaps, an attribute of each type, each with gaps, too."""
    rng = np.random.default_rng(seed)
    rows = test_next.make_log(seed, users=9, items=7, events=events)
    for row in rows:
        row["labels"] = {step: int(rng.choice([-1, 0, 0, 1])) for step in ("click", "buy")}
        row["features"] = {
            "item_brand": [str(rng.choice(["", "acme", "zeta"]))],
            "item_price": [float(p) for p in rng.choice([0.5, 2.25, -8.0], rng.integers(2))],
            "user_tags": [str(t) for t in rng.choice(["a", "b", "c"], rng.integers(4))],
            "context_device": [str(rng.choice(["phone", "desk"]))],
        }
    return rows


def table(events):
    """The columns of a block."""
    result = test_next.table(events)
    if "labels" not in events[0]:
        return result
    features = {name: [e["features"][name] for e in events] for name in events[0]["features"]}
    for step in events[0]["labels"]:
        result = result.append_column(
            "label_" + step, pa.array([e["labels"][step] for e in events], pa.int8())
        )
    for name, values in features.items():
        if name == "item_price":
            column = pa.array([v[0] if v else np.nan for v in values], pa.float32(), from_pandas=False)
        elif name == "user_tags":
            column = pa.array([[t.encode() for t in v] for v in values], pa.list_(pa.binary()))
        else:
            column = pa.array([v[0].encode() for v in values], pa.binary())
        result = result.append_column(name, column)
    return result


def cut(events, window, split=BY_TIME, cuts=CUTS):
    """All exposures by the kernels, as plain values, and what was counted."""
    asked = (window.exposure,) if window.exposure else None
    sorted_events = shards.sort_events(
        table(events), split.model_copy(update={"target_behaviors": asked}), cuts
    )
    counts = profile.count(sorted_events)
    found, written = [], {}
    known_until = cutting.knowledge(cuts, counts.end)
    for name, batch, counted in cutting.cut(sorted_events, window, profile.popularity(counts), known_until):
        for what, count in counted.items():
            written[what] = written.get(what, 0) + count
        if batch is None:
            continue
        written[name] = written.get(name, 0) + batch.num_rows
        for row in batch.to_pylist():
            values = {key: [v.decode() if isinstance(v, bytes) else v for v in row[key]] for key in row}
            found.append({"split": name, **values})
    return found, cutting.summary(written, window), written


def same(found, expected):
    assert sorted(map(harness.key, found)) == sorted(map(harness.key, expected))


def totals(counted):
    return {name: counted[name] for name in ("exposures", "censored", "inconsistent")}


def expected_of(events, window, **options):
    if window.exposure:
        options.update(exposure="view", horizon=round(1000 * window.horizon))
    return reference.exposures(
        events,
        steps=window.steps,
        censored=window.censored,
        inconsistent=window.inconsistent,
        history=window.history,
        cuts=(CUTS.eval_from, CUTS.test_from),
        **options,
    )


@pytest.mark.parametrize("inconsistent", ["keep", "fill", "drop"])
@pytest.mark.parametrize("censored", ["drop", "mark"])
@pytest.mark.parametrize("targets", ["all", "first", "last"])
def test_exposures_of_events_equal_plain_python(censored, inconsistent, targets):
    for seed, horizon in enumerate((0.004, 0.1, 0.35)):
        events = make_views(seed)
        window = VIEWS.model_copy(
            update={"censored": censored, "inconsistent": inconsistent, "horizon": horizon}
        )
        split = spec.SplitSpec(by=("time", "held_out_users"), targets=targets, held_out_share=0.3)
        out = test_next.held_out_users(events, split)
        expected, counts = expected_of(events, window, targets=targets, held_out=out)
        found, counted, written = cut(events, window, split)
        assert out and counts["censored"] and counts["inconsistent"]
        same(found, expected)
        assert totals(counted) == counts
        assert written["dropped"] == counts["exposures"] - len(expected)
        assert not out & {e["user_id"][0] for e in found if e["split"] == "train"}


@pytest.mark.parametrize("inconsistent", ["keep", "fill", "drop"])
@pytest.mark.parametrize("history", [0, 4])
def test_rows_that_are_exposures_equal_plain_python(inconsistent, history):
    events = make_rows(1)
    window = ROWS.model_copy(update={"inconsistent": inconsistent, "history": history})
    expected, counts = expected_of(events, window)
    found, counted, _ = cut(events, window)
    assert {e["split"] for e in expected} == set(names.SPLITS) and counts["inconsistent"]
    same(found, expected)
    assert totals(counted) == counts
    for split in names.SPLITS:
        for step in window.steps:
            labels = [e[f"label_{step}"][0] for e in expected if e["split"] == split]
            known = [label for label in labels if label != -1]
            assert counted["positive_rate"][split][step] == pytest.approx(np.mean(known))
            assert counted["unknown"][split][step] == len(labels) - len(known) > 0


def features_of(found, before):
    """What a model may read of exposures before a moment; slices count training events as a whole."""
    slices = (names.USER_FREQUENCY, names.ITEM_FREQUENCY, names.USER_STATUS, names.USER_GROUP)
    return [
        {k: v for k, v in e.items() if k not in slices and not k.startswith("label_")}
        for e in found
        if e["timestamp"][0] < before
    ]


@pytest.mark.parametrize("moment", [100, 500, 700, 900])
def test_later_events_change_no_feature(moment):
    """Removed or altered, whatever they were."""
    window = VIEWS.model_copy(update={"censored": "mark"})
    events = make_views(5)
    rng = np.random.default_rng(moment)
    altered = [
        {**e, "item": f"i{rng.integers(9)}", "behavior": str(rng.choice(["view", "buy"]))}
        if e["time"] >= moment
        else e
        for e in events
    ]
    removed = [e for e in events if e["time"] < moment]
    found = features_of(cut(events, window)[0], moment)
    assert found
    same(features_of(cut(altered, window)[0], moment), found)
    # The end of the log moves, which no feature knows of.
    same(features_of(cut(removed, window)[0], moment), found)


def test_labels_know_nothing_of_what_follows_their_split():
    """Labels of train are the same whatever is in eval and test; those of eval whatever is in test."""
    for censored in ("drop", "mark"):
        window = VIEWS.model_copy(update={"censored": censored, "horizon": 0.3})
        events = make_views(6)
        found = cut(events, window)[0]
        for cut_at, known in ((600, {"train"}), (800, {"train", "eval"})):
            # Everybody buys everything at once.
            bought = [
                {"user": f"u{u}", "item": f"i{i}", "time": cut_at, "behavior": "buy"}
                for u in range(9)
                for i in range(7)
            ]
            last = max(e["time"] for e in events)
            later = [*(e for e in events if e["time"] < cut_at), *bought, {**bought[0], "time": last}]
            labels = [
                [(e["user_id"], e["item_id"], e["timestamp"], e["label_cart"], e["label_buy"]) for e in some]
                for some in (
                    [e for e in found if e["split"] in known],
                    [e for e in cut(later, window)[0] if e["split"] in known],
                )
            ]
            assert labels[0] and sorted(labels[0]) == sorted(labels[1])


def log_of(text):
    """Events of one user from `time behavior item` triples."""
    return [
        {"user": "u", "time": int(time), "behavior": behavior, "item": item}
        for time, behavior, item in (line.split() for line in text.split(","))
    ]


def test_scenes_of_the_history_beside_that_of_the_exposure():
    rows = log_of("1 x a, 2 x b, 3 x c, 55 x d, 70 x e")
    for row, scene in zip(rows, ("home", "search", "", "home", "cart")):
        row |= {"labels": {"click": 0}, "features": {"scene": [scene]}}
    window = ExposureWindow(kind="exposure", steps=("click",), history=2)
    found = {e["item_id"][0]: (e["scene"], e["history_scene"]) for e in cut(rows, window)[0]}
    assert found["a"] == (["home"], []) and found["c"] == ([""], ["home", "search"])
    assert found["e"] == (["cart"], ["", "home"])


def test_ties_and_the_ends_of_the_horizon_by_hand():
    """After the exposure in the log's order counts, up to the horizon's last moment; history is strictly before."""
    window = VIEWS.model_copy(update={"horizon": 0.01, "steps": ("buy",)})
    log = log_of("1 buy a, 5 buy a, 5 view a, 5 view b, 15 buy b, 20 view c, 31 buy c, 99 buy d")
    found = {e["item_id"][0]: e for e in cut(log, window, cuts=splits.Cuts(50, 60))[0]}
    # Bought at the same moment, but before the view in the log: not because of it, and not before it either.
    assert found["a"]["label_buy"] == [0] and found["a"]["history_timestamp"] == [1]
    assert found["b"]["label_buy"] == [1] and found["b"]["history_item_id"] == ["a"]
    # One moment too late.
    assert found["c"]["label_buy"] == [0]
    assert found["c"]["history_behavior"] == ["buy", "view", "view", "buy"]
    assert "history_scene" not in found["c"]
    after = log_of("5 view a, 5 buy a, 99 buy d")
    assert cut(after, window, cuts=splits.Cuts(50, 60))[0][0]["label_buy"] == [1]
    # Another user's buy is nobody else's.
    after[1]["user"] = "v"
    assert cut(after, window, cuts=splits.Cuts(50, 60))[0][0]["label_buy"] == [0]


def test_steps_at_the_moment_of_their_exposure_by_hand():
    """Of a log of days the order within a day may mean nothing: what does not count for it is told, or counts."""
    log = log_of(
        "1 cart a, 1 view a, 2 view b, 2 cart b, 2 view b, 3 cart c, 3 view c, 9 cart c, 4 view d, 5 cart d, 40 view z"
    )
    cuts = splits.Cuts(30, 35)

    def labels(**settings):
        window = VIEWS.model_copy(update={"horizon": 0.01, "steps": ("cart",), **settings})
        found, counted, _ = cut(log, window, cuts=cuts)
        carts = [(e["item_id"][0], e["label_cart"][0]) for e in found if e["split"] == "train"]
        return sorted(carts), counted["before_at_same_moment"]

    # The second view of b comes behind its cart, which is what came of the first one. Of c there is a later cart as well.
    assert labels() == ([("a", 0), ("b", 0), ("b", 1), ("c", 1), ("d", 1)], {"cart": 1})
    assert labels(same_moment="all") == ([("a", 1), ("b", 1), ("b", 1), ("c", 1), ("d", 1)], {"cart": 0})
    # Nothing of an earlier moment counts, of another item or of another user.
    log[:] = log_of("1 cart a, 2 view a, 2 cart b, 3 view c, 40 view z") + log_of("3 cart c")
    log[-1]["user"] = "v"
    assert labels(same_moment="all") == ([("a", 0), ("c", 0)], {"cart": 0})


def test_labels_of_columns_are_censored_by_hand():
    """Labels are final 10 later: cuts at 100 and 200, the log ends at 300."""
    chains = {
        89: (0, 0),
        90: (1, 0),
        150: (0, 0),
        195: (1, 1),
        290: (1, 0),
        291: (0, 0),
        299: (-1, 1),
        300: (0, 0),
    }
    rows = [
        {
            "user": "u",
            "item": f"i{time}",
            "time": time,
            "labels": dict(zip(ROWS.steps, chain)),
            "features": {},
        }
        for time, chain in chains.items()
    ]

    def labels(**settings):
        found, counted, written = cut(rows, ROWS.model_copy(update=settings), cuts=splits.Cuts(100, 200))
        return {e["timestamp"][0]: (e["label_click"][0], e["label_buy"][0]) for e in found}, (
            counted["censored"],
            written["dropped"],
        )

    assert labels() == (chains, (0, 0))
    mature = {time: chains[time] for time in (89, 150, 290)}
    assert labels(horizon=0.01) == (mature, (5, 5))
    marked = {**chains, 90: (1, -1), 291: (-1, -1), 300: (-1, -1)}
    assert labels(horizon=0.01, censored="mark") == (marked, (5, 0))


def test_censoring_by_hand():
    """Cuts at 100 and 200, the log ends at 300, the horizon is 10."""
    window = VIEWS.model_copy(update={"horizon": 0.01})
    log = log_of(
        "89 view a, 90 view b, 95 cart b, 99 view c, 105 buy c, 189 view d, 190 view e, 290 view f, 291 view g,"
        "292 cart g, 300 buy z"
    )
    cuts = splits.Cuts(100, 200)
    found, counted, written = cut(log, window, cuts=cuts)
    assert [(e["split"], e["item_id"][0]) for e in found] == [("train", "a"), ("eval", "d"), ("test", "f")]
    assert counted["censored"] == written["dropped"] == 4 and counted["exposures"] == 7
    assert [written["train", "censored"], written["eval", "censored"], written["test", "censored"]] == [
        2,
        1,
        1,
    ]
    found, counted, written = cut(log, window.model_copy(update={"censored": "mark"}), cuts=cuts)
    labels = {e["item_id"][0]: (*e["label_cart"], *e["label_buy"]) for e in found}
    # What is bought on day 105 is not known of what is trained on.
    assert labels == {
        "a": (0, 0),
        "b": (1, -1),
        "c": (-1, -1),
        "d": (0, 0),
        "e": (-1, -1),
        "f": (0, 0),
        "g": (1, -1),
    }
    assert counted["censored"] == 4 and written["dropped"] == 0
    assert counted["unknown"]["train"] == {"cart": 1, "buy": 2}
    assert counted["positive_rate"]["train"] == {"cart": 0.5, "buy": 0.0}
    # Where the log ends before a cut, so does knowledge.
    assert cutting.knowledge(splits.Cuts(100, 2**40), 300)["eval"] == 301


def test_inconsistent_chains_by_hand():
    chains = {
        "a": (0, 1, 0),
        "b": (1, 0, 1),
        "c": (-1, 1, 0),
        "d": (0, -1, 1),
        "e": (0, 0, 0),
        "f": (1, -1, 1),
    }
    steps = ("click", "cart", "buy")
    rows = [
        {"user": "u", "item": item, "time": n, "labels": dict(zip(steps, chain)), "features": {}}
        for n, (item, chain) in enumerate(chains.items())
    ]
    window = ROWS.model_copy(update={"steps": steps})

    def labels(inconsistent):
        kind = window.model_copy(update={"inconsistent": inconsistent})
        found, counted, written = cut(rows, kind, cuts=splits.Cuts(100, 200))
        assert counted["inconsistent"] == 3
        assert written["dropped"] == (3 if inconsistent == "drop" else 0)
        return {e["item_id"][0]: tuple(e[f"label_{s}"][0] for s in steps) for e in found}

    assert labels("keep") == chains
    # An unknown step is not a missing one.
    assert labels("drop") == {item: chains[item] for item in "cef"}
    assert labels("fill") == {**chains, "a": (1, 1, 0), "b": (1, 1, 1), "d": (1, -1, 1)}


def test_negatives_are_left_out_of_train_alone():
    events = make_rows(3, events=4000)
    everything = ROWS.model_copy(update={"inconsistent": "fill"})
    window = everything.model_copy(update={"keep_negatives": 0.3})
    before, _, _ = cut(events, everything)
    after, counted, written = cut(events, window)

    def is_negative(e):
        labels = {e["label_click"][0], e["label_buy"][0]}
        return 1 not in labels and 0 in labels

    def pick(found, negative, splits_of):
        return [e for e in found if e["split"] in splits_of and is_negative(e) == negative]

    same(pick(after, False, names.SPLITS), pick(before, False, names.SPLITS))
    same(pick(after, True, ("eval", "test")), pick(before, True, ("eval", "test")))
    all_of, kept = len(pick(before, True, ("train",))), len(pick(after, True, ("train",)))
    assert counted["negatives_left_out"] == written["dropped"] == all_of - kept
    assert kept / all_of == pytest.approx(0.3, abs=0.06)
    # More is kept of the same, not something else.
    more, _, _ = cut(events, everything.model_copy(update={"keep_negatives": 0.6}))
    assert {harness.key(e) for e in after} < {harness.key(e) for e in more}


def csv_of(rows):
    return [
        ",".join(
            (
                row["user"],
                row["item"],
                str(row["time"]),
                {1: "True", 0: "0", -1: ""}[row["labels"]["click"]],
                {1: "1", 0: "false", -1: "nan"}[row["labels"]["buy"]],
                row["features"]["item_brand"][0],
                *(str(p) for p in row["features"]["item_price"] or [""]),
                " |".join(row["features"]["user_tags"]) + "|",
                row["features"]["context_device"][0],
            )
        )
        for row in rows
    ]


HEADER = "user_id,item_id,timestamp,clicked,bought,brand,price,tags,device"


def log_spec(path, **options):
    # Times count from 0 here.
    return spec.LogSpec.from_values(
        {"path": str(path), "timestamp_unit": "ms", "earliest": "1970-01-01", "columns": COLUMNS, **options}
    )


@pytest.mark.parametrize("kind", ["csv", "tsv.gz", "jsonl", "broken jsonl", "parquet"])
def test_each_format_gives_the_same_exposures(tmp_path, kind):
    rows = make_rows(2, events=120)
    lines, path = csv_of(rows), tmp_path / f"log.{kind.split()[-1]}"
    if kind == "csv":
        harness.write_csv(path, lines, HEADER)
    elif kind == "tsv.gz":
        text = "\n".join([HEADER, *lines]).replace(",", "\t") + "\n"
        path.write_bytes(gzip.compress(text.encode()))
    else:
        records = [
            {
                "user_id": r["user"],
                "item_id": r["item"],
                "timestamp": r["time"],
                "clicked": {1: True, 0: False, -1: None}[r["labels"]["click"]],
                "bought": {1: 1.0, 0: 0.0, -1: None}[r["labels"]["buy"]],
                "brand": r["features"]["item_brand"][0] or None,
                "price": r["features"]["item_price"][0] if r["features"]["item_price"] else None,
                "tags": [f" {t}" for t in r["features"]["user_tags"]] + [""],
                "device": r["features"]["context_device"][0],
            }
            for r in rows
        ]
        if kind == "parquet":
            pa.parquet.write_table(pa.Table.from_pandas(pd.DataFrame(records)), path, row_group_size=31)
        else:
            text = [json.dumps(record) for record in records]
            path.write_text("\n".join([*text, *(["{broken"] if kind != "jsonl" else [])]) + "\n")
    found, result, _ = harness.run(tmp_path, log_spec(path), ROWS, MOMENTS)
    expected, counts = expected_of(rows, ROWS)
    same([{"split": s, **e} for s in names.SPLITS for e in found[s]], expected)
    assert totals(result["exposures"]) == counts and result["windows"]["dropped"] == 0
    assert result["rejected"] == (kind == "broken jsonl")


NO_LABEL = "no label, which is 1 or 0, true or false, yes or no, y or n, t or f, on or off, or empty"
BAD = {
    "number": ("u1,i1,5,1,0,b,cheap,x,y", "not a finite number (column 'price')"),
    "infinite": ("u1,i1,5,1,0,b,-inf,x,y", "not a finite number (column 'price')"),
    "beyond float32": ("u1,i1,5,1,0,b,1e39,x,y", "not a finite number (column 'price')"),
    "label": ("u1,i1,5,2,0,b,1,x,y", f"{NO_LABEL} (column 'clicked')"),
    "often": ("u1,i1,5,0,often,b,1,x,y", f"{NO_LABEL} (column 'bought')"),
    "utf-8": (b"u1,i1,5,1,0,b,1,x|\xff,y", "invalid UTF-8 in column 'tags'"),
    "number utf-8": (b"u1,i1,5,1,0,b,\xff,x,y", "invalid UTF-8 in column 'price'"),
}


@pytest.mark.parametrize("row,reason", BAD.values(), ids=BAD)
def test_a_bad_value_sets_its_row_aside(tmp_path, row, reason):
    lines = [line.encode() for line in csv_of(make_rows(4, events=200))]
    lines.insert(50, row if isinstance(row, bytes) else row.encode())
    (tmp_path / "log.csv").write_bytes(b"\n".join([HEADER.encode(), *lines]) + b"\n")
    blocks = list(readers.read_all([str(tmp_path / "log.csv")], log_spec(tmp_path / "log.csv")))
    rejects = [reject for block in blocks for reject in block.rejects]
    assert [(reject.row, reject.reason) for reject in rejects] == [(51, reason)]
    assert sum(block.batch.num_rows for block in blocks) == 200


def test_lists_where_one_value_belongs(tmp_path):
    frame = pd.DataFrame(
        {"user_id": ["u"], "item_id": ["i"], "timestamp": [1], "clicked": [1], "bought": [0], "price": [1.5]}
    ).assign(brand=[["a", "b"]], tags=[["x"]], device="d")
    frame.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(errors.InputError, match=r"'brand' \(log.columns.item.brand\) holds list.*type multi"):
        list(readers.read_all([str(tmp_path / "log.parquet")], log_spec(tmp_path / "log.parquet")))


def test_neither_shards_nor_the_order_of_rows_matter(tmp_path):
    """With negatives left out, and times that all differ."""
    events = make_views(8, events=900)
    for number, event in enumerate(events):
        event["time"] = number
    results = []
    for shard_count, order in ((1, range(900)), (5, np.random.default_rng(0).permutation(900))):
        folder = tmp_path / str(shard_count)
        folder.mkdir()
        rows = [f"{e['user']},{e['item']},{e['time']},{e['behavior']}" for e in (events[n] for n in order)]
        half = len(rows) // 2 if shard_count > 1 else len(rows)
        for name, part in (("a", rows[:half]), ("b", rows[half:])):
            harness.write_csv(folder / f"{name}.csv", part, "user_id,item_id,timestamp,behavior")
        log = spec.LogSpec(
            path=f"{folder}/*.csv",
            timestamp_unit="ms",
            columns=spec.Columns(behavior="behavior"),
        )
        window = VIEWS.model_copy(
            update={"shards": shard_count, "inconsistent": "fill", "keep_negatives": 0.4, "horizon": 0.03}
        )
        found, result, _ = harness.run(folder, log, window, BY_TIME)
        assert result["exposures"]["negatives_left_out"] > 0
        results.append(({s: sorted(map(harness.key, found[s])) for s in names.SPLITS}, result["exposures"]))
    assert results[0] == results[1] and all(results[0][0].values())


def events_csv(tmp_path, events):
    rows = [f"{e['user']},{e['item']},{e['time']},{e['behavior']}" for e in events]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,behavior")
    # Times count from 0 here.
    return spec.LogSpec(
        path=path, timestamp_unit="ms", earliest=harness.EPOCH, columns=spec.Columns(behavior="behavior")
    )


def test_a_run_says_what_became_of_the_exposures(tmp_path, caplog):
    events = make_views(9)
    log = events_csv(tmp_path, events)
    window = VIEWS.model_copy(update={"horizon": 0.12})
    with caplog.at_level(logging.INFO, logger="footfall.progress"):
        _, result, _ = harness.run(tmp_path / "run", log, window, MOMENTS)
    counted = result["exposures"]
    said = [record.getMessage() for record in caplog.records]
    assert any(
        f"{counted['exposures']:,} exposures: {counted['censored']:,} censored (dropped), "
        f"{counted['inconsistent']:,} inconsistent (kept); in train: cart " in line
        for line in said
    )
    # 120 of the 200 ms of eval and of test are too near their end, of train 120 of 600.
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    warned = [line for line in warned if "censored" in line]
    assert [line.split(":")[0] for line in warned] == ["eval", "test"]
    assert all("exposures are censored: their horizon of 0.12s" in line for line in warned)


def test_a_run_says_which_steps_their_order_costs(tmp_path, caplog):
    rows = [f"u{n // 2 % 9},i{n // 2 % 7},{n // 2 * 20},{'view' if n % 2 else 'cart'}" for n in range(100)]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,behavior")
    log = spec.LogSpec(
        path=path, timestamp_unit="ms", earliest=harness.EPOCH, columns=spec.Columns(behavior="behavior")
    )
    window = VIEWS.model_copy(update={"steps": ("cart",), "horizon": 0.01})
    harness.run(tmp_path / "run", log, window, MOMENTS)
    said = "cart: 49 of them stand before an exposure of the same moment in the log and do not count, beside 0 that do"
    assert said in caplog.text
    caplog.clear()
    _, result, _ = harness.run(
        tmp_path / "all", log, window.model_copy(update={"same_moment": "all"}), MOMENTS
    )
    assert "same moment" not in caplog.text and result["exposures"]["positive_rate"]["test"] == {"cart": 1}


def test_inputs_that_cannot_work(tmp_path):
    log = events_csv(tmp_path, make_views(9))

    def message(window=VIEWS, split=MOMENTS, log=log):
        with pytest.raises(errors.InputError) as caught:
            harness.run(tmp_path / "run", log, window, split)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    found = message(VIEWS.model_copy(update={"horizon": 7 * 86_400.0}))
    assert "none of the" in found and "exposures of 'train' is left" in found
    assert "window.horizon (7d) ends after the last moment that their labels may know" in found
    found = message(VIEWS.model_copy(update={"steps": ("cart", "pay")}))
    assert "window.steps: no event of pay; the log has view, cart, buy" in found
    assert "window.exposure: no event of show" in message(VIEWS.model_copy(update={"exposure": "show"}))
    assert "is split by time" in message(split=spec.SplitSpec(by=("leave_one_out",)))
    assert "split.target_behaviors goes with" in message(split=spec.SplitSpec(target_behaviors=("buy",)))
    assert "log.columns.label has no such label" in message(ROWS)
    rare = log.model_copy(update={"filter": spec.FilterSpec(min_user_events=2)})
    found = message(log=rare)
    assert "log.filter: with window.exposure" in found and "item_events: 1, min_user_events: 2: use" in found
    late = spec.SplitSpec(eval_from="1970-01-02", test_from="1970-01-03")
    assert "no exposure (view events) for 'eval' by time" in message(VIEWS, late)


def run_components(tmp_path, log, window):
    """The components up to the gate, as a pipeline runs them; gives the folders of the examples' splits."""
    columns = log.columns
    schema = load.exposure_window_schema(
        window.steps,
        {name: attribute.type for name, attribute in columns.attributes().items()},
        has_scene=False,
        has_history=window.history > 0,
        has_behavior=bool(columns.behavior),
    )
    (tmp_path / "schema.pbtxt").write_text(load.to_text(schema))
    log_state = log_state_component.LogState(log)
    example_gen = component.BehaviorExampleGen(
        log, window, MOMENTS, state=log_state.outputs["state"].future()[0].value
    )
    statistics = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    importer = tfx.components.ImportSchemaGen(schema_file=str(tmp_path / "schema.pbtxt"))
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=importer.outputs["schema"]
    )
    gate = anomaly_gate.AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        statistics=statistics.outputs["statistics"],
        schema=importer.outputs["schema"],
        accepted_root=None,
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="exposures",
            pipeline_root=str(tmp_path / "root"),
            components=[log_state, example_gen, statistics, importer, validator, gate],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.sqlite")
            ),
            beam_pipeline_args=harness.ARGS,
        )
    )
    (uri,) = (tmp_path / "root" / "BehaviorExampleGen" / "examples").iterdir()
    return uri


def test_the_components_take_exposures_of_events(tmp_path):
    events = make_views(1, events=3000)
    window = VIEWS.model_copy(update={"censored": "mark"})
    uri = run_components(tmp_path, events_csv(tmp_path, events), window)
    expected, _ = expected_of(events, window)
    same([{"split": s, **e} for s in names.SPLITS for e in harness.read(f"{uri}/Split-{s}")], expected)


def test_the_gate_stops_where_rows_that_are_exposures_change(tmp_path):
    """Attributes of each type; labels, too, and histories, which may."""
    rows = make_rows(1, events=3000)
    for row in rows:
        if row["time"] >= CUTS.eval_from:
            row["features"].update(item_price=[100.0], context_device=["watch"], user_tags=["a"])
            row["labels"] = {"click": 1, "buy": 1}
    log = log_spec(harness.write_csv(tmp_path / "log.csv", csv_of(rows), HEADER))
    with pytest.raises(errors.InputError) as caught:
        run_components(tmp_path, log, ROWS)
    stopped = set(re.findall(r"feature '(\w+)'", str(caught.value)))
    assert stopped == {"item_price", "context_device", "user_tags"}
    (uri,) = (tmp_path / "root" / "BehaviorExampleGen" / "examples").iterdir()
    found = [{"split": s, **e} for s in names.SPLITS for e in harness.read(f"{uri}/Split-{s}")]
    same(found, expected_of(rows, ROWS)[0])


def test_retailrocket(shared_data, tmp_path):
    """Views of a shop, what is put into the cart and bought within a week."""
    log = spec.LogSpec(
        path=str(shared_data("retailrocket/events.csv.gz")),
        columns=spec.Columns(
            user_id="user_id", item_id="item_id", timestamp="timestamp", behavior="behavior"
        ),
    )
    window = ExposureWindow.from_values(
        {
            "kind": "exposure",
            "steps": ["cart", "buy"],
            "exposure": "view",
            "horizon": "7d",
            "history": 20,
            "shards": 4,
        }
    )
    found, result, _ = harness.run(tmp_path, log, window, BY_TIME, read_splits=(names.TEST,))
    counted = result["exposures"]
    assert result["behaviors"]["view"] == 75_374 == counted["exposures"]
    assert sum(result["windows"].values()) == 75_374 and result["windows"]["dropped"] == counted["censored"]
    rates = counted["positive_rate"]["train"]
    assert 0.02 < rates["buy"] < rates["cart"] < 0.3
    assert all(max(e["history_timestamp"], default=0) < e["timestamp"][0] for e in found["test"])
