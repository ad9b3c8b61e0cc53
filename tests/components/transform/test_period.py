"""The transform graph of periods: counts of targets, and the indices of what follows."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from components.transform import vocabulary
from schemas import errors, names
from tests.period_fixtures import LENGTH, PAST_MS, analysed, serialize, settings_of, window, with_attributes


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    made = []
    for _ in range(40):
        items, future = ([f"i{v}" for v in rng.integers(0, 12, rng.integers(1, LENGTH))] for _ in range(2))
        new = int(rng.integers(0, len(items) + len(future)))
        made.append(window(items, future, new, int(rng.integers(0, new + 1))))
    return made


@pytest.fixture(scope="module")
def output(windows, tmp_path_factory):
    return analysed(str(tmp_path_factory.mktemp("transform")), windows)


def counted(windows, name, past=names.HISTORY_ITEM_ID, future=names.FUTURE_ITEM_ID):
    counts = collections.Counter()
    for each in windows:
        events = [*each[past], *each[future]]
        counts.update(events[len(events) - each[name] :])
    return dict(counts)


def test_counts_are_of_new_targets(output, windows):
    known = vocabulary.Vocabulary.load(output)
    found = {item.decode(): count for item, count in zip(known.items, known.counts)}
    assert found == counted(windows, names.NEW_TARGETS)
    lines = [line.split(b" ", 1) for line in output.vocabulary_by_name(names.RECENT_ITEMS_VOCABULARY)]
    assert {item.decode(): int(n) for n, item in lines} == counted(windows, names.RECENT_TARGETS)
    lines = [line.split(b" ", 1) for line in output.vocabulary_by_name(names.RECENT_SCENES_VOCABULARY)]
    of_scenes = counted(windows, names.RECENT_TARGETS, names.HISTORY_SCENE, names.FUTURE_SCENE)
    assert {scene.decode(): int(n) for n, scene in lines} == of_scenes


def test_what_follows_has_the_indices_of_the_same_vocabularies(output, windows):
    unknown = window(["i1", "never met"], ["never met", "i2", "i1"], 0, scenes=("home", "nowhere"))
    rows = [*windows, unknown]
    parsed = tf.io.parse_example([serialize(each) for each in rows], output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)
    known = vocabulary.Vocabulary.load(output)
    for raw, values, index in (
        (names.FUTURE_ITEM_ID, known.items, names.FUTURE_ITEM_INDEX),
        (names.FUTURE_SCENE, known.scenes, names.FUTURE_SCENE_INDEX),
    ):
        place = {value.decode(): names.FIRST_INDEX + n for n, value in enumerate(values)}
        dense = tf.sparse.to_dense(found[index]).numpy()
        for row, each in zip(dense, rows):
            wanted = [place.get(value, names.OOV_INDEX) for value in each[raw]]
            assert row.tolist() == wanted + [names.PADDING_INDEX] * (len(row) - len(wanted))
            if raw == names.FUTURE_ITEM_ID:
                assert wanted[0] == place.get(each[names.TARGET_ITEM_ID], names.OOV_INDEX)
    dense = tf.sparse.to_dense(found[names.FUTURE_SECONDS], -1.0).numpy()
    for row, each in zip(dense, rows):
        wanted = [0.5 + 1.5 * n for n in range(len(each[names.FUTURE_ITEM_ID]))]
        assert row.tolist() == wanted + [-1.0] * (len(row) - len(wanted))
    assert found[names.TARGET_ITEM_INDEX][-1] == found[names.HISTORY_ITEM_INDEX][-1, -1] == names.OOV_INDEX


LEAST = 12
LIMITED = {
    "item_id": {"min_count": LEAST},
    "scene": {"max_size": 1},
    "item_brand": {"min_count": LEAST},
}


@pytest.fixture(scope="module")
def limited(windows, tmp_path_factory):
    """Of windows of which many have an event of the brand `once`, in the scene `once`, that is new in one alone."""
    made = [with_attributes(dict(each), seed) for seed, each in enumerate(windows)]
    for number, each in enumerate(made):
        behind = len(each[names.FUTURE_ITEM_ID]) + len(each[names.HISTORY_ITEM_ID]) - 1
        each[names.NEW_TARGETS] = min(each[names.NEW_TARGETS] + (number == 0) * 99, behind)
        if number == 0 or each[names.NEW_TARGETS] < behind:
            place = 1 if number == 0 and len(each[names.HISTORY_ITEM_ID]) > 1 else 0
            each["history_item_brand"][place] = each[names.HISTORY_SCENE][place] = "once"
    return made, analysed(str(tmp_path_factory.mktemp("limited")), made, attributes=True, options=LIMITED)


def test_options_keep_values_that_enough_events_have(limited):
    windows, output = limited
    assert sum("once" in each["history_item_brand"] for each in windows) > LEAST
    for event, vocabulary_name in (
        ("item_id", names.ITEM_VOCABULARY),
        ("scene", names.SCENE_VOCABULARY),
        ("item_brand", "item_brand"),
    ):
        counts = counted(windows, names.NEW_TARGETS, f"history_{event}", f"future_{event}")
        counts.pop("", None)
        wanted = {value for value, count in counts.items() if count >= LIMITED[event].get("min_count", 1)}
        if event == "scene":
            wanted = {max(counts, key=counts.get)}
        else:
            assert 0 < len(wanted) < len(counts)
        assert {value.decode() for value in output.vocabulary_by_name(vocabulary_name)} == wanted
    known = vocabulary.Vocabulary.load(output)
    assert known.counts.min() >= LEAST


def test_options_that_leave_no_item_or_scene_are_refused(windows, tmp_path):
    for name, event in (("item_id", "item"), ("scene", "scene")):
        options = {name: {"min_count": 1_000_000}}
        output = analysed(str(tmp_path / event), windows, options=options)
        with pytest.raises(
            errors.InputError, match=rf"features\.options\.{name}\.min_count: .*found 1000000$"
        ):
            vocabulary.check_left(output, settings_of(options=options).features)


@pytest.fixture(scope="module")
def alone(output):
    """A function from windows to the features of their histories and moments alone."""
    used = (*(name for name in names.HISTORY if name != names.HISTORY_BEHAVIOR), names.MOMENT)
    spec = {name: output.raw_feature_spec()[name] for name in used}

    def transform(*windows):
        parsed = tf.io.parse_example([serialize(each) for each in windows], spec)
        return output.transform_features_layer()(parsed)

    return transform


def test_a_history_alone_is_answered(alone):
    found = alone(window(["i1", "i2"], ["i3"], 0))
    assert (found[names.HISTORY_ITEM_INDEX].numpy() >= names.FIRST_INDEX).sum() == 2
    assert not {names.FUTURE_ITEM_INDEX, names.FUTURE_SECONDS} & set(found)


def test_what_lies_outside_of_the_past_is_no_history(alone):
    """Neither at the moment or later, nor more than a day before it, wherever it stands; both ends to the ms."""
    short = window(["i1", "i2", "i3"], ["i4"], 0)
    moment = short[names.MOMENT]
    short[names.HISTORY_TIMESTAMP] = [moment - PAST_MS, moment - 7, moment - 1]
    outside = [("i5", moment - PAST_MS - 1), ("i6", moment), ("i7", moment + 5), ("i8", 0)]
    long = {**short}
    for name, more in (
        (names.HISTORY_ITEM_ID, [item for item, _ in outside]),
        (names.HISTORY_TIMESTAMP, [time for _, time in outside]),
        (names.HISTORY_SCENE, ["home"] * 4),
    ):
        inside = short[name]
        long[name] = [more[0], inside[0], more[1], *inside[1:], *more[2:]]
    found = alone(short, long)
    for name in names.HISTORY_PLACES:
        if name in found:
            one, two = found[name].numpy()
            np.testing.assert_array_equal(one, two, name)
    assert (found[names.HISTORY_ITEM_INDEX][0].numpy() != names.PADDING_INDEX).sum() == 3 < LENGTH


def test_an_event_without_a_time_is_history(alone):
    asked = window(["i1", "i2"], ["i3"], 0)
    asked[names.HISTORY_TIMESTAMP] = asked[names.HISTORY_TIMESTAMP][:1]
    found = alone(asked)[names.HISTORY_ITEM_INDEX].numpy()
    assert (found != names.PADDING_INDEX).sum() == 2


def test_events_are_so_long_before_the_last_one_and_that_before_the_moment(output):
    whole = window(["i1", "i2", "i3"], ["i4"], 0)
    early = {**whole, names.MOMENT: whole[names.HISTORY_TIMESTAMP][1]}
    timeless = {**whole, names.HISTORY_TIMESTAMP: []}
    parsed = tf.io.parse_example(
        [serialize(each) for each in (whole, early, timeless)], output.raw_feature_spec()
    )
    found = output.transform_features_layer()(parsed)
    # What is not before the moment is no history.
    ages = [[0.0] * (LENGTH - 3) + [7200.0, 3600.0, 0.0], [0.0] * LENGTH, [0.0] * LENGTH]
    assert found[names.HISTORY_SECONDS].numpy().tolist() == ages
    # The first moment is 500 ms before the first event that follows, an hour behind the last one.
    assert found[names.SECONDS_SINCE_LAST].numpy().tolist() == [3599.5, 3600.0, 0.0]


@pytest.fixture(scope="module")
def attributed(windows, tmp_path_factory):
    made = [with_attributes(dict(each), seed) for seed, each in enumerate(windows)]
    return made, analysed(str(tmp_path_factory.mktemp("attributes")), made, attributes=True)


def both(windows, event):
    """The values of an attribute of histories and futures, in two lists of rows."""
    return [[each[f"{side}_{event}"] for each in windows] for side in ("history", "future")]


def test_attributes_of_events_have_one_vocabulary_before_and_after(attributed):
    windows, output = attributed
    parsed = tf.io.parse_example([serialize(each) for each in windows], output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)
    known = [value.decode() for value in output.vocabulary_by_name("item_brand")]
    assert set(known) == {"a", "b", "c"}
    counts = collections.Counter(
        brand for rows in both(windows, "item_brand") for row in rows for brand in row
    )
    assert [counts[brand] for brand in known] == sorted((counts[brand] for brand in known), reverse=True)
    place = {"": names.PADDING_INDEX, **{brand: names.FIRST_INDEX + n for n, brand in enumerate(known)}}
    history = found["history_item_brand_index"].numpy()
    future = tf.sparse.to_dense(found["future_item_brand_index"], -1).numpy()
    items = tf.sparse.to_dense(found[names.FUTURE_ITEM_INDEX], -1).numpy()
    for row, each in enumerate(windows):
        wanted = [place[brand] for brand in each["history_item_brand"]]
        assert history[row].tolist() == [0] * (LENGTH - len(wanted)) + wanted
        wanted = [place[brand] for brand in each["future_item_brand"]]
        assert future[row].tolist() == wanted + [-1] * (future.shape[1] - len(wanted))
        # At the places of the items.
        assert ((future[row] == -1) == (items[row] == -1)).all()


def test_numbers_of_events_have_buckets_of_equal_frequency_of_both_together(attributed):
    windows, output = attributed
    parsed = tf.io.parse_example([serialize(each) for each in windows], output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)
    values, indices = [], []
    history = found["history_context_price_index"].numpy()
    future = tf.sparse.to_dense(found["future_context_price_index"], -1).numpy()
    for row, each in enumerate(windows):
        values += [*each["history_context_price"], *each["future_context_price"]]
        indices += [
            *history[row, LENGTH - len(each["history_context_price"]) :],
            *future[row][future[row] >= 0],
        ]
    values, indices = np.array(values), np.array(indices)
    assert ((indices == names.PADDING_INDEX) == np.isnan(values)).all()
    there = ~np.isnan(values)
    assert np.isnan(values).any() and set(indices[there]) == set(
        range(names.FIRST_INDEX, names.FIRST_INDEX + 4)
    )
    # A larger number is never in a lower bucket, and each has about a quarter.
    assert (np.diff(indices[there][np.argsort(values[there])]) >= 0).all()
    assert np.abs(np.bincount(indices[there])[names.FIRST_INDEX :] / there.sum() - 0.25).max() < 0.08


def test_a_request_has_no_future_and_may_lack_attributes(attributed):
    windows, output = attributed
    used = (
        names.HISTORY_ITEM_ID,
        names.HISTORY_SCENE,
        names.HISTORY_TIMESTAMP,
        names.MOMENT,
        "history_context_price",
    )
    spec = {name: output.raw_feature_spec()[name] for name in used}
    examples = [serialize(each) for each in windows]
    layer = output.transform_features_layer()
    whole = layer(tf.io.parse_example(examples, output.raw_feature_spec()))
    found = layer(tf.io.parse_example(examples, spec))
    assert "future_context_price_index" not in found and "history_item_brand_index" not in found
    for name in (names.HISTORY_ITEM_INDEX, "history_context_price_index"):
        np.testing.assert_array_equal(found[name], whole[name])


def test_a_column_without_a_value_is_none(tmp_path):
    """TFT puts a word of its own into a vocabulary that would be empty."""
    rows = [window(["i1", "i2"], ["i3"], 1, scenes=("", "")) for _ in range(3)]
    known = vocabulary.Vocabulary.load(analysed(str(tmp_path), rows))
    assert known.scenes == [] and b"i3" in known.items
