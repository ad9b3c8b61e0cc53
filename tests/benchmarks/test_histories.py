"""Counts by hand of histories, against a loop over events; and that nothing else is read."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.baselines import histories
from components.behavior_example_gen import spec
from components.behavior_example_gen.windows import predicates
from schemas import names

_DAY = 86_400_000
_LABELS = {
    "spends": predicates.LabelSpec(sum="context_price", times="context_quantity", over=5),
    "buys": predicates.LabelSpec(any_of={}),
    "one": predicates.LabelSpec(any_of={"behavior": ["buy"], "item_id": ["i1", "i3"]}),
    "likes": predicates.LabelSpec(any_of={"behavior": ["fav"]}),
    "none": predicates.LabelSpec(none_of={"behavior": ["buy"], "item_id": ["i1", "i3"]}),
}
_COLUMNS = histories.Columns.of(
    spec.Columns.from_values(
        {
            "user_id": "u",
            "item_id": "i",
            "timestamp": "t",
            "behavior": "b",
            "user": {"country": "c"},
            "context": {
                "price": {"column": "p", "type": "numeric"},
                "quantity": {"column": "q", "type": "numeric"},
            },
        }
    ),
    _LABELS,
)


def _windows(count: int) -> list[dict]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        n = int(rng.integers(1, 9))
        made.append(
            {
                names.MOMENT: [100 * _DAY],
                names.HISTORY_TIMESTAMP: np.sort(rng.integers(50 * _DAY, 100 * _DAY, n)).tolist(),
                names.HISTORY_ITEM_ID: [b"i%d" % item for item in rng.integers(0, 4, n)],
                names.HISTORY_BEHAVIOR: [[b"buy", b"fav"][b] for b in rng.integers(0, 2, n)],
                "history_context_price": rng.choice([1.5, 2.0, np.nan], n).tolist(),
                "history_context_quantity": rng.integers(-2, 5, n).astype(float).tolist(),
                "user_country": [[b"UK", b"FR"][int(rng.integers(2))]],
                "label_spends": [int(rng.integers(-1, 2))],
                "label_buys": [int(rng.integers(0, 2))],
                "label_one": [0],
                "label_likes": [0],
                "label_none": [1],
                "future_item_id": [b"i9"],
                "future_timestamp": [101 * _DAY],
                "target_item_id": [b"i9"],
                "target_timestamp": [101 * _DAY],
            }
        )
    return made


def _feature(values: list) -> tf.train.Feature:
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _read(windows: list[dict], folder, name: str) -> histories.Histories:
    path = str(folder / name)
    with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
        for window in windows:
            features = tf.train.Features(feature={key: _feature(value) for key, value in window.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return histories.read([path], _COLUMNS)


@pytest.fixture(name="windows")
def _made_windows():
    return _windows(40)


def test_counts_are_those_of_a_loop_over_events(windows, tmp_path):
    found = _read(windows, tmp_path, "a")
    counts = histories.Counts(_COLUMNS, found).of(found)
    for row, window in enumerate(windows):
        ages = [(100 * _DAY - time) / _DAY for time in window[names.HISTORY_TIMESTAMP]]
        items, kinds = window[names.HISTORY_ITEM_ID], window[names.HISTORY_BEHAVIOR]
        prices, amounts = window["history_context_price"], window["history_context_quantity"]
        week = [age <= 7 for age in ages]
        gaps = [before - after for before, after in zip(ages, ages[1:])]
        favourites = [age for age, kind in zip(ages, kinds) if kind == b"fav"]
        known = [price for price in prices if price == price]
        asked = [
            age for age, item, kind in zip(ages, items, kinds) if kind == b"buy" and item in (b"i1", b"i3")
        ]
        expected = {
            "events": len(ages),
            "events_7d": sum(week),
            "items": len(set(items)),
            "items_7d": len({item for item, inside in zip(items, week) if inside}),
            "behavior=fav": len(favourites),
            "behavior=fav_30d": sum(age <= 30 for age in favourites),
            "behavior=fav_age": min(favourites, default=np.nan),
            "item_id=i2_1d": sum(item == b"i2" and age <= 1 for item, age in zip(items, ages)),
            "asked_0": len(asked),
            "asked_0_7d": sum(age <= 7 for age in asked),
            "asked_0_age": min(asked, default=np.nan),
            "age_latest": min(ages),
            "span": max(ages) - min(ages),
            "days": len({int(age) for age in ages}),
            "gap_mean": np.mean(gaps) if gaps else np.nan,
            "gap_deviation": np.std(gaps) if gaps else np.nan,
            "gap_most": max(gaps, default=np.nan),
            "context_price_mean": np.mean(known) if known else np.nan,
            "context_quantity_least": min(amounts),
            "context_quantity_most": max(amounts),
            "context_price*context_quantity_sum": sum(p * q for p, q in zip(prices, amounts) if p == p),
        }
        for name, value in expected.items():
            assert counts[name][row] == pytest.approx(value, nan_ok=True, rel=1e-6), name
    # Two labels that ask about the same are counted once; what asks about any event, or about one behaviour, is counted above.
    assert not any(name.startswith("asked_1") for name in counts)
    assert found.labels.tolist() == [
        [w[f"label_{name}"][0] for name in ("spends", "buys", "one", "likes", "none")] for w in windows
    ]


def test_nothing_of_what_follows_or_of_labels_is_read(windows, tmp_path):
    assert all(
        name.startswith((names.HISTORY_PREFIX, "user_")) or name == names.MOMENT for name in _COLUMNS.read()
    )
    before = _read(windows, tmp_path, "a")
    for window in windows:
        window.update(
            {
                "future_item_id": [b"i1"] * 5,
                "future_timestamp": [102 * _DAY] * 5,
                "target_item_id": [b"i2"],
                "target_timestamp": [103 * _DAY],
                "label_spends": [1 - abs(window["label_spends"][0])],
            }
        )
    after = _read(windows, tmp_path, "b")
    counter = histories.Counts(_COLUMNS, before)
    one, other = counter.of(before), counter.of(after)
    assert list(one) == list(other) and not [name for name in one if "label" in name or "future" in name]
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_values_that_training_has_not_met_count_nowhere(windows, tmp_path):
    train = _read(windows, tmp_path, "a")
    for window in windows:
        window[names.HISTORY_ITEM_ID] = [b"new"] * len(window[names.HISTORY_ITEM_ID])
        window["user_country"] = [b"DE"]
    found = histories.Counts(_COLUMNS, train).of(_read(windows, tmp_path, "b"))
    assert not any(
        values.any() for name, values in found.items() if name.startswith("item_id=") and "age" not in name
    )
    assert set(found["user_country"]) == {2.0} and set(found["items"]) == {1.0}
