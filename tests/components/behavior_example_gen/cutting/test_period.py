"""The kernel of periods against plain Python, and what must hold of any period."""

import collections
import datetime

import numpy as np
import pydantic
import pytest

from components.behavior_example_gen import profile, shards, spec, splits
from components.behavior_example_gen.cutting import period as cutting
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.period import Period, PeriodWindow
from schemas import errors, names
from tests.components.behavior_example_gen import reference
from tests.components.behavior_example_gen.cutting import test_next

CUTS = splits.Cuts(600, 800)
_PRICES = ("history_context_price", "future_context_price")
_LISTS = (*names.HISTORY, *names.FUTURE, *_PRICES, names.SEEN_ITEM_ID)
_SLICES = (names.USER_FREQUENCY, names.ITEM_FREQUENCY)


def make_window(**settings):
    values = {"past": 0.2, "future": 0.05, **settings}
    return PeriodWindow(kind="period", **values)


def at(*times):
    return [datetime.datetime.fromtimestamp(t / 1000, datetime.timezone.utc).isoformat() for t in times]


def cut(events, window, split, cuts=CUTS):
    """All windows by the kernel as plain values, and what it counts."""
    found = shards.sort_events(test_next.table(events), split, cuts)
    counts = profile.count(found)
    popularity = profile.popularity(counts, window.recent_share)
    result, counted = [], collections.Counter()
    for name, batch, more in cutting.cut(found, window, kind.Context(popularity, cuts, counts.end)):
        counted.update(more)
        for row in batch.to_pylist() if batch is not None else ():
            values = {"split": name}
            for key, value in row.items():
                value = [v.decode() if isinstance(v, bytes) else v for v in value]
                if key not in _SLICES:
                    values[key] = value if key in _LISTS else value[0]
            result.append(values)
    return result, counted


def moments(window, split, end):
    """The moments of a split, one after the other."""
    future, stride = round(1000 * window.future), round(1000 * (window.stride or window.future))
    if window.at is not None:
        bounds = {
            "train": (-10_000, CUTS.eval_from),
            "eval": (CUTS.eval_from, CUTS.test_from),
            "test": (CUTS.test_from, 10_000),
        }
        first, until = bounds[split]
        named = sorted(round(1000 * moment.timestamp()) for moment in window.at)
        return [t for t in named if first <= t and t + future <= min(until, end + 1)]
    if split == "train":
        found = range(min(CUTS.eval_from, end + 1) - future, -10_000, -stride)
        return sorted(list(found)[: window.moments])
    first, until = (
        (CUTS.eval_from, min(CUTS.test_from, end + 1)) if split == "eval" else (CUTS.test_from, end + 1)
    )
    return [t for t in range(first, until, stride) if t + future <= until][: window.moments]


def expected(events, window, held_out=()):
    """The windows of a log that is split by time, one event after the other; how many were dropped and cut."""
    past, future = round(1000 * window.past), round(1000 * window.future)
    users = collections.defaultdict(list)
    for event in sorted(events, key=lambda e: e["time"]):
        users[event["user"]].append(event)
    end = max(e["time"] for e in events)
    trained = {
        u: 0 if u in held_out else sum(e["time"] < CUTS.eval_from for e in s) for u, s in users.items()
    }
    learnt = [e["time"] for u, s in users.items() for e in s[1 : trained[u]]]
    recent = reference.recent_from(learnt, window.recent_share)
    groups = reference.thirds([n for n in trained.values() if n])
    result, dropped, shortened = [], 0, 0
    for user, sequence in users.items():
        for split in names.SPLITS:
            told = 0
            for moment in moments(window, split, end) if split != "train" or trained[user] else ():
                before = [i for i, e in enumerate(sequence) if moment - past <= e["time"] < moment]
                after = [i for i, e in enumerate(sequence) if moment <= e["time"] < moment + future]
                if not after:
                    continue
                if len(before) < window.min_history or len(after) < window.min_future:
                    dropped += 1
                    continue
                shortened += len(after) > window.max_future
                size, before, after = len(before), before[-window.length :], after[: window.max_future]
                new = [i for i in [*before, *after][1:] if i >= told] if split == "train" else []
                told = after[-1] + 1
                past_events, following = [sequence[i] for i in before], [sequence[i] for i in after]
                earlier = [e["item"] for e in sequence if e["time"] < moment]
                result.append(
                    {
                        "split": split,
                        "user_id": user,
                        "history_item_id": [e["item"] for e in past_events],
                        "history_timestamp": [e["time"] for e in past_events],
                        "history_behavior": [e["behavior"] for e in past_events],
                        "history_context_price": [e["price"] for e in past_events],
                        "future_context_price": [e["price"] for e in following],
                        "future_item_id": [e["item"] for e in following],
                        "future_timestamp": [e["time"] for e in following],
                        "future_behavior": [e["behavior"] for e in following],
                        "target_item_id": following[0]["item"],
                        "target_timestamp": following[0]["time"],
                        "target_behavior": following[0]["behavior"],
                        "moment": moment,
                        "new_targets": len(new),
                        "recent_targets": sum(sequence[i]["time"] >= recent for i in new),
                        "seen_item_id": [] if split == "train" else list(dict.fromkeys(earlier)),
                        "history_length": reference.length_group(size),
                        "user_status": "existing" if trained[user] else "new",
                        "user_group": reference.user_group(trained[user] or len(earlier), groups),
                    }
                )
    return result, dropped, shortened


