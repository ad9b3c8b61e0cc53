"""A history after Transform: the same names, shapes and values in windows of every kind."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import kinds, names
from tests import exposure_fixtures, fixtures

LENGTH = exposure_fixtures.WINDOW.history
HOUR = 3_600_000
ALL_ROWS = exposure_fixtures.toy_rows()
ROWS = ALL_ROWS[:60]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A transform graph of exposures, and some of its exposures: that of the exported model, made once."""
    output = exposure_fixtures.build_transform_output(str(tmp_path_factory.mktemp("shown")), ALL_ROWS)
    return output, ROWS


@pytest.fixture(scope="module")
def following(shown, tmp_path_factory):
    """One of `next` windows with the histories of these exposures, whose item is the target."""
    return follow(str(tmp_path_factory.mktemp("following")), shown[1])


def follow(folder, rows):
    """A transform graph of `next` windows, none of whose targets is recent."""
    windows = [window(values) for values in rows]
    return fixtures.build_transform_output(folder, windows, LENGTH, behaviors=True, scenes=True)


def window(values):
    past = {name: values[name] for name in names.HISTORY}
    # What `next` calls a target; all items of the exposures are items of the histories, too.
    target = fixtures.window([], values[names.ITEM_ID], [], scenes=[])
    return {**target, **past, names.TARGET_TIMESTAMP: values[names.TIMESTAMP]}


def transform(output, serialized):
    parsed = tf.io.parse_example(serialized, output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)
    return {name: value.numpy() for name, value in found.items() if not isinstance(value, tf.SparseTensor)}


def both(shown, following, rows):
    """The features of one set of histories by either kind."""
    exposures = transform(shown[0], [exposure_fixtures.serialize(values) for values in rows])
    windows = transform(following, [fixtures.serialize(window(values)) for values in rows])
    return {"exposure": exposures, "next": windows}


def test_all_kinds_have_the_places_that_they_name(shown, following):
    by_kind = both(shown, following, shown[1])
    for kind, found in by_kind.items():
        places = kinds.window_kind(kind).per_place
        assert set(names.HISTORY_PLACES) <= set(places) <= set(found)
        # All of them, and nothing else, have the shape of a history.
        assert {name for name, value in found.items() if value.shape[1:] == (LENGTH,)} == set(places)
        for name in places:
            number = name.endswith(names.VALUE_SUFFIX)
            assert found[name].dtype == (np.float32 if number else np.int64), name


def test_one_history_has_the_same_features_in_each_kind(shown, following):
    rows = shown[1]
    by_kind = both(shown, following, rows)
    lengths = [len(values[names.HISTORY_ITEM_ID]) for values in rows]
    assert min(lengths) == 0 and max(lengths) == LENGTH
    there = np.arange(LENGTH) >= LENGTH - np.array(lengths)[:, np.newaxis]
    for name in (names.HISTORY_HOUR_INDEX, names.HISTORY_WEEKDAY_INDEX, names.HISTORY_LOG_GAP):
        np.testing.assert_array_equal(by_kind["next"][name], by_kind["exposure"][name], name)
    for found in by_kind.values():
        for name in names.HISTORY_PLACES[:-1]:
            # Padding is 0, and nothing else is; what is known begins at 2.
            np.testing.assert_array_equal(found[name] != names.PADDING_INDEX, there, name)
        for name in (names.HISTORY_HOUR_INDEX, names.HISTORY_WEEKDAY_INDEX):
            assert found[name][there].min() >= names.FIRST_INDEX


def test_what_is_missing_in_an_event_is_unknown(shown, following):
    """Not padding: the event is there."""
    time = 10 * 24 * HOUR
    first, last = (values[names.ITEM_ID] for values in shown[1][:2])
    row = {
        **shown[1][0],
        names.TIMESTAMP: time,
        names.HISTORY_ITEM_ID: [first, "", "never met", last],
        names.HISTORY_BEHAVIOR: ["", "buy", "odd", "view"],
        names.HISTORY_SCENE: ["home", "home", "", "odd"],
        # Midnight of 1970-01-01, a Thursday, and the noon of a Saturday; the last event has none.
        names.HISTORY_TIMESTAMP: [0, HOUR, 60 * HOUR],
    }
    for kind, found in both(shown, following, [row]).items():
        at = {name: found[name][0].tolist() for name in names.HISTORY_PLACES}
        item, behavior, scene = (at[name] for name in names.HISTORY_PLACES[:3])
        assert item[:3] == behavior[:3] == scene[:3] == [names.PADDING_INDEX] * 3, kind
        assert [index == names.OOV_INDEX for index in item[3:]] == [False, True, False]
        assert [index == names.OOV_INDEX for index in behavior[3:]] == [True, True, False]
        assert [index == names.OOV_INDEX for index in scene[3:]] == [False, True, True]
        assert at[names.HISTORY_HOUR_INDEX] == [0, 0, 0, 2 + 0, 2 + 12, names.OOV_INDEX]
        assert at[names.HISTORY_WEEKDAY_INDEX] == [0, 0, 0, 2 + 3, 2 + 5, names.OOV_INDEX]
        gaps = np.float32([0, 0, 0, 0, np.log1p(60 * 3600), 0])
        np.testing.assert_allclose(found[names.HISTORY_LOG_GAP][0], gaps, rtol=1e-6)


def test_events_are_put_in_the_order_of_their_times(shown, following):
    """A client may send them newest first, or unsorted; those of one time stay as they come, in training, too."""
    times = [5 * HOUR, 7 * HOUR, 7 * HOUR, 9 * HOUR, 30 * HOUR, 31 * HOUR, 40 * HOUR, 55 * HOUR]
    items = [ROWS[n][names.ITEM_ID] for n in range(len(times))]
    behaviors = ["view", "buy", "view", "cart", "view", "view", "buy", "view"]
    sent = {
        "in order": range(8),
        "newest first": [7, 6, 5, 4, 3, 1, 2, 0],
        "unsorted": [4, 1, 7, 2, 0, 6, 3, 5],
    }
    rows = []
    for order in sent.values():
        row = {**ROWS[0], names.TIMESTAMP: 60 * HOUR, names.HISTORY_SCENE: ["home"] * 8}
        for name, values in (
            (names.HISTORY_ITEM_ID, items),
            (names.HISTORY_BEHAVIOR, behaviors),
            (names.HISTORY_TIMESTAMP, times),
        ):
            row[name] = [values[n] for n in order]
        rows.append(row)
    assert len(times) > LENGTH
    for kind, found in both(shown, following, rows).items():
        for name in names.HISTORY_PLACES:
            np.testing.assert_array_equal(
                found[name][1:], found[name][:1].repeat(2, axis=0), f"{kind} {name}"
            )
        assert (np.diff(found[names.HISTORY_LOG_GAP][0]) != 0).any()


def test_events_of_which_one_has_no_time_stay_as_they_are(shown, following):
    first, second = (
        {
            **ROWS[0],
            names.TIMESTAMP: 60 * HOUR,
            names.HISTORY_ITEM_ID: [ROWS[n][names.ITEM_ID] for n in order],
            names.HISTORY_TIMESTAMP: times,
        }
        for order, times in (((0, 1, 2), [9 * HOUR, 5 * HOUR]), ((0, 1, 2), []))
    )
    for found in both(shown, following, [first, second]).values():
        assert found[names.HISTORY_ITEM_INDEX][0].tolist() == found[names.HISTORY_ITEM_INDEX][1].tolist()
