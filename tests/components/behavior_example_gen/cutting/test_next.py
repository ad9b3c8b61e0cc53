"""The kernels against plain Python, and what must hold of any window."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from components.behavior_example_gen import profile, shards, slices, spec, splits
from components.behavior_example_gen.cutting import next as cutting
from components.behavior_example_gen.reading import blocks
from components.behavior_example_gen.windows.next import NextWindow
from schemas import names
from tests.components.behavior_example_gen import harness, reference

CUTS = splits.Cuts(600, 800)


def make_log(seed, users=23, events=400, times=1000, items=30, behaviors=None):
    """Random rows in the order of a log; many times tie."""
    rng = np.random.default_rng(seed)
    rows = [
        {"user": f"u{u}", "item": f"i{i}", "time": int(t)}
        for u, i, t in zip(
            rng.zipf(1.4, events) % users, rng.zipf(1.3, events) % items, rng.integers(0, times, events)
        )
    ]
    for row, behavior in zip(rows, rng.choice(behaviors, events) if behaviors else ()):
        row["behavior"] = str(behavior)
    return rows


def table(events):
    behaviors = {}
    if "behavior" in events[0]:
        behaviors[names.BEHAVIOR] = pa.array([e["behavior"].encode() for e in events], pa.binary())
    if "price" in events[0]:
        behaviors["context_price"] = pa.array([e["price"] for e in events], pa.float32())
    return pa.table(
        {
            **behaviors,
            names.USER_ID: pa.array([e["user"].encode() for e in events], pa.binary()),
            names.ITEM_ID: pa.array([e["item"].encode() for e in events], pa.binary()),
            names.TIMESTAMP: pa.array([e["time"] for e in events], pa.int64()),
            blocks.NANOS: pa.array(np.zeros(len(events), np.int64)),
            blocks.ROW: pa.array(range(1, len(events) + 1), pa.int64()),
            blocks.FILE: pa.array([0] * len(events), pa.int32()),
        }
    )


def cut(events, window, split, cuts=CUTS):
    """All windows by the kernels, as plain values."""
    sorted_events = shards.sort_events(table(events), split, cuts)
    popularity = profile.popularity(profile.count(sorted_events), window.recent_share)
    result = []
    for name, batch, _ in cutting.cut(sorted_events, window, popularity):
        for row in batch.to_pylist() if batch is not None else ():
            values = {"split": name}
            for key, value in row.items():
                value = [v.decode() if isinstance(v, bytes) else v for v in value]
                values[key] = value if harness.is_list(key) else value[0]
            result.append(values)
    return result


def held_out_users(events, split):
    if "held_out_users" not in split.by:
        return set()
    users = sorted({e["user"] for e in events})
    hashed = shards.hash_ids(pa.array([u.encode() for u in users], pa.binary()))
    return {u for u, out in zip(users, splits.held_out(hashed, split.held_out_share)) if out}


def same(found, expected):
    order = lambda w: sorted(repr(sorted(x.items())) for x in w)  # noqa: E731
    assert order(found) == order(expected)


RULES = [("time",), ("leave_one_out",), ("held_out_users",)]
RULES += [a + b for a, b in itertools.combinations(RULES, 2)]


def split_by(by, targets, **more):
    """The rules with what they read."""
    if "time" in by and "leave_one_out" not in by:
        more["targets"] = targets
    if "held_out_users" in by:
        more["held_out_share"] = 0.3
    return spec.SplitSpec(by=by, **more)


@pytest.mark.parametrize("by", RULES, ids="+".join)
@pytest.mark.parametrize("train,stride", [("sliding", None), ("sliding", 2), ("last", None)])
def test_windows_equal_plain_python(by, train, stride):
    for seed, targets in enumerate(("first", "last", "all")):
        events = make_log(seed)
        split = split_by(by, targets)
        window = NextWindow(length=5, train=train, stride=stride, min_history=1 + seed % 2)
        expected = reference.windows(
            events,
            length=5,
            train=train,
            stride=stride or 5,
            min_history=window.min_history,
            by=by,
            targets=targets,
            cuts=(CUTS.eval_from, CUTS.test_from),
            held_out=held_out_users(events, split),
        )
        assert {w["split"] for w in expected} == set(names.SPLITS)
        same(cut(events, window, split), expected)


@pytest.mark.parametrize("by", RULES, ids="+".join)
@pytest.mark.parametrize("asked", [("buy",), ("buy", "cart")], ids="+".join)
def test_targets_of_some_behaviors_equal_plain_python(by, asked):
    for seed, targets in enumerate(("first", "last", "all")):
        # Some users have no buy, some one, some many.
        events = make_log(seed, behaviors=["view"] * 6 + ["cart", "cart", "buy", "buy"])
        split = split_by(by, targets, target_behaviors=asked)
        expected = reference.windows(
            events,
            length=5,
            train="sliding",
            stride=5,
            min_history=1,
            by=by,
            targets=targets,
            cuts=(CUTS.eval_from, CUTS.test_from),
            held_out=held_out_users(events, split),
            target_behaviors=asked,
        )
        evaluated = [w for w in expected if w["split"] != "train"]
        assert {w["target_behavior"] for w in evaluated} <= set(asked)
        assert {w["split"] for w in evaluated} == {"eval", "test"}
        assert any("view" in w["history_behavior"] for w in evaluated)
        same(cut(events, NextWindow(length=5), split), expected)


def test_all_behaviors_as_targets_are_the_same_as_none_named():
    for by in RULES:
        events = make_log(4, behaviors=["view", "buy"])
        window = NextWindow(length=5)
        named = spec.SplitSpec(by=by, target_behaviors=("view", "buy"))
        same(cut(events, window, named), cut(events, window, spec.SplitSpec(by=by)))


def test_nothing_after_a_target_that_is_left_out_is_trained_on():
    """By hand: v0 b1 v2 b3 v4 tests b3 and evaluates b1, so that only v0 is before both."""
    behaviors = ["view", "buy", "view", "buy", "view"]
    split = spec.SplitSpec(by=("leave_one_out",), target_behaviors=("buy",))
    wanted = np.array([b == "buy" for b in behaviors])
    found = splits.assign_roles(np.array([0, 5]), np.arange(5), np.zeros(1, np.uint64), split, None, wanted)
    assert found.tolist() == [
        splits.TRAIN,
        splits.EVAL,
        splits.HISTORY_ONLY,
        splits.TEST,
        splits.HISTORY_ONLY,
    ]


def test_filter_drops_items_then_users_once():
    """By hand: without `rare`, u2 has one event left; that `a` then has two, not three, is not asked again."""
    events = [
        {"user": user, "item": item, "time": 0}
        for user, item in [
            ("u1", "a"),
            ("u1", "b"),
            ("u1", "a"),
            ("u2", "a"),
            ("u2", "rare"),
            ("u1", "b"),
            ("u1", "b"),
        ]
    ]
    kept = pa.array([b"a", b"b"])
    left, dropped = shards.drop_rare(table(events), kept, min_user_events=2)
    assert left.column(names.ITEM_ID).to_pylist() == [b"a", b"b", b"a", b"b", b"b"]
    assert set(left.column(names.USER_ID).to_pylist()) == {b"u1"}
    assert dropped == {"item_events": 1, "users": 1, "user_events": 1}
    assert reference.without_rare(events, 3, 2) == [e for e in events if e["user"] == "u1"]


def test_every_training_event_but_the_first_is_a_target_once():
    """With the default stride the windows tile a user's training events."""
    events = [{"user": "u", "item": f"i{n}", "time": n} for n in range(103)]
    found = [
        w
        for w in cut(events, NextWindow(length=10), spec.SplitSpec(by=("leave_one_out",)))
        if w["split"] == "train"
    ]
    targets = [i for w in found for i in (*w["history_item_id"][1:], w["target_item_id"])]
    assert sorted(targets) == sorted(f"i{n}" for n in range(1, 101))


