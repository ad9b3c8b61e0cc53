"""Signatures: what is served equals what is computed offline, for any way to ask."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.transform import vocabulary
from schemas import names
from serving import signatures
from tests import fixtures
from tests.components.transform import test_history


@pytest.fixture(scope="module")
def served(toy):
    return tf.saved_model.load(str(toy / "model"))


@pytest.fixture(scope="module")
def output(toy):
    return tft.TFTransformOutput(str(toy / "transform"))


@pytest.fixture(scope="module")
def items(output):
    return vocabulary.Vocabulary.load(output).items


WINDOWS = fixtures.random_windows(12, 20, seed=5, behaviors=True) + [
    fixtures.window(["i1"], "unknown target", ["view"], seen=["i1"]),
    fixtures.window(["unknown", "i2"], "i3", ["view", "odd"], seen=["unknown", "i2", "i4", "i5"]),
]
SERIALIZED = tf.constant([fixtures.serialize(w) for w in WINDOWS])


@pytest.fixture(scope="module")
def offline(output):
    """Scores by the transform graph and the model, outside of any export."""
    parsed = tf.io.parse_example(SERIALIZED, output.raw_feature_spec())
    features = output.transform_features_layer()(parsed)
    model = fixtures.ToyModel(output.vocabulary_size_by_name(names.ITEM_VOCABULARY))
    return model.scores(model.encode(features)).numpy()


def histories(windows=WINDOWS, left=0, right=0):
    """Raw tensors padded at the right, with more padding on either side where asked."""
    longest = max(len(w[names.HISTORY_ITEM_ID]) for w in windows)
    result = {}
    for name, blank in (
        (names.HISTORY_ITEM_ID, ""),
        (names.HISTORY_BEHAVIOR, ""),
        (names.HISTORY_TIMESTAMP, 0),
    ):
        rows = [[blank] * left + w[name] + [blank] * (longest - len(w[name]) + right) for w in windows]
        result[name] = tf.constant(rows, tf.int64 if name == names.HISTORY_TIMESTAMP else tf.string)
    return result


def recommend(served, k=5, exclude=None, **inputs):
    rows = len(inputs[names.HISTORY_ITEM_ID])
    exclude = tf.fill([rows, 0], "") if exclude is None else tf.constant(exclude)
    return served.signatures["recommend"](**inputs, exclude=exclude, k=tf.fill([rows], k))


def expected(offline, items, row, excluded, k):
    left = [(score, item) for score, item in zip(offline[row], items) if item.decode() not in excluded]
    return [item for _, item in sorted(left, key=lambda pair: -pair[0])][:k]


def test_recommend_equals_offline_scores(served, offline, items):
    found = recommend(served, **histories())
    for row, window in enumerate(WINDOWS):
        assert found[names.ITEM_ID][row].numpy().tolist() == expected(
            offline, items, row, window[names.HISTORY_ITEM_ID], 5
        )
    best = sorted(
        (s for s, i in zip(offline[0], items) if i.decode() not in WINDOWS[0][names.HISTORY_ITEM_ID]),
        reverse=True,
    )
    np.testing.assert_allclose(found["score"][0], best[:5], rtol=1e-5)


def test_padding_may_stand_anywhere(served):
    plain = recommend(served, **histories())
    for sides in ({"left": 3}, {"right": 4}, {"left": 2, "right": 1}):
        other = recommend(served, **histories(**sides))
        np.testing.assert_array_equal(other[names.ITEM_ID], plain[names.ITEM_ID])
    single = recommend(served, **histories(WINDOWS[3:4]))
    np.testing.assert_array_equal(single[names.ITEM_ID][0], plain[names.ITEM_ID][3])
    holes = histories(WINDOWS[:1])
    length = holes[names.HISTORY_ITEM_ID].shape[1]
    spread = {
        name: tf.reshape(tf.stack([value, tf.zeros_like(value)], axis=2), [1, 2 * length])
        for name, value in holes.items()
    }
    np.testing.assert_array_equal(recommend(served, **spread)[names.ITEM_ID][0], plain[names.ITEM_ID][0])


def test_serving_default_equals_recommend(served):
    found = served.signatures["serving_default"](examples=SERIALIZED)
    asked = recommend(served, k=10, **histories())
    np.testing.assert_array_equal(found[names.ITEM_ID], asked[names.ITEM_ID])
    np.testing.assert_allclose(found["score"], asked["score"], rtol=1e-6)


def test_a_request_needs_no_target(served):
    """A client has a history only: neither targets nor slices are in its example."""
    bare = [
        {name: w[name] for name in (names.HISTORY_ITEM_ID, names.HISTORY_BEHAVIOR, names.HISTORY_TIMESTAMP)}
        for w in WINDOWS
    ]
    serialized = tf.constant([fixtures.serialize(w) for w in bare])
    for signature in ("serving_default", "transform_features"):
        full, partial = (served.signatures[signature](examples=e) for e in (SERIALIZED, serialized))
        for name in full:
            np.testing.assert_array_equal(full[name], partial[name])


def test_exclusion_and_size(served, items):
    first = recommend(served, k=3, **histories(WINDOWS[:1]))[names.ITEM_ID][0].numpy().tolist()
    second = recommend(served, k=3, exclude=[[first[0].decode(), ""]], **histories(WINDOWS[:1]))
    assert second[names.ITEM_ID][0].numpy().tolist()[:2] == first[1:]
    # More than there are: the catalogue, then empty ids at the lowest score.
    everything = recommend(served, k=1000, **histories(WINDOWS[:1]))
    ids = [i for i in everything[names.ITEM_ID][0].numpy() if i]
    assert everything[names.ITEM_ID].shape == (1, len(items))
    assert set(ids) == {i for i in items if i.decode() not in WINDOWS[0][names.HISTORY_ITEM_ID]}
    rest = everything["score"][0].numpy()[len(ids) :]
    assert len(rest) and (rest == np.finfo(np.float32).min).all()
    assert recommend(served, k=0, **histories(WINDOWS[:1]))[names.ITEM_ID].shape == (1, 0)


def test_each_history_has_its_own_k(served):
    """So that a server may put the requests of several clients together."""
    inputs = {**histories(WINDOWS[:2]), "exclude": tf.fill([2, 0], "")}
    both = served.signatures["recommend"](**inputs, k=tf.constant([2, 4]))
    whole = recommend(served, k=4, **histories(WINDOWS[:2]))
    assert both[names.ITEM_ID].shape == (2, 4)
    np.testing.assert_array_equal(both[names.ITEM_ID][1], whole[names.ITEM_ID][1])
    first = both[names.ITEM_ID][0].numpy().tolist()
    assert first == [*whole[names.ITEM_ID][0].numpy().tolist()[:2], b"", b""]


def test_examples_with_the_names_of_before_are_no_empty_histories(served):
    """They are refused, unless they have the names of now, too."""

    def example(*parts):
        made = tf.train.Example()
        for name in parts:
            made.features.feature[name].bytes_list.value.append(b"i1")
        return made.SerializeToString()

    old, both, new, empty = (
        example(*parts) for parts in (["item_id"], ["item_id", "history_item_id"], ["history_item_id"], [])
    )
    for name in ("serving_default", "transform_features"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="has item_id, .* and no history_item_id; "):
            served.signatures[name](examples=tf.constant([new, old]))
    found = served.signatures["serving_default"](examples=tf.constant([both, new, empty]))[
        names.ITEM_ID
    ].numpy()
    assert found[0].tolist() == found[1].tolist() != found[2].tolist() and b"i1" not in found[0]


def test_an_example_whose_events_lack_a_value_is_refused(served):
    """What follows would be taken for other events'."""
    made = tf.train.Example()
    made.features.feature["history_item_id"].bytes_list.value.extend([b"i1", b"i2"])
    made.features.feature["history_timestamp"].int64_list.value.append(5)
    for name in ("serving_default", "transform_features"):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="history_timestamp has more or fewer values"
        ):
            served.signatures[name](examples=tf.constant([made.SerializeToString()]))


