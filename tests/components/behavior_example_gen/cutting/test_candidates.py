"""Candidate sets against plain Python, and what must hold of any: nothing from the moment on, shards add up."""

import collections

import numpy as np
import pyarrow as pa
import pytest

from components.behavior_example_gen import candidates as files
from components.behavior_example_gen import profile, shards, spec, splits
from components.behavior_example_gen.cutting import candidates
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.next import NextWindow
from components.behavior_example_gen.windows.period import Period
from schemas import errors, names
from tests.components.behavior_example_gen import harness
from tests.components.behavior_example_gen.cutting import test_next, test_period

CUTS = test_period.CUTS


def sets_of(pairs):
    """The items of each moment; fails for a pair that is there twice."""
    found = collections.defaultdict(list)
    for moment, item in zip(*(pairs.column(n).to_pylist() for n in (names.MOMENT, names.ITEM_ID))):
        found[moment].append(item.decode())
    assert all(len(items) == len(set(items)) for items in found.values())
    return {moment: set(items) for moment, items in found.items()}


def of_kernel(events, window, within, by=("time",), cuts=CUTS, end=None):
    split = spec.SplitSpec(by=by)
    found = shards.sort_events(test_next.table(events), split, cuts)
    counts = profile.count(found)
    context = kind.Context(profile.popularity(counts), cuts, counts.end if end is None else end)
    return sets_of(Period().candidates(found, window, context, within))


def by_hand(events, moments, within):
    found = {t: {e["item"] for e in events if t - within <= e["time"] < t} for t in moments}
    return {moment: items for moment, items in found.items() if items}


@pytest.mark.parametrize("within", [1, 30, 100, 5000])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"moments": 1},
        {"stride": 0.02, "overlap": True},
        {"at": test_period.at(100, 320, 560, 640, 750, 760, 900), "overlap": True},
    ],
)
def test_sets_equal_plain_python(settings, within):
    window, events = test_period.make_window(**settings), test_period.make_log(3)
    end = max(e["time"] for e in events)
    moments = [t for s in (names.EVAL, names.TEST) for t in test_period.moments(window, s, end)]
    wanted = by_hand(events, moments, within)
    assert of_kernel(events, window, within / 1000) == wanted
    assert wanted or within == 1


@pytest.mark.parametrize("settings", [{}, {"at": test_period.at(300, 700)}, {"stride": 0.07}])
def test_split_by_users_alone_sets_are_of_all_users(settings):
    window, events = test_period.make_window(**settings), test_period.make_log(4)
    end = max(e["time"] for e in events)
    step = round(1000 * (window.stride or window.future))
    moments = [300, 700] if window.at else range(end + 1 - 50, -10_000, -step)
    found = of_kernel(events, window, 0.1, by=("held_out_users",), cuts=None)
    assert found == by_hand(events, moments, 100)


def test_nothing_at_the_moment_or_later_makes_a_candidate():
    window = test_period.make_window(at=test_period.at(900))
    times = {"long before": 799, "first": 800, "last": 899, "at": 900, "later": 910, "end": 990}
    events = [
        {"user": f"u{n}", "item": i, "time": t, "behavior": "view"} for n, (i, t) in enumerate(times.items())
    ]
    assert of_kernel(events, window, 0.1) == {900: {"first", "last"}}
    rest = [event for event in events if event["time"] < 900]
    assert of_kernel(rest, window, 0.1, end=990) == {900: {"first", "last"}}


def test_shards_add_up():
    window, events = test_period.make_window(stride=0.02, overlap=True), test_period.make_log(5)
    end = max(e["time"] for e in events)
    parts = [[e for e in events if (e["user"] < "u4") == which] for which in (True, False)]
    assert all(parts)
    joined = collections.defaultdict(set)
    for part in parts:
        for moment, items in of_kernel(part, window, 0.1, end=end).items():
            joined[moment] |= items
    assert joined == of_kernel(events, window, 0.1)


def rows_of(events):
    return [f"{e['user']},{e['item']},{e['time']}" for e in events]


def test_a_run_writes_them_once_whatever_the_shards(tmp_path):
    events = test_period.make_log(6)
    log = harness.write_csv(tmp_path / "log.csv", rows_of(events))
    window = test_period.make_window(past=0.4, future=0.1, stride=0.1)
    split = spec.SplitSpec(by=("time",), eval_from=0.5, test_from=0.75)
    found = []
    for number in (1, 5):
        folder = tmp_path / str(number)
        harness.run(
            folder,
            log,
            window.model_copy(update={"shards": number}),
            split,
            read_splits=(),
            candidates_within=0.05,
        )
        moments, places, items = files.read(str(folder / "out/examples"))
        assert (np.diff(moments) >= 0).all()
        found.append(list(zip(moments.tolist(), items.take(pa.array(places)).to_pylist())))
    assert found[0] == found[1] and len(set(found[0])) == len(found[0])
    sets = collections.defaultdict(set)
    for moment, item in found[0]:
        sets[moment].add(item.decode())
    assert len(sets) > 2 and sets == by_hand(events, list(sets), 50)
    # Without the setting there is no such file.
    harness.run(tmp_path / "none", log, window, split, read_splits=())
    assert not (tmp_path / "none/out/examples" / files.FILE).exists()
    with pytest.raises(errors.InputError, match="candidates_within.*no such file"):
        files.read(str(tmp_path / "none/out/examples"))


def test_moments_at_which_nobody_has_seen_anything(tmp_path):
    files.write(str(tmp_path), candidates.SCHEMA.empty_table())
    moments, places, items = files.read(str(tmp_path))
    assert len(moments) == len(places) == len(items) == 0


def test_windows_without_moments_have_no_candidates():
    from components.behavior_example_gen import windows

    assert not NextWindow().has_moments
    context = kind.Context(None, splits.Cuts(1, 2), 3)
    assert windows.get("next").candidates(None, NextWindow(), context, 1.0) is None
