"""Labels of periods against plain Python, and what a moment must not know."""

import collections
import math

import numpy as np
import pyarrow as pa
import pydantic
import pytest

from components.behavior_example_gen import profile, shards, spec, splits
from components.behavior_example_gen.cutting import period as cutting
from components.behavior_example_gen.reading import values
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.period import Period, PeriodWindow
from schemas import errors, names
from tests.components.behavior_example_gen.cutting import test_next

CUTS = splits.Cuts(600, 800)
LABELS = {
    "churn": {"none_of": {}},
    "no_buy": {"none_of": {"behavior": "buy"}, "within": 0.03},
    "buys_toys": {"any_of": {"behavior": ["buy"], "item_category": ["toys", "games"]}, "within": 0.12},
    "next_buy": {"next": {"behavior": ["buy"]}},
    "views": {"count": {"behavior": ["view"]}, "over": 2, "within": 0.1},
    "spends": {"sum": "context_amount", "over": 5, "within": 0.1},
    "spends_more": {
        "sum": "item_price",
        "times": "context_amount",
        "where": {"behavior": "buy"},
        "over": 10.5,
    },
}


def make_window(**settings):
    return PeriodWindow(
        kind="period", **{"past": 0.2, "future": 0.05, "min_future": 0, "labels": LABELS, **settings}
    )


def make_log(seed, times=1000):
    events = test_next.make_log(seed, times=times, behaviors=["view", "buy"])
    rng = np.random.default_rng(seed)
    for event in events:
        event["time"] *= 1000 // times
        event["item_category"] = ["toys", "games", "books", ""][rng.integers(4)]
        event["item_price"] = float(rng.integers(1, 9)) / 2
        event["context_amount"] = [1.0, 2.5, -3.0, math.nan][rng.integers(4)]
    return events


def cut(events, window, split, cuts=CUTS):
    table = test_next.table(events)
    for name, type_ in (
        ("item_category", pa.binary()),
        ("item_price", pa.float64()),
        ("context_amount", pa.float64()),
    ):
        column = [e[name].encode() if type_ == pa.binary() else e[name] for e in events]
        table = table.append_column(name, pa.array(column, type_))
    found = shards.sort_events(table, split, cuts)
    counts = profile.count(found)
    popularity = profile.popularity(counts, window.recent_share)
    rows, counted = [], collections.Counter()
    for name, batch, more in cutting.cut(found, window, kind.Context(popularity, cuts, counts.end)):
        counted.update(more)
        for row in batch.to_pylist() if batch is not None else ():
            rows.append({"split": name, **row})
            counted[name] += 1
    return rows, counted


def answer(label, events, moment, until):
    """One label, one event after the other."""
    following = [e for e in events if moment <= e["time"] < until]

    def matches(event, wanted):
        return all(event[name] in ([v] if isinstance(v, str) else v) for name, v in wanted.items())

    if "any_of" in label:
        return any(matches(e, label["any_of"]) for e in following)
    if "none_of" in label:
        return not any(matches(e, label["none_of"]) for e in following)
    if "next" in label:
        return bool(following) and matches(following[0], label["next"])
    if "count" in label:
        return sum(matches(e, label["count"]) for e in following) > label["over"]
    added = [value for value in products(label, following, matches) if not math.isnan(value)]
    return sum(added) > label["over"]