def test_an_empty_history_is_answered(served):
    nothing = {
        names.HISTORY_ITEM_ID: tf.fill([2, 0], ""),
        names.HISTORY_BEHAVIOR: tf.fill([2, 0], ""),
        names.HISTORY_TIMESTAMP: tf.zeros([2, 0], tf.int64),
    }
    found = recommend(served, k=4, **nothing)
    assert found[names.ITEM_ID].shape == (2, 4) and np.isfinite(found["score"]).all()


def test_evaluate_equals_offline_ranks(served, offline, items):
    found = served.signatures["evaluate"](examples=SERIALIZED)
    known = [item.decode() for item in items]
    for row, window in enumerate(WINDOWS):
        target = window[names.TARGET_ITEM_ID]
        left_out = set(window[names.SEEN_ITEM_ID]) & set(known)
        assert found[names.CANDIDATES][row] == len(known) - len(left_out)
        if target not in known or target in left_out:
            assert found[names.RANK][row] == found[names.POPULARITY_RANK][row] == len(known) + 1
            continue
        place = known.index(target)
        rivals = [
            n for n, item in enumerate(known) if item != target and item not in window[names.SEEN_ITEM_ID]
        ]
        assert found[names.RANK][row] == 1 + sum(offline[row][n] >= offline[row][place] for n in rivals)
        assert found[names.POPULARITY_RANK][row] == 1 + sum(n < place for n in rivals)
    assert found["catalogue_size"].numpy().tolist() == [len(known)] * len(WINDOWS)
    # What the model never recommends has a reason, and the user's own items are among it: they are no floor.
    reasons = [
        names.LEFT_OUT
        if window[names.TARGET_ITEM_ID] in window[names.SEEN_ITEM_ID]
        else names.REACHABLE
        if window[names.TARGET_ITEM_ID] in known
        else names.NOT_IN_CATALOGUE
        for window in WINDOWS
    ]
    assert set(reasons) == {0, 1, 2} and found[names.UNREACHABLE].numpy().tolist() == reasons
    assert not {names.OWN_FREQUENT_RANK, names.OWN_RECENT_RANK} & set(found)