def make_log(seed, times=1000):
    events = test_next.make_log(seed, times=times, behaviors=["view", "buy"])
    # Each its own, so that it shows which event a value is of.
    return [{**event, "price": float(number)} for number, event in enumerate(events)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"moments": 1},
        {"moments": 2, "stride": 0.07},
        {"stride": 0.02, "overlap": True},
        {"stride": 0.05, "past": 5.0, "length": 3, "max_future": 2},
        {"past": 0.03, "future": 0.001},
        {"min_history": 3, "min_future": 2, "future": 0.1},
        {"future": 0.2, "recent_share": 0.5},
        {"future": 0.25},
        {"at": at(100, 320, 560, 640, 750, 760, 900), "overlap": True},
        {"at": at(820, 500, 600), "past": 3.0},
    ],
)
@pytest.mark.parametrize("by", [("time",), ("time", "held_out_users")])
def test_windows_equal_plain_python(settings, by):
    window, split = make_window(**settings), spec.SplitSpec(by=by)
    # Few distinct times: many tie, also with moments.
    for seed, times in ((0, 1000), (1, 40)):
        events = make_log(seed, times)
        for event in events:
            event["time"] *= 1000 // times
        wanted, dropped, shortened = expected(events, window, test_next.held_out_users(events, split))
        found, counted = cut(events, window, split)
        assert wanted or settings.get("future", 0) >= 0.25
        test_next.same(found, wanted)
        assert counted["dropped"] == dropped and counted[cutting.FUTURE_CUT] == shortened


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"moments": 1},
        {"stride": 0.02, "overlap": True, "min_history": 2},
        {"at": at(320, 560, 640, 900), "overlap": True},
        {"min_future": 0, "labels": {"buys": {"any_of": {"behavior": ["buy"]}}}},
    ],
)
@pytest.mark.parametrize("by", [("time",), ("held_out_users",)])
def test_what_windows_list_is_counted_before(settings, by):
    window, split, cuts = make_window(**settings), spec.SplitSpec(by=by), CUTS if "time" in by else None
    log = make_log(0)
    found, _ = cut(log, window, split, cuts)
    listed = collections.Counter()
    for one in found:
        listed[one["user_id"]] += len(one["seen_item_id"])
    events = shards.sort_events(test_next.table(log), split, cuts)
    met = cutting.met(events, window, cuts, profile.count(events).end)
    users = [events.column("user_id")[int(start)].as_py().decode() for start in events.starts[:-1]]
    assert sum(listed.values()) or "moments" in settings
    assert dict(zip(users, met)) == {user: listed[user] for user in users}


def test_boundaries_by_hand():
    times = [399, 400, 549, 550, 599, 600, 649, 650, 700]
    events = [{"user": "u", "item": f"i{t}", "time": t, "behavior": "view"} for t in times]
    events.append({"user": "end", "item": "i", "time": 999, "behavior": "view"})
    found, _ = cut(events, make_window(past=0.15, moments=1), spec.SplitSpec())
    told = {w["split"]: (w["moment"], w["history_timestamp"], w["future_timestamp"]) for w in found}
    # A moment's own event follows; the one at the period's end, and the one before the past, are left out.
    assert told == {
        "train": (550, [400, 549], [550, 599]),
        "eval": (600, [549, 550, 599], [600, 649]),
    }