def test_the_future_changes_nothing_before_it():
    """Windows of targets before a moment are the same whatever comes after it."""
    events = make_log(5)
    moment = 850
    split, window = spec.SplitSpec(by=("time",), targets="all"), NextWindow(length=5)
    before = [w for w in cut(events, window, split) if w["target_timestamp"] < moment]
    rng = np.random.default_rng(0)
    future = [
        {**e, "item": f"i{rng.integers(99)}", "time": int(rng.integers(moment, 2000))}
        if e["time"] >= moment
        else e
        for e in events
    ]
    assert future != events and any(w["split"] == "test" for w in before)
    same([w for w in cut(future, window, split) if w["target_timestamp"] < moment], before)


def test_ties_in_time_keep_the_order_of_the_log():
    items = ["z", "a", "m", "b", "y"]
    events = [{"user": "u", "item": item, "time": 7} for item in items]
    test = [
        w
        for w in cut(events, NextWindow(length=9), spec.SplitSpec(by=("leave_one_out",)))
        if w["split"] == "test"
    ]
    assert test[0]["history_item_id"] == items[:-1] and test[0]["target_item_id"] == "y"


def test_order_of_rows_does_not_matter_where_times_differ():
    events = make_log(2)
    for number, event in enumerate(events):
        event["time"] = number
    shuffled = [events[i] for i in np.random.default_rng(1).permutation(len(events))]
    split, window = spec.SplitSpec(by=("leave_one_out",)), NextWindow(length=5)
    same(cut(shuffled, window, split), cut(events, window, split))


def test_hash_is_stable_and_spreads():
    """The value is pinned: a different hash would move users between releases."""
    ids = pa.array([f"user-{n}".encode() for n in range(20_000)], pa.binary())
    hashed = shards.hash_ids(ids)
    assert hashed[0] == 11586870969449410424
    assert np.array_equal(hashed[100:200], shards.hash_ids(ids[100:200]))
    assert len(np.unique(hashed)) == len(hashed)
    counts = np.bincount((hashed % np.uint64(16)).astype(int), minlength=16)
    assert counts.min() > 1100 and counts.max() < 1400
    assert 0.18 < splits.held_out(hashed, 0.2).mean() < 0.22
    # Held-out users must not all sit in a few shards.
    out = hashed[splits.held_out(hashed, 0.2)]
    assert np.bincount((out % np.uint64(16)).astype(int), minlength=16).min() > 180