def test_own_items_are_floors_where_they_may_be_recommended(output, items):
    model = fixtures.ToyModel(output.vocabulary_size_by_name(names.ITEM_VOCABULARY))
    module = signatures.ServingModule(model, output, exclude_seen=False)
    found = module.evaluate(SERIALIZED)
    ids = [item.decode() for item in items]
    for row, window in enumerate(WINDOWS):
        history = [ids.index(item) for item in window[names.HISTORY_ITEM_ID] if item in ids]
        latest = list(dict.fromkeys(reversed(history)))
        often = sorted(latest, key=lambda item: -history.count(item))
        target = window[names.TARGET_ITEM_ID]
        for key, own in ((names.OWN_FREQUENT_RANK, often), (names.OWN_RECENT_RANK, latest)):
            whole = own + [item for item in range(len(ids)) if item not in own]
            expected = 1 + whole.index(ids.index(target)) if target in ids else len(ids) + 1
            assert found[key][row] == expected
    assert set(found[names.UNREACHABLE].numpy().tolist()) == {names.REACHABLE, names.NOT_IN_CATALOGUE}


def test_what_users_have_not_met_is_ranked_apart_where_they_may_come_back(output, offline, items):
    """Each window once more, without its seen items but the target."""
    model = fixtures.ToyModel(output.vocabulary_size_by_name(names.ITEM_VOCABULARY))
    # As in a log: what is in the history has been seen.
    windows = [
        {**window, names.SEEN_ITEM_ID: list({*window[names.SEEN_ITEM_ID], *window[names.HISTORY_ITEM_ID]})}
        for window in WINDOWS
    ]
    examples = tf.constant([fixtures.serialize(window) for window in windows])
    found = signatures.ServingModule(model, output, exclude_seen=False).evaluate(examples)
    without = [
        {
            **window,
            names.SEEN_ITEM_ID: [i for i in window[names.SEEN_ITEM_ID] if i != window[names.TARGET_ITEM_ID]],
        }
        for window in windows
    ]
    examples = tf.constant([fixtures.serialize(window) for window in without])
    expected = signatures.ServingModule(model, output, exclude_seen=True).evaluate(examples)
    came_back = [window[names.TARGET_ITEM_ID] in window[names.SEEN_ITEM_ID] for window in windows]
    assert 1 < sum(came_back) < len(windows)
    for name in (names.RANK, names.POPULARITY_RANK, names.RECENT_POPULARITY_RANK, names.CANDIDATES):
        np.testing.assert_array_equal(found[names.of_unmet(name)], expected[name])
    assert (found[names.RANK] > found[names.of_unmet(names.RANK)]).numpy().any()
    for name in (names.OWN_FREQUENT_RANK, names.OWN_RECENT_RANK):
        popular = expected[names.POPULARITY_RANK].numpy()
        known = [
            window[names.TARGET_ITEM_ID] in window[names.HISTORY_ITEM_ID]
            and window[names.TARGET_ITEM_ID].encode() in items
            for window in windows
        ]
        np.testing.assert_array_equal(found[names.of_unmet(name)], np.where(known, 1, popular))
    # Where what was seen is never recommended, these are the ranks in any case.
    assert not any(name.startswith("unmet") for name in expected)


def listed(places, window, exclude_seen):
    """The rank of a window's target in a list of items."""
    seen = window[names.SEEN_ITEM_ID] if exclude_seen else ()
    left = [item for item in places if item not in seen]
    target = window[names.TARGET_ITEM_ID]
    return 1 + left.index(target) if target in left else len(places) + 1


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recent_popularity_goes_by_recent_targets_and_then_by_all(output, items, exclude_seen):
    counts = collections.Counter()
    for window in fixtures.random_windows(60, 20, behaviors=True):
        targets = [*window[names.HISTORY_ITEM_ID][1:], window[names.TARGET_ITEM_ID]]
        counts.update(targets[len(targets) - window[names.RECENT_TARGETS] :])
    ids = [item.decode() for item in items]
    places = sorted(ids, key=lambda item: -counts[item])
    # Some items have none, several have equally many, and it is another list than that of all targets.
    assert 0 < len(counts) < len(ids) and len(set(counts.values())) < len(counts) and places != ids
    model = fixtures.ToyModel(len(ids))
    module = signatures.ServingModule(model, output, exclude_seen)
    found = module.evaluate(SERIALIZED)[names.RECENT_POPULARITY_RANK].numpy().tolist()
    assert found == [listed(places, window, exclude_seen) for window in WINDOWS]
    assert len(set(found)) > 5


