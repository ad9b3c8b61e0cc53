"""A model that scores by something else than a dot product, through the loss, the evaluation and the signatures."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import signatures
from tests import fixtures
from trainer.evaluation import ranking
from trainer.losses import ranking as losses
from trainer.models import scoring

SIZE = 20


class Distances(scoring.Scoring, tf.Module):
    """Scores an item by how near it is to the mean of the history, and by how it was met last.

    A query is two tensors, so that nothing can take it for a vector. `untrained` stands for a teacher.
    """

    def __init__(self, size=SIZE, dim=3):
        super().__init__()
        rng = np.random.default_rng(5)
        self.places = tf.Variable(rng.normal(size=[size, dim]).astype(np.float32), name="places")
        self.bias = tf.Variable(rng.normal(size=[size]).astype(np.float32), name="bias")
        self.untrained = tf.Variable(tf.ones([4]), name="teacher")
        self.catalogue = type("Catalogue", (), {"size": size})

    @property
    def serving_variables(self):
        return [self.places, self.bias]

    def encode(self, features, training=False):
        index = features[names.HISTORY_ITEM_INDEX]
        real = tf.cast(index != names.PADDING_INDEX, tf.float32)[..., tf.newaxis]
        rows = tf.maximum(index - names.FIRST_INDEX, 0)
        return tf.reduce_sum(tf.gather(self.places, rows) * real, axis=1) / tf.maximum(
            tf.reduce_sum(real, axis=1), 1.0
        )

    def query(self, features, training=False):
        last = tf.cast(features[names.HISTORY_ITEM_INDEX][:, -1:] % 7, tf.float32) / 7
        return self.encode(features), last

    def _score(self, query, places, bias):
        center, last = query
        away = tf.reduce_sum((center[:, tf.newaxis] - places) ** 2, axis=-1)
        return last * bias - tf.sqrt(away)

    def scores(self, query, first=0, count=None):
        places = self.places if count is None else tf.slice(self.places, [first, 0], [count, -1])
        bias = self.bias if count is None else tf.slice(self.bias, [first], [count])
        return self._score(query, places[tf.newaxis], bias[tf.newaxis])

    def pair_scores(self, query, rows):
        several = rows if rows.shape.rank == 2 else rows[:, tf.newaxis]
        found = self._score(query, tf.gather(self.places, several), tf.gather(self.bias, several))
        return found if rows.shape.rank == 2 else found[:, 0]


def features(rows=40, seed=1):
    rng = np.random.default_rng(seed)
    index = rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + SIZE, [rows, 5])
    return {
        names.HISTORY_ITEM_INDEX: tf.constant(index),
        names.TARGET_ITEM_INDEX: tf.constant(rng.integers(names.OOV_INDEX, names.FIRST_INDEX + SIZE, rows)),
        names.SEEN_ITEM_INDEX: tf.sparse.from_dense(index[:, :2]),
    }


def by_hand(model, values):
    """All scores in float64, `[B, N]`."""
    index = values[names.HISTORY_ITEM_INDEX].numpy() - names.FIRST_INDEX
    places, bias = model.places.numpy().astype(np.float64), model.bias.numpy().astype(np.float64)
    away = places[index].mean(1)[:, np.newaxis] - places
    last = (values[names.HISTORY_ITEM_INDEX].numpy()[:, -1] % 7)[:, np.newaxis] / 7
    return last * bias - np.sqrt((away**2).sum(-1))


def test_losses_are_of_its_scores():
    model, values = Distances(), features()
    expected = by_hand(model, values)
    labels = np.arange(40) % SIZE
    likely = expected - np.log(np.exp(expected).sum(1, keepdims=True))
    found = losses.Softmax()(model, model.query(values), tf.constant(labels))
    np.testing.assert_allclose(found, -likely[np.arange(40), labels], rtol=1e-4)
    np.testing.assert_allclose(
        model.shared_scores(model.query(values), tf.constant([3, 7, 3])), expected[:, [3, 7, 3]], rtol=1e-4
    )


def test_the_gradient_of_an_item_that_comes_often_is_none_of_half_precision():
    rng = np.random.default_rng(1)
    states = rng.normal(size=[2000, 8]).astype(np.float32) + 1.0
    table = rng.normal(size=[30, 8]).astype(np.float32)
    labels = tf.constant(np.where(np.arange(2000) < 1500, 3, rng.integers(0, 30, 2000)))
    found = []
    for dtype in (tf.float32, tf.bfloat16):
        weights = tf.cast(table, dtype)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = tf.reduce_sum(scoring.softmax_losses(tf.cast(states, dtype), weights, labels))
        found.append(tf.cast(tape.gradient(loss, weights), tf.float32).numpy()[3])
    assert np.linalg.norm(found[1] - found[0]) < 0.03 * np.linalg.norm(found[0])


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_training_evaluates_what_it_scores(exclude_seen):
    model, values = Distances(), features()
    scores, target = by_hand(model, values), values[names.TARGET_ITEM_INDEX].numpy() - names.FIRST_INDEX
    ranks = np.full(40, SIZE + 1.0)
    for row in range(40):
        seen = values[names.HISTORY_ITEM_INDEX].numpy()[row, :2] - names.FIRST_INDEX if exclude_seen else []
        if target[row] >= 0 and target[row] not in seen:
            rivals = np.delete(scores[row], seen) if len(seen) else scores[row]
            ranks[row] = (rivals >= scores[row, target[row]]).sum()
    blocks = tf.data.Dataset.from_tensor_slices(values).batch(16)
    found = ranking.FullRanking(model, blocks, exclude_seen=exclude_seen, cutoff=5).evaluate()
    assert found["hr@5"] == pytest.approx((ranks <= 5).mean())
    assert found["ndcg@5"] == pytest.approx(np.where(ranks <= 5, 1 / np.log2(1 + ranks), 0).mean(), rel=1e-5)


def test_the_server_ranks_and_recommends_by_it_and_has_what_it_names_alone(tmp_path):
    output = fixtures.build_transform_output(str(tmp_path), fixtures.random_windows(60, SIZE))
    size = output.vocabulary_size_by_name(names.ITEM_VOCABULARY)
    ids = [item.decode() for item in output.vocabulary_by_name(names.ITEM_VOCABULARY)]
    model = Distances(size)
    module = signatures.ServingModule(model, output, exclude_seen=False)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.signatures())
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures
    history = tf.constant([[ids[3], ids[5]], [ids[0], ids[7]]])
    index = names.FIRST_INDEX + np.array([[3, 5], [0, 7]])
    scores = by_hand(model, {names.HISTORY_ITEM_INDEX: tf.constant(index)})
    times = tf.constant([[1, 2], [1, 2]], tf.int64)
    asked = {names.HISTORY_ITEM_ID: history, names.HISTORY_TIMESTAMP: times}
    asked = {name: value for name, value in asked.items() if name in module.history}
    found = served["rank"](**asked, candidates=tf.constant([ids[:4]] * 2))
    np.testing.assert_allclose(found["score"], scores[:, :4], rtol=1e-4)
    best = served["recommend"](**asked, exclude=tf.fill([2, 0], ""), k=tf.constant([3, 3]))
    for row in range(2):
        expected = [ids[item] for item in np.argsort(-scores[row])[:3]]
        assert [item.decode() for item in best["item_id"][row].numpy()] == expected
    kept = [
        shape for _, shape in tf.train.list_variables(str(tmp_path / "saved" / "variables" / "variables"))
    ]
    assert [size, 3] in kept and [size] in kept and [4] not in kept