def products(
    label,
    events,
    matches=lambda event, wanted: event["behavior"] in wanted.get("behavior", event["behavior"]),
):
    """What each event adds to a sum; NaN where it lacks a number."""
    added = (event for event in events if matches(event, label.get("where", {})))
    return [event[label["sum"]] * (event[label["times"]] if "times" in label else 1) for event in added]


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 0.02, "overlap": True}, {"past": 5.0, "min_history": 2}, {"min_future": 1}],
)
@pytest.mark.parametrize("times", [1000, 40])
def test_labels_equal_plain_python(settings, times):
    window, split = make_window(**settings), spec.SplitSpec(by=("time",))
    events = make_log(1, times)
    users = collections.defaultdict(list)
    for event in sorted(events, key=lambda e: e["time"]):
        users[event["user"]].append(event)
    end = max(e["time"] for e in events) + 1
    known_until = {"train": min(CUTS.eval_from, end), "eval": min(CUTS.test_from, end), "test": end}
    rows, counted = cut(events, window, split)
    seen = collections.defaultdict(set)
    unknown, lacking = collections.Counter(), collections.Counter()
    for row in rows:
        user, moment, name = row["user_id"][0].decode(), row["moment"][0], row["split"]
        seen[name].add((user, moment))
        for label, wanted in LABELS.items():
            until = moment + round(1000 * wanted.get("within", window.future))
            expected = -1 if until > known_until[name] else int(answer(wanted, users[user], moment, until))
            assert row[names.LABEL_PREFIX + label] == [expected], (label, user, moment)
            unknown[name, label] += expected == -1
            if "sum" in wanted and expected != -1:
                following = [event for event in users[user] if moment <= event["time"] < until]
                lacking[name, label] += any(map(math.isnan, products(wanted, following)))
    summary = Period().summary(window, counted)["labels"]
    for what, wanted in (("unknown", unknown), ("lacking", lacking)):
        assert {(s, n): v for s, of in summary[what].items() for n, v in of.items() if v} == +wanted
    assert +lacking
    rates = [row["label_churn"][0] for row in rows if row["split"] == "train"]
    assert summary["positive_rate"]["train"]["churn"] == pytest.approx(np.mean(rates))
    # Every user with a history at one of the moments is there, also where nothing follows.
    moments = {name: {moment for _, moment in pairs} for name, pairs in seen.items()}
    past, future = round(1000 * window.past), round(1000 * window.future)
    for name, found in moments.items():
        wanted = set()
        for user, sequence in users.items():
            if name == "train" and not any(e["time"] < CUTS.eval_from for e in sequence):
                continue
            for moment in found:
                before = sum(moment - past <= e["time"] < moment for e in sequence)
                after = sum(moment <= e["time"] < moment + future for e in sequence)
                if before >= window.min_history and after >= window.min_future:
                    wanted.add((user, moment))
        assert wanted == seen[name]
    assert all(seen[name] for name in names.SPLITS)
    # Labels are of both kinds, so that the test can fail.
    for label in LABELS:
        found = collections.Counter(row[names.LABEL_PREFIX + label][0] for row in rows)
        assert found[0] and (found[1] or label == "churn" and window.min_future), (label, found)


def test_a_window_that_nothing_follows_has_a_history_and_no_target():
    events = make_log(0)
    rows, _ = cut(events, make_window(), spec.SplitSpec())
    empty = [row for row in rows if not row["future_item_id"]]
    assert empty and len(empty) < len(rows)
    for row in empty:
        assert row["target_item_id"] == [b""] and row["target_timestamp"] == row["moment"]
        assert row["label_churn"] == [1] and row["label_next_buy"] == [0]
        assert not row["future_timestamp"]
    for row in rows:
        count = len(row["history_item_id"])
        assert count and max(row["history_timestamp"]) < row["moment"][0]
        for name in ("history_item_category", "history_item_price", "history_context_amount"):
            assert len(row[name]) == count


def test_no_slice_knows_whether_anything_follows():
    """Of windows that may have no target, item_frequency is that of the last event before the moment."""
    rows, _ = cut(make_log(0), make_window(), spec.SplitSpec())
    by_item = collections.defaultdict(set)
    for row in rows:
        by_item[row["history_item_id"][-1]].add(row["item_frequency"][0])
    assert all(len(found) == 1 for found in by_item.values())
    assert {b"head", b"tail"} <= set.union(*by_item.values())
    empty = [row for row in rows if not row["future_item_id"]]
    assert len({row["item_frequency"][0] for row in empty}) > 1