def test_head_is_at_most_a_fifth():
    counts = np.array([1, 2, 3, 10])
    assert slices.head_threshold(counts, np.array([8, 1, 0, 1])) == 2
    assert slices.head_threshold(counts, np.array([8, 2, 1, 1])) == 3
    # Where all are equal, none is in the head.
    assert slices.head_threshold(np.array([4]), np.array([10])) == 5


def test_thirds_are_by_counts_that_stay_together():
    # Of 2, 2, 2, 2, 3, 5, 5, 7, 9 the third and the sixth.
    counts, of = np.array([9, 2, 5, 3, 7]), np.array([1, 4, 2, 1, 1])
    assert slices.thirds(counts, of) == (2, 5)
    assert slices.thirds(np.array([4]), np.array([10])) == (4, 4)
    assert slices.thirds(np.array([], np.int64), np.array([], np.int64)) == (0, 0)


def test_attributes_of_users_are_those_before_the_target():
    base = table([{"user": "u", "item": f"i{n}", "time": n} for n in range(4)])
    base = base.append_column("user_plan", pa.array([b"free", b"free", b"paid", b"gone"], pa.binary()))
    base = base.append_column("item_color", pa.array([b"r", b"g", b"b", b"y"], pa.binary()))
    events = shards.sort_events(base, spec.SplitSpec(by=("leave_one_out",)), None)
    popularity = profile.popularity(profile.count(events))
    (test,) = [
        row
        for name, batch, _ in cutting.cut(events, NextWindow(length=9), popularity)
        if name == "test"
        for row in batch.to_pylist()
    ]
    assert test["user_plan"] == [b"paid"] and test["history_item_color"] == [b"r", b"g", b"b"]


def recent_targets(events, share, length=9, split="train"):
    """By user, of its windows from the first to the last."""
    window = NextWindow(length=length, recent_share=share)
    found = cut(events, window, spec.SplitSpec(by=("leave_one_out",)), None)
    found.sort(key=lambda w: w["target_timestamp"])
    result = {}
    for each in found:
        if each["split"] == split:
            result.setdefault(each["user_id"], []).append(each["recent_targets"])
    return result


def test_recent_targets_by_hand():
    # The last two of each user are for eval and test, and the first is nobody's target: 10, 15, 20, 25, 25 are.
    events = [{"user": "u", "item": f"i{t}", "time": t} for t in (0, 10, 20, 25, 40, 50)]
    events += [{"user": "v", "item": f"i{t}", "time": t} for t in (5, 15, 25, 35, 45)]
    events += [{"user": "alone", "item": "i", "time": 99}]
    # One moment stays together, and the last one is recent in any case.
    for share, expected in ((0.1, (1, 1)), (0.4, (1, 1)), (0.6, (2, 1)), (0.8, (2, 2)), (0.99, (2, 2))):
        assert recent_targets(events, share) == {"u": [expected[0]], "v": [expected[1]]}
    assert recent_targets(events, 0.6, length=1) == {"u": [0, 1, 1], "v": [0, 1]}
    assert recent_targets(events, 0.6, length=2) == {"u": [0, 2], "v": [1]}
    for split in ("eval", "test"):
        assert recent_targets(events, 0.6, split=split) == {"u": [0], "v": [0]}


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_recent_targets_equal_plain_python(share):
    split = spec.SplitSpec(by=("leave_one_out",))
    for seed, times in enumerate((5, 100, 1000)):
        events = make_log(seed, times=times)
        window = NextWindow(length=4, recent_share=share)
        expected = reference.windows(
            events,
            length=4,
            train="sliding",
            stride=4,
            min_history=1,
            by=split.by,
            targets="last",
            cuts=None,
            held_out=set(),
            recent_share=share,
        )
        same(cut(events, window, split, None), expected)
        assert any(w["recent_targets"] for w in expected)


def test_recent_targets_know_nothing_of_what_is_left_out():
    events = make_log(3)
    split = spec.SplitSpec(by=("leave_one_out",))
    window = NextWindow(length=5)
    found = cut(events, window, split, None)
    left_out = {
        (w["user_id"], w["target_timestamp"], w["target_item_id"]) for w in found if w["split"] != "train"
    }
    # Later, and often: the items of eval and test are another tenth of the log now.
    moved = [
        {**e, "time": e["time"] + 5000, "item": "late"}
        if (e["user"], e["time"], e["item"]) in left_out
        else e
        for e in events
    ]
    train = [w for w in found if w["split"] == "train"]
    again = [w for w in cut(moved, window, split, None) if w["split"] == "train"]
    assert sum(w["recent_targets"] for w in train) > 10
    slicing = (names.USER_FREQUENCY, names.ITEM_FREQUENCY)
    plain = lambda ws: [{k: v for k, v in w.items() if k not in slicing} for w in ws]  # noqa: E731
    same(plain(again), plain(train))
