"""Histories of a shard as arrays, against plain Python."""

import datetime

import numpy as np
import pyarrow as pa

from components.behavior_example_gen.reading import blocks
from pipeline.batch_inference import histories
from schemas import names

_MS = 1000


def at(us):
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=us)


def shard(events):
    """Events `(user, item, ns)` as a shard has them, each on the row of its place."""
    return pa.table(
        {
            names.USER_ID: pa.array([user.encode() for user, _, _ in events], pa.binary()),
            names.ITEM_ID: pa.array([item and item.encode() for _, item, _ in events], pa.binary()),
            names.TIMESTAMP: pa.array([ns // 1_000_000 for _, _, ns in events], pa.int64()),
            blocks.NANOS: pa.array([ns % 1_000_000 for _, _, ns in events], pa.int64()),
            blocks.ROW: pa.array(range(len(events)), pa.int64()),
            blocks.FILE: pa.array([0] * len(events), pa.int32()),
        }
    )


def read(found):
    """Histories as `{user: (items, count, last time)}`, by way of the padded arrays."""
    result = {}
    for which in found.by_length(3):
        numbers, values = found.texts[names.ITEM_ID]
        items = values[found.padded(which, numbers, len(values) - 1)]
        times = found.padded(which, found.times, 0)
        assert items.shape == times.shape == (len(which), found.lengths[which].max())
        for row, user in enumerate(which):
            length = found.lengths[user]
            assert not items[row, length:].any() and not times[row, length:].any()
            result[found.users[user].as_py().decode()] = (
                [item.decode() for item in items[row, :length]],
                int(found.counts[user]),
                int(found.last_times[user]),
            )
            assert times[row, length - 1] == found.last_times[user]
    return result


def expected(events, length=None, past=None, moment_us=None):
    """The same with loops over events."""
    result = {}
    for user in {user for user, _, _ in events}:
        own = sorted(
            (ns, place, item or "")
            for place, (who, item, ns) in enumerate(events)
            if who == user and (moment_us is None or ns < 1000 * moment_us)
        )
        if past is not None and own:
            end_us = moment_us if moment_us is not None else 1000 * (own[-1][0] // 1_000_000 + 1)
            own = [event for event in own if 1000 * (event[0] // 1_000_000) >= end_us - 1000 * past]
        if own:
            kept = own if length is None else own[-length:]
            result[user] = ([item for _, _, item in kept], len(own), own[-1][0] // 1_000_000)
    return result


def test_histories_are_those_of_plain_python():
    rng = np.random.default_rng(5)
    users, times = rng.integers(0, 9, 200) ** 2 // 9, rng.integers(0, 60, 200) * 500_000
    events = [(f"u{u}", f"i{rng.integers(0, 6)}", int(ns)) for u, ns in zip(users, times)]
    for length in (None, 1, 4):
        for past in (None, 1, 7):
            for moment_us in (None, 0, 3_000, 3_250, 12_500, 90_000):
                moment = None if moment_us is None else at(moment_us)
                found = histories.of_table(
                    shard(events), [names.ITEM_ID], histories.Rule(length, past, moment)
                )
                wanted = expected(events, length, past, moment_us)
                assert read(found) == wanted, (length, past, moment_us)
                assert found.left_out == len({user for user, _, _ in events}) - len(wanted)


def test_a_moment_is_strict_to_the_microsecond():
    events = [("u", "a", 5_000_000), ("u", "b", 5_000_999), ("u", "c", 5_001_000), ("v", "d", 5_001_000)]
    found = histories.of_table(shard(events), [names.ITEM_ID], histories.Rule(moment=at(5_001)))
    assert read(found) == {"u": (["a", "b"], 2, 5)}
    assert found.left_out == 1


def test_ties_keep_the_order_of_the_log_and_a_missing_value_is_empty():
    events = [("u", "z", 7_000_000), ("u", None, 7_000_000), ("u", "a", 7_000_000)]
    found = histories.of_table(shard(events), [names.ITEM_ID], histories.Rule())
    assert read(found) == {"u": (["z", "", "a"], 3, 7)}