def test_a_total_does_not_know_of_other_users():
    """Sums of floats depend on their order: those of a user are added up by themselves."""
    mine = [
        {"user": "m", "item": "i", "behavior": "buy", "item_category": "", "item_price": 1.0, **more}
        for more in (
            {"time": 700, "context_amount": 1.0},
            {"time": 760, "context_amount": 0.1},
            {"time": 761, "context_amount": 0.2},
        )
    ]
    end = {**mine[0], "user": "z", "time": 999}
    other = [{**mine[0], "user": "a", "time": t, "context_amount": 3e7} for t in range(500, 999, 50)]
    label = {"spends": {"sum": "context_amount", "over": 0.3}}
    window = make_window(labels=label, at=["1970-01-01T00:00:00.750Z"])
    for events in ([*mine, end], [*other, *mine, end]):
        rows, _ = cut(events, window, spec.SplitSpec(by=("held_out_users",)), None)
        found = [row["label_spends"] for row in rows if row["user_id"] == [b"m"]]
        assert found == [[0]]


def sums(prices, over, amounts=None, read=pa.array):
    """The label of a user whose events after the moment have these prices, each times an amount where there are any."""
    label = {"sum": "item_price", "over": over, **({"times": "context_amount"} if amounts else {})}
    event = {"user": "m", "item": "i", "behavior": "buy", "item_category": "", "context_amount": 1.0}
    found, _ = values.numbers(read(prices))
    following = [
        {**event, "time": 760 + n, "item_price": price, "context_amount": amount}
        for n, (price, amount) in enumerate(zip(found, amounts or [1.0] * len(prices)))
    ]
    log = [{**event, "time": 700, "item_price": 1.0}, *following, {**event, "time": 5000, "item_price": 1.0}]
    window = make_window(labels={"spends": label}, at=["1970-01-01T00:00:00.750Z"], future=2.0)
    rows, _ = cut(log, window, spec.SplitSpec(by=("held_out_users",)), None)
    (row,) = rows
    return row["label_spends"][0]


AT_THE_THRESHOLD = [
    ([0.85] * 600, 510),
    ([0.3], 0.3),
    ([49.95] * 10, 499.5),
    ([19.99, 0.01], 20),
    ([19.9] * 5, 99.5),
    ([0.1] * 10, 1),
    ([-0.1, -0.2], -0.3),
    ([1.1, -0.1, -0.7], 0.3),
    ([1234567.89, 0.01], 1234567.9),
]


@pytest.mark.parametrize("prices, over", AT_THE_THRESHOLD)
def test_a_sum_at_the_threshold_is_not_more(prices, over):
    """Of decimals as they are written, in text and in columns of Parquet."""
    reads = [lambda v: pa.array([str(one) for one in v]), lambda v: pa.array(v, pa.float64())]
    if max(prices) < 1000:  # what a float32 has the digits of
        reads.append(lambda v: pa.array(v, pa.float32()))
    for read in reads:
        assert sums(prices, over, read=read) == 0
        assert sums([*prices, 0.01], over, read=read) == 1
        assert sums([*prices, -0.01], over, read=read) == 0


@pytest.mark.parametrize(
    "prices, amounts, over",
    [([49.95], [10.0], 499.5), ([0.1, 0.7], [3.0, 1.0], 1), ([1.1, 2.2], [1.1, -1.0], -0.99)],
)
def test_a_sum_of_products_at_the_threshold_is_not_more(prices, amounts, over):
    assert sums(prices, over, amounts) == 0
    assert sums([*prices, 0.1], over, [*amounts, 0.1]) == 1
    assert sums([*prices, 0.1], over, [*amounts, -0.1]) == 0


@pytest.mark.parametrize("over", [5, -1])
def test_what_is_missing_adds_nothing(over):
    nan = math.nan
    assert sums([nan, nan], over) == sums([9.0], over, [nan]) == sums([], over) == int(over < 0)
    assert sums([9.0, nan], over) == sums([9.0, 1.0], over, [1.0, nan]) == sums([9.0], over) == 1


