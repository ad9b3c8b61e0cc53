"""Events that are equal to another one: found in a shard, counted or left out by a run."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from components.behavior_example_gen import duplicates, shards, spec
from components.behavior_example_gen.reading import blocks
from schemas import names
from tests.components.behavior_example_gen import harness


def make_table(seed, events=400):
    """Events of few values, so that many are equal; in any order of the log."""
    rng = np.random.default_rng(seed)
    tags = [[f"t{n}".encode() for n in rng.integers(0, 2, rng.integers(0, 3))] for _ in range(events)]
    return pa.table(
        {
            names.USER_ID: pa.array([f"u{n}".encode() for n in rng.integers(0, 4, events)]),
            names.ITEM_ID: pa.array([f"i{n}".encode() for n in rng.integers(0, 2, events)]),
            "item_price": pa.array(rng.choice(np.array([0.0, -0.0, 1.5, np.nan], np.float32), events)),
            "item_tags": pa.array(tags, pa.list_(pa.binary())),
            "label_buy": pa.array(rng.integers(-1, 2, events).astype(np.int8)),
            names.TIMESTAMP: pa.array(rng.integers(0, 3, events)),
            blocks.NANOS: pa.array(rng.integers(0, 2, events)),
            blocks.ROW: pa.array(rng.permutation(events // 2).tolist() * 2),
            blocks.FILE: pa.array(np.repeat([1, 0], events // 2).astype(np.int32)),
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_first_of_equal_events_is_none_that_is_repeated(seed):
    """As plain Python finds them, in the order of the log."""
    table = make_table(seed)
    seen, expected = set(), np.zeros(table.num_rows, bool)
    rows = table.to_pylist()
    for index in sorted(range(len(rows)), key=lambda n: (rows[n][blocks.FILE], rows[n][blocks.ROW])):
        row = {k: v for k, v in rows[index].items() if k not in (blocks.FILE, blocks.ROW)}
        row["item_price"] = None if row["item_price"] != row["item_price"] else row["item_price"] + 0.0
        key = repr(row)
        expected[index], _ = key in seen, seen.add(key)
    found = duplicates.repeated(table, *shards.order(table))
    assert found.tolist() == expected.tolist() and 0 < found.sum() < table.num_rows
    left = table.filter(pa.array(~found))
    assert not duplicates.repeated(left, *shards.order(left)).any()
    assert not duplicates.repeated(table.slice(0, 0), *shards.order(table.slice(0, 0))).any()


ROWS = [f"u{n % 6},i{n % 7},{1000 + n},{n % 2}" for n in range(60)]
# Two of one row, one of another, in another file; and two that are not equal in a column that is read.
MORE = [ROWS[3], ROWS[3], ROWS[50], "u0,i0,1000,1", "u0,i0,1000,1.0"]


@pytest.mark.parametrize("filtered", [False, True])
def test_a_run_counts_them_and_drops_them_if_told(tmp_path, caplog, filtered):
    (tmp_path / "log").mkdir()
    harness.write_csv(tmp_path / "log" / "a.csv", ROWS, "user_id,item_id,timestamp,page")
    harness.write_csv(tmp_path / "log" / "b.csv", MORE, "user_id,item_id,timestamp,page")
    harness.write_csv(tmp_path / "once.csv", [*ROWS, MORE[3]], "user_id,item_id,timestamp,page")
    log = spec.LogSpec.from_values(
        {
            "path": f"{tmp_path}/log/",
            "timestamp_unit": "ms",
            "columns": {"scene": "page"},
            # i3 has 9 events, of which one is a copy.
            **({"filter": {"min_item_events": 9}} if filtered else {}),
        }
    )
    split = spec.SplitSpec(by=("time",))
    with caplog.at_level(logging.WARNING, logger="footfall.progress"):
        _, kept, _ = harness.run(tmp_path / "kept", log, split=split)
    if not filtered:
        assert (kept["events"], kept["duplicates"]) == (65, 4)
        words = "4 of 65 events are equal to an earlier one in all columns that are read: they are kept"
        assert any(words in record.getMessage() for record in caplog.records)
    dropped, profile, _ = harness.run(
        tmp_path / "dropped", log.model_copy(update={"duplicates": "drop"}), split=split
    )
    once = log.model_copy(update={"path": f"{tmp_path}/once.csv"})
    expected, of_once, _ = harness.run(tmp_path / "expected", once, split=split)
    assert profile["duplicates"] == 4 and of_once["duplicates"] == 0
    # The cuts are shares of what is left, and so is what a filter counts.
    for key in ("events", "users", "items", "windows", "split", "filter"):
        assert profile[key] == of_once[key]
    for name in names.SPLITS:
        assert sorted(map(harness.key, dropped[name])) == sorted(map(harness.key, expected[name]))
