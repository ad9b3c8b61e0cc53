"""What a model that ranks scenes answers of them, against NumPy."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from components.transform import vocabulary
from schemas import names, ranks
from serving import signatures
from serving.objectives import ranking
from tests import fixtures, period_fixtures
from tests.period_fixtures import LENGTH

WINDOWS = period_fixtures.random_windows()
ASKED = [*WINDOWS[:8], period_fixtures.window(["i1", "i2"], ["i3"], 0, 0, ("nowhere", "nowhere"))]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return period_fixtures.analysed(str(tmp_path_factory.mktemp("transform")), WINDOWS)


@pytest.fixture(scope="module")
def known(output):
    return vocabulary.Vocabulary.load(output)


@pytest.fixture(scope="module", params=[False, True], ids=["seen may come again", "seen are left out"])
def served(output, known, request):
    return signatures.ServingModule(
        period_fixtures.Model(known.size, len(known.scenes)), output, exclude_seen=request.param
    )


@pytest.fixture(scope="module")
def examples():
    return tf.constant([period_fixtures.serialize(window) for window in ASKED])


def scores_of(served, output, examples):
    features = output.transform_features_layer()(tf.io.parse_example(examples, output.raw_feature_spec()))
    return served.model.scenes.scores(served.model.scene_query(features)).numpy()


def place(known, scene):
    scenes = [value.decode() for value in known.scenes]
    return scenes.index(scene) if scene in scenes else -1


def test_the_target_s_scene_has_the_rank_that_counting_gives(served, output, known, examples):
    found = served.evaluate(examples)
    size = len(known.scenes)
    for row, (window, scores) in enumerate(zip(ASKED, scores_of(served, output, examples))):
        target = place(known, window[names.TARGET_SCENE])
        # Ties count against the model.
        expected = (scores >= scores[target]).sum() if target >= 0 else ranks.miss(size)
        assert found[names.of_scene(names.RANK)][row] == expected
        by_count = target + 1 if target >= 0 else ranks.miss(size)
        assert found[names.of_scene(names.POPULARITY_RANK)][row] == by_count
        assert found[names.of_scene(names.CATALOGUE_SIZE)][row] == size


def test_the_recent_floor_is_of_recent_targets(served, known, examples):
    counts = collections.Counter()
    for window in WINDOWS:
        both = [*window[names.HISTORY_SCENE], *window[names.FUTURE_SCENE]]
        counts.update(both[len(both) - window[names.RECENT_TARGETS] :])
    scenes = [value.decode() for value in known.scenes]
    listed = sorted(scenes, key=lambda scene: (-counts[scene], scenes.index(scene)))
    found = served.evaluate(examples)[names.of_scene(names.RECENT_POPULARITY_RANK)].numpy()
    assert found[:-1].tolist() == [listed.index(window[names.TARGET_SCENE]) + 1 for window in ASKED[:-1]]


def test_the_user_s_own_scenes_are_a_floor_where_items_are(served, known, examples):
    found = served.evaluate(examples)
    name = names.of_scene(names.OWN_RECENT_RANK)
    assert (name in found) == (names.OWN_RECENT_RANK in found)
    if name in found:
        last = [window[names.HISTORY_SCENE][-1] == window[names.TARGET_SCENE] for window in ASKED[:-1]]
        assert ((found[name].numpy()[:-1] == 1) == last).all()


def test_the_best_scenes_of_each_history(served, output, known, examples):
    assert "recommend_scenes" in ranking.make_requests({"recommend_scenes": None}, list(examples.numpy()))
    inputs = {
        name: tf.constant([(window[name] + [blank] * LENGTH)[:LENGTH] for window in ASKED])
        for name, blank in (
            (names.HISTORY_ITEM_ID, ""),
            (names.HISTORY_SCENE, ""),
            (names.HISTORY_TIMESTAMP, 0),
        )
    }
    inputs[names.HISTORY_TIMESTAMP] = tf.cast(inputs[names.HISTORY_TIMESTAMP], tf.int64)
    inputs[names.MOMENT] = tf.constant([window[names.MOMENT] for window in ASKED], tf.int64)
    k = [3, 1, 0, 99, 2, 2, 2, 2, 2]
    found = served.signatures()["recommend_scenes"](**inputs, k=tf.constant(k, tf.int32))
    scores, size = scores_of(served, output, examples), len(known.scenes)
    for row, number in enumerate(k):
        best = np.argsort(-scores[row], kind="stable")[: min(number, size)]
        listed = [scene.decode() for scene in found[names.SCENE][row].numpy()]
        assert listed == [known.scenes[one].decode() for one in best] + [""] * (size - len(best))
        np.testing.assert_array_equal(found["score"][row][: len(best)], scores[row][best])


def test_a_model_of_items_alone_has_no_such_answers(output, known, examples):
    plain = signatures.ServingModule(fixtures.ToyModel(known.size), output, exclude_seen=True)
    assert "recommend_scenes" not in plain.warm_up()
    assert not [name for name in plain.evaluate(examples) if name.startswith("scene_")]


def test_a_scene_that_comes_twice_is_told():
    outputs = {names.SCENE: np.array([["home", "home"]], object), "score": np.zeros([1, 2], np.float32)}
    assert (
        ranking.check("recommend_scenes", {"k": np.array([2])}, outputs) == "row 0 recommends a scene twice"
    )