def test_events_that_are_not_added_up_do_not_lack_a_number():
    event = {"user": "m", "item": "i", "item_category": "", "context_amount": 1.0, "item_price": 9.0}
    log = [
        {**event, "time": 700, "behavior": "buy"},
        {**event, "time": 760, "behavior": "buy"},
        {**event, "time": 761, "behavior": "view", "item_price": math.nan},
        {**event, "time": 999, "behavior": "buy"},
    ]
    sum_of = {"sum": "item_price", "over": 5}
    labels = {"all": sum_of, "buys": {**sum_of, "where": {"behavior": "buy"}}}
    window = make_window(labels=labels, at=["1970-01-01T00:00:00.750Z"])
    rows, counted = cut(log, window, spec.SplitSpec(by=("held_out_users",)), None)
    assert [(row["label_all"], row["label_buys"]) for row in rows] == [([1], [1])]
    lacking = Period().summary(window, counted)["labels"]["lacking"]
    assert sum(of["all"] for of in lacking.values()) == 1 and not any(of["buys"] for of in lacking.values())


def test_the_run_says_what_labels_lack(caplog):
    window = make_window(labels={"spends": {"sum": "item_price", "over": 5}})
    summary = {
        "periods": {},
        "labels": {
            "positive_rate": {"train": {"spends": 0.5}},
            "unknown": {"train": {"spends": 1234}, "eval": {"spends": 2}, "test": {"spends": 0}},
            "lacking": {"train": {"spends": 1000}, "eval": {"spends": 2}, "test": {"spends": 0}},
        },
    }
    lacks = "sums in which some event lacks a number, and adds nothing:"
    with caplog.at_level("WARNING", "footfall.progress"):
        Period().tell(
            window,
            summary,
            {},
            splits.Cuts(600, 800),
            profile.Counts(None, {}, {}, start=-9999, end=999, until=999),
        )
    assert [record.getMessage() for record in caplog.records] == [
        "train: unknown labels: spends of 1,234 windows: `within` ends after what this split may know",
        f"train: {lacks} spends of 1,000 windows; `where` says which events are added up",
        "eval: unknown labels: spends of 2 windows: `within` ends after what this split may know",
        f"eval: {lacks} spends of 2 windows; `where` says which events are added up",
    ]


@pytest.mark.parametrize(
    "label, message",
    [
        ({}, "takes one of any_of, none_of, next, count, sum; found none of them"),
        ({"any_of": {}, "next": {}}, "found any_of, next"),
        ({"count": {}}, "count needs over, a number"),
        ({"any_of": {}, "over": 1}, "over goes with count or sum, found it with any_of"),
        ({"any_of": {}, "times": "item_price"}, "times goes with sum, found it with any_of"),
        ({"any_of": {"behavior": []}}, "at least 1 item"),
        ({"any_of": {}, "within": 0.0001}, "labels.wrong.within must be at least 0.001 s"),
    ],
)
def test_labels_that_make_no_sense_are_refused(label, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        make_window(labels={"wrong": label})


def test_settings_read_back_are_the_same():
    window = make_window(labels={**LABELS, "one": {"any_of": {"item_id": 7}}})
    assert window.labels["one"].any_of == {"item_id": ("7",)}
    assert PeriodWindow.from_json(window.to_json()) == window


def test_windows_without_future_need_labels():
    with pytest.raises(pydantic.ValidationError, match="min_future: 0 goes with labels"):
        make_window(labels={})


@pytest.mark.parametrize(
    "label, message",
    [
        (
            {"any_of": {"behavior": "buy"}},
            "wrong.any_of: found behavior, .* none .*: item_id, item_category$",
        ),
        (
            {"next": {"item_price": "3"}},
            "wrong.next: found item_price, which is none of the features with texts",
        ),
        (
            {"sum": "item_category", "over": 1},
            "wrong.sum: found item_category, .* none of the numbers .*: item_price$",
        ),
        ({"sum": "item_price", "over": 1, "where": {"no": "x"}}, "wrong.where: found no, "),
        ({"sum": "item_price", "over": 1, "times": "item_id"}, "wrong.times: found item_id, "),
    ],
)
def test_labels_of_what_the_log_has_not_are_refused(label, message):
    columns = spec.Columns(item={"category": "c", "price": {"column": "p", "type": "numeric"}})
    with pytest.raises(errors.InputError, match=message):
        Period().check(
            make_window(labels={"wrong": label}),
            spec.LogSpec(path="l.csv", columns=columns),
            spec.SplitSpec(),
        )
