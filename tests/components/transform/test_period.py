"""The transform graph of periods: counts of targets, and the indices of what follows."""

import collections
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen.windows.period import PeriodWindow
from components.transform import vocabulary
from components.transform.windows import period as preprocessing
from schemas import load, names
from tests import fixtures

LENGTH = 8
_INTS = (names.FUTURE_TIMESTAMP, names.MOMENT, names.NEW_TARGETS)


def window(items, future, new, recent=0, scenes=("home", "search")):
    """A period whose last `new` events are new targets, of which the last `recent` are recent."""
    made = fixtures.window(items, future[0], recent=recent, scenes=[scenes[n % 2] for n in range(len(items))])
    first = made[names.TARGET_TIMESTAMP]
    return {
        **made,
        names.TARGET_SCENE: scenes[0],
        names.FUTURE_ITEM_ID: list(future),
        names.FUTURE_SCENE: [scenes[n % 2] for n in range(len(future))],
        names.FUTURE_TIMESTAMP: [first + 1500 * n for n in range(len(future))],
        names.MOMENT: first - 500,
        names.NEW_TARGETS: new,
        names.SEEN_ITEM_ID: list(items),
    }


def serialize(values):
    example = tf.train.Example.FromString(
        fixtures.serialize({name: value for name, value in values.items() if name not in _INTS})
    )
    for name in _INTS:
        value = values[name]
        example.features.feature[name].int64_list.value.extend(value if isinstance(value, list) else [value])
    return example.SerializeToString()


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


def analysed(folder, windows):
    """The transform graph of periods with scenes, written to a folder."""
    settings = PeriodWindow(kind="period", past=86_400.0, future=3600.0, length=LENGTH)
    config = {"window": settings.to_json()}
    fixtures.transform_once(
        folder,
        windows,
        load.period_window_schema(False, True),
        lambda inputs: preprocessing.preprocessing_fn(inputs, config),
        made_of=("period", windows, config),
    )
    return tft.TFTransformOutput(os.path.join(folder, "transform"))


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


def test_a_history_alone_is_answered(output):
    spec = {name: output.raw_feature_spec()[name] for name in names.HISTORY if name != names.HISTORY_BEHAVIOR}
    example = serialize(window(["i1", "i2"], ["i3"], 0))
    found = output.transform_features_layer()(tf.io.parse_example([example], spec))
    assert (found[names.HISTORY_ITEM_INDEX].numpy() >= names.FIRST_INDEX).sum() == 2
    assert not {names.FUTURE_ITEM_INDEX, names.FUTURE_SECONDS} & set(found)
