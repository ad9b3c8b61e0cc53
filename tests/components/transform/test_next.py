"""The transform graph: indices, padding, vocabulary, time."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from components.transform import vocabulary
from schemas import names, times
from tests import fixtures, hostile

# What TensorFlow 2.16 makes of b"u1".
RECORDED_HASH = 7_313_556_432_661_986_459
ODD = ["a b", "", "ü漢", "tab\there", '"q",', "0012", "12", *hostile.IDS]


def make_windows():
    """Over 20 days, the targets two days after their histories."""
    made = fixtures.random_windows(80, 15, behaviors=True)
    made += [fixtures.window([item or "i1", "i2"], item or "i3", ["view", "rare"]) for item in ODD]
    for number, window in enumerate(made):
        moved = [time + number % 20 * times.DAY_MS for time in window[names.HISTORY_TIMESTAMP]]
        window[names.HISTORY_TIMESTAMP] = moved
        window[names.TARGET_TIMESTAMP] = moved[-1] + 2 * times.DAY_MS
    return made


@pytest.fixture(scope="module")
def windows():
    return make_windows()


@pytest.fixture(scope="module")
def output(windows, tmp_path_factory):
    return fixtures.build_transform_output(str(tmp_path_factory.mktemp("transform")), windows, behaviors=True)


def transform(output, windows):
    spec = output.raw_feature_spec()
    parsed = tf.io.parse_example([fixtures.serialize(w) for w in windows], spec)
    return output.transform_features_layer()(parsed)


def test_vocabulary_counts_training_targets(output, windows):
    counts = collections.Counter()
    for window in windows:
        counts.update([*window[names.HISTORY_ITEM_ID][1:], window[names.TARGET_ITEM_ID]])
    known = vocabulary.Vocabulary.load(output)
    found = {item.decode(): count for item, count in zip(known.items, known.counts)}
    assert found == dict(counts)
    assert list(known.counts) == sorted(known.counts, reverse=True)
    assert set(known.behaviors) == {b"view", b"buy", b"rare"} and known.scenes == []


def recent_counts(output):
    lines = [line.split(b" ", 1) for line in output.vocabulary_by_name(names.RECENT_ITEMS_VOCABULARY)]
    return {item.decode(): int(count) for count, item in lines}


def test_recent_counts_are_of_the_last_targets_of_windows(output, windows):
    counts = collections.Counter()
    for window in windows:
        targets = [*window[names.HISTORY_ITEM_ID][1:], window[names.TARGET_ITEM_ID]]
        counts.update(targets[len(targets) - window[names.RECENT_TARGETS] :])
    assert recent_counts(output) == dict(counts) and 0 < len(counts) < 20
    assert {window[names.RECENT_TARGETS] for window in windows} == {0, 1, 2}


def test_indices_are_places_in_the_vocabulary(output, windows):
    known = vocabulary.Vocabulary.load(output)
    index = {item.decode(): names.FIRST_INDEX + place for place, item in enumerate(known.items)}
    found = transform(output, windows)
    for row, window in enumerate(windows):
        items = [index.get(item, names.OOV_INDEX) for item in window[names.HISTORY_ITEM_ID]]
        expected = [names.PADDING_INDEX] * (fixtures.LENGTH - len(items)) + items
        np.testing.assert_array_equal(found[names.HISTORY_ITEM_INDEX][row], expected)
        assert found[names.TARGET_ITEM_INDEX][row] == index[window[names.TARGET_ITEM_ID]]
    seen = tf.sparse.to_dense(found[names.SEEN_ITEM_INDEX]).numpy()
    first = [index.get(item, names.OOV_INDEX) for item in windows[0][names.SEEN_ITEM_ID]]
    np.testing.assert_array_equal(seen[0][: len(first)], first)


def test_long_unknown_and_empty_histories(output):
    long = [f"i{n % 15}" for n in range(3 * fixtures.LENGTH)]
    found = transform(
        output,
        [
            fixtures.window(long, "i1", ["view"] * len(long)),
            fixtures.window(long[-fixtures.LENGTH :], "i1", ["view"] * fixtures.LENGTH),
            fixtures.window(["never met"], "never met either", ["never seen"]),
        ],
    )
    items = found[names.HISTORY_ITEM_INDEX].numpy()
    np.testing.assert_array_equal(items[0], items[1])
    assert items[2].tolist() == [names.PADDING_INDEX] * (fixtures.LENGTH - 1) + [names.OOV_INDEX]
    assert found[names.HISTORY_BEHAVIOR_INDEX][2, -1] == names.OOV_INDEX
    assert found[names.TARGET_ITEM_INDEX][2] == names.OOV_INDEX
    layer = output.transform_features_layer()
    spec = {
        name: output.raw_feature_spec()[name]
        for name in (names.HISTORY_ITEM_ID, names.HISTORY_BEHAVIOR, names.HISTORY_TIMESTAMP)
    }
    empty = layer(tf.io.parse_example([tf.train.Example().SerializeToString()], spec))
    assert empty[names.HISTORY_ITEM_INDEX].numpy().tolist() == [[names.PADDING_INDEX] * fixtures.LENGTH]


def test_users_are_told_apart_and_known_by_their_frequency(output):
    users = ["u1", "u2", "u1", "ü漢", ""]
    made = [fixtures.window(["i1"], "i2", ["view"], user=user) for user in users]
    made[1][names.USER_FREQUENCY] = names.HEAD
    found = transform(output, made)
    hashes = found[names.USER_HASH].numpy()
    assert hashes.shape == (5,) and hashes[0] == hashes[2] and len(set(hashes.tolist())) == 4
    assert (hashes >= 0).all()
    # Of farmhash's Fingerprint64: checkpoints of two releases must agree on who is who.
    assert hashes[0] == RECORDED_HASH
    assert found[names.USER_HEAD].numpy().tolist() == [0, 1, 0, 0, 0]


def test_time_features(output):
    # Thursday 1970-01-01 23:30, half an hour later, and Monday 1970-01-05 12:00 (UTC).
    minute = 60_000
    times = [23 * 60 * minute + 30 * minute, 24 * 60 * minute, (4 * 24 + 12) * 60 * minute]
    window = {**fixtures.window(["i1", "i2", "i3"], "i4", ["view"] * 3), names.HISTORY_TIMESTAMP: times}
    found = {
        name: value[0].numpy().tolist()[-4:]
        for name, value in transform(output, [window]).items()
        if name in (names.HISTORY_HOUR_INDEX, names.HISTORY_WEEKDAY_INDEX)
    }
    assert found[names.HISTORY_HOUR_INDEX] == [0, 2 + 23, 2 + 0, 2 + 12]
    assert found[names.HISTORY_WEEKDAY_INDEX] == [0, 2 + 3, 2 + 4, 2 + 0]
    gaps = transform(output, [window])[names.HISTORY_LOG_GAP][0].numpy()[-4:]
    np.testing.assert_allclose(gaps, [0, 0, np.log1p(1800), np.log1p(84 * 3600)], rtol=1e-6)