@pytest.mark.parametrize("settings", [{}, {"stride": 0.01, "overlap": True}, {"past": 9.0}])
def test_splits_do_not_leak(settings):
    found, _ = cut(make_log(3), make_window(**settings), spec.SplitSpec())
    learnt = {}
    for each in found:
        assert max(each["history_timestamp"]) < each["moment"] <= min(each["future_timestamp"])
        events = [*each["history_timestamp"], *each["future_timestamp"]]
        learnt.setdefault(each["split"], []).append((each["moment"], max(events)))
    assert max(last for _, last in learnt["train"]) < CUTS.eval_from <= min(t for t, _ in learnt["eval"])
    assert max(last for _, last in learnt["eval"]) < CUTS.test_from <= min(t for t, _ in learnt["test"])


@pytest.mark.parametrize("settings", [{}, {"stride": 0.01, "overlap": True}])
def test_each_event_is_a_new_target_once(settings):
    found, _ = cut(make_log(5), make_window(past=9.0, length=1000, **settings), spec.SplitSpec())
    told = collections.Counter()
    for each in found:
        events = list(zip(each["history_timestamp"], each["history_item_id"]))
        events += zip(each["future_timestamp"], each["future_item_id"])
        for event in events[len(events) - each["new_targets"] :]:
            told[(each["user_id"], *event)] += 1
    log = collections.Counter((e["user"], e["time"], e["item"]) for e in make_log(5))
    assert told and all(count <= log[event] for event, count in told.items())


def test_users_are_split_into_three_with_one_moment():
    rng = np.random.default_rng(0)
    events = [
        {"user": f"u{n}", "item": f"i{rng.integers(9)}", "time": t, "behavior": "view"}
        for n in range(2000)
        for t in (900, 960)
    ]
    found, _ = cut(events, make_window(moments=1), spec.SplitSpec(by=("held_out_users",)), None)
    assert {w["moment"] for w in found} == {960 + 1 - 50} and len(found) == 2000
    users = {s: {w["user_id"] for w in found if w["split"] == s} for s in names.SPLITS}
    assert sum(map(len, users.values())) == len(set.union(*users.values())) == 2000
    shares = [len(users[s]) / 2000 for s in names.SPLITS]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.03)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stride": 0.01}, "stride must be at least future .* overlap: true allows it"),
        ({"min_history": 51}, r"min_history must be at most length \(50\), found 51"),
        ({"min_future": 3, "max_future": 2}, r"min_future must be at most max_future \(2\), found 3"),
        ({"past": 0.0001}, "past must be at least 0.001 s"),
        ({"moments": 0}, "greater than or equal to 1"),
        ({"at": []}, "at names at least one moment, found none"),
        ({"at": at(100, 200), "moments": 1}, "moments goes with a grid of moments"),
        ({"at": at(100, 140)}, r"must be at least future \(0.05 s\).*found 0.04 s"),
        ({"at": at(100, 100), "overlap": True}, "found 0 s"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        make_window(**settings)


def test_users_are_split_into_three_with_named_moments():
    events = [
        {"user": f"u{n}", "item": "i", "time": t, "behavior": "view"}
        for n in range(300)
        for t in (300, 460, 900)
    ]
    window = make_window(at=at(320, 480, 470), overlap=True)
    found, _ = cut(events, window, spec.SplitSpec(by=("held_out_users",)), None)
    # 460 is after 320, but not within 50 ms; nothing happens in the 50 ms from 470 and 480 on.
    assert not found
    found, _ = cut(events, make_window(at=at(455, 899)), spec.SplitSpec(by=("held_out_users",)), None)
    assert {w["moment"] for w in found} == {455}
    users = [{w["user_id"] for w in found if w["split"] == s} for s in names.SPLITS]
    assert all(users) and sum(map(len, users)) == len(set.union(*users)) == 300


def test_a_named_moment_that_no_split_has_is_told():
    window, split = make_window(at=at(580, 820)), spec.SplitSpec()
    counts = profile.count(shards.sort_events(test_next.table(make_log(0)), split, CUTS))
    counts.until = counts.end
    with pytest.raises(
        errors.InputError, match=r"window.at: the future of 1970-01-01T00:00:00.580000\+00:00 "
    ):
        Period().check_written(window, {"train": 1, "eval": 1, "test": 1}, split, CUTS, counts)


@pytest.mark.parametrize(
    "split, message",
    [
        (spec.SplitSpec(by=("leave_one_out",)), "is split by time, by held_out_users, or by both"),
        (spec.SplitSpec(targets="last"), "targets: last"),
        (spec.SplitSpec(target_behaviors=("buy",)), "target_behaviors: \\['buy'\\]"),
    ],
)
def test_splits_that_do_not_fit_are_refused(split, message):
    with pytest.raises(errors.InputError, match=message):
        Period().check(make_window(), spec.LogSpec(path="log.csv"), split)