def test_recent_popularity_by_hand(tmp_path):
    """Ranks that can be counted on a finger: recent c c b, all b b b c c a, in which d has no place."""
    train = [
        fixtures.window(["x", "b", "b", "c"], "c", recent=2),
        fixtures.window(["x", "a"], "b", recent=1),
    ]
    output = fixtures.build_transform_output(str(tmp_path), train)
    module = signatures.ServingModule(fixtures.ToyModel(3), output, exclude_seen=True)
    asked = [("c", []), ("b", []), ("a", []), ("a", ["c"]), ("b", ["c", "x"]), ("c", ["c"]), ("d", [])]
    windows = [fixtures.window(["x"], target, seen=seen) for target, seen in asked]
    found = module.evaluate(tf.constant([fixtures.serialize(window) for window in windows]))
    assert found[names.RECENT_POPULARITY_RANK].numpy().tolist() == [1, 2, 3, 2, 1, 4, 4]
    assert found[names.POPULARITY_RANK].numpy().tolist() == [2, 1, 3, 2, 1, 4, 4]


def test_without_a_recent_target_recent_popularity_is_that_of_all(tmp_path):
    """As where each recent event is the first one of a new user."""
    output = test_history.follow(str(tmp_path), test_history.ROWS)
    ids = [item.decode() for item in output.vocabulary_by_name(names.ITEM_VOCABULARY)]
    # Transform writes a word that is no item where there is none.
    (only,) = output.vocabulary_by_name(names.RECENT_ITEMS_VOCABULARY)
    assert only.split(b" ", 1)[1].decode() not in ids
    module = signatures.ServingModule(fixtures.ToyModel(len(ids)), output, exclude_seen=False)
    windows = [fixtures.window(["i1"], target, ["view"], scenes=["home"]) for target in [*ids, "never met"]]
    found = module.evaluate(tf.constant([fixtures.serialize(window) for window in windows]))
    recent = found[names.RECENT_POPULARITY_RANK].numpy().tolist()
    assert recent == found[names.POPULARITY_RANK].numpy().tolist()
    assert sorted(recent) == list(range(1, len(ids) + 2))


def test_rank_and_embed(served, offline, items):
    known = [item.decode() for item in items]
    candidates = [known[4], "unknown", known[0], known[9]]
    found = served.signatures["rank"](**histories(), candidates=tf.constant([candidates] * len(WINDOWS)))
    for row in range(len(WINDOWS)):
        scores = [offline[row][4], np.finfo(np.float32).min, offline[row][0], offline[row][9]]
        np.testing.assert_allclose(found["score"][row], scores, rtol=1e-5)
        np.testing.assert_array_equal(
            found["rank"][row], 1 + np.argsort(np.argsort(-np.array(scores), kind="stable"))
        )
    embedding = served.signatures["embed"](**histories())["embedding"]
    table = fixtures.ToyModel(len(known)).table.numpy()[names.FIRST_INDEX :]
    np.testing.assert_allclose(embedding.numpy() @ table.T, offline, rtol=1e-4, atol=1e-5)


def test_only_core_operations(toy):
    """What TensorFlow Serving has without any extension."""
    model = saved_model_pb2.SavedModel.FromString((toy / "model" / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    used = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    functions = {f.signature.name for f in graph.library.function}
    core = set(dir(tf.raw_ops))
    assert "StatefulPartitionedCall" in used
    assert not {op for op in used - functions if op not in core}


def test_every_signature_has_a_warm_up_that_is_answered(toy, served):
    path = toy / "model" / "assets.extra" / "tf_serving_warmup_requests"
    answered = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        name = request.model_spec.signature_name
        answered[name] = served.signatures[name](**inputs)
    assert set(answered) == set(served.signatures)
    assert answered["recommend"][names.ITEM_ID].shape == (1, 10)


def test_a_model_without_variables_is_not_exported(output):
    model = fixtures.ToyModel(20)
    del model.table
    with pytest.raises(ValueError, match="ToyModel has no variables yet: build it"):
        signatures.ServingModule(model, output, exclude_seen=True)
