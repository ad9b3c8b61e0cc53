"""Losses against formulas in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors
from trainer.losses import negatives as negatives_lib
from trainer.losses import ranking as losses
from trainer.models import scoring

SIZE, DIM, TARGETS = 9, 4, 6


class Model(scoring.DotProduct):
    """A table of vectors with a generator that gives set draws."""

    def __init__(self, drawn=None, size=SIZE):
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=(size, DIM)).astype(np.float32)
        self.catalogue = type("Catalogue", (), {"size": size})
        self.generator = tf.random.Generator.from_seed(1) if drawn is None else self
        self._drawn = drawn

    def uniform(self, shape, maxval, dtype):
        assert maxval == self.catalogue.size - 1
        return tf.constant(self._drawn, dtype)

    def item_vectors(self, rows):
        return tf.gather(self.table, rows)

    def item_table(self):
        return self.table


@pytest.fixture
def case():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(TARGETS, DIM)).astype(np.float32)
    labels = rng.integers(0, SIZE, TARGETS)
    raw = rng.integers(0, SIZE - 1, [TARGETS, 3])
    negatives = np.array([[v + (v >= label) for v in row] for row, label in zip(raw, labels)])
    return Model(raw), states, labels, negatives


def logits(model, states, labels, negatives):
    table = model.table.astype(np.float64)
    positive = np.array([s @ table[label] for s, label in zip(states, labels)])
    negative = np.array([[s @ table[n] for n in row] for s, row in zip(states, negatives)])
    return positive, negative


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def test_softmax(case):
    model, states, labels, _ = case
    found = losses.Softmax()(model, tf.constant(states), tf.constant(labels))
    scores = states.astype(np.float64) @ model.table.T
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(TARGETS), labels]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 200.0])
def test_gradients_of_softmax_are_those_of_its_formula(case, shift):
    """Against p_n - [n = label] in float64, with weighted losses and logits beyond exp's range."""
    model, states, labels, _ = case
    states = states + np.float32(shift)
    weights = np.linspace(-1, 2, TARGETS)
    x, table = tf.constant(states), tf.constant(model.table)
    with tf.GradientTape() as tape:
        tape.watch([x, table])
        values = scoring.softmax_losses(x, table, tf.constant(labels))
        total = tf.reduce_sum(values * weights.astype(np.float32))
    scores = states.astype(np.float64) @ model.table.T.astype(np.float64)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(TARGETS), labels] -= 1
    p *= weights[:, None]
    found = tape.gradient(total, [x, table])
    np.testing.assert_allclose(found[0], p @ model.table, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(found[1], p.T @ states, rtol=1e-3, atol=2e-5 * (1 + shift))


def test_gradients_of_softmax_in_float16_of_a_large_catalogue():
    """Whose rows, added up, are beyond it: with a large common part, as training gives them."""
    rng, size = np.random.default_rng(0), 100_000
    table = (rng.normal(0, 0.02, [size, 4]) + 1.0).astype(np.float16)
    states = np.array([[1, -1, 0.5, -0.5], [-2, 1, 0.5, 0.5]], np.float16)
    x, rows, labels = tf.constant(states), tf.constant(table), np.array([3, 7])
    with tf.GradientTape() as tape:
        tape.watch([x, rows])
        total = tf.reduce_sum(scoring.softmax_losses(x, rows, tf.constant(labels)))
    found = [gradient.numpy().astype(np.float64) for gradient in tape.gradient(total, [x, rows])]
    scores = states.astype(np.float64) @ table.T.astype(np.float64)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(2), labels] -= 1
    np.testing.assert_allclose(found[0], p @ table, atol=2e-3)
    np.testing.assert_allclose(found[1], p.T @ states, rtol=2e-3, atol=1e-6)


def test_bce(case):
    model, states, labels, negatives = case
    found = losses.BCE(3)(model, tf.constant(states), tf.constant(labels))
    positive, negative = (values - np.log(3) for values in logits(*case))
    np.testing.assert_allclose(found, -log_sigmoid(positive) - log_sigmoid(-negative).sum(1), rtol=1e-5)


@pytest.mark.parametrize("calibration", [0.0, 0.4, 1.0])
def test_gbce(case, calibration):
    """The paper's form, with the probability raised to beta."""
    model, states, labels, _ = case
    found = losses.GBCE(3, calibration)(model, tf.constant(states), tf.constant(labels))
    alpha = 3 / (SIZE - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    positive, negative = (values + np.log(beta / 3) for values in logits(*case))
    probability = 1 / (1 + np.exp(-positive))
    expected = -np.log(probability**beta) - np.log(1 - 1 / (1 + np.exp(-negative))).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gbce_does_not_count_a_shared_draw_that_is_the_target():
    sample = negatives_lib.Sample(
        tf.constant([0.5, -1.0]),
        tf.constant([[0.2, 3.0], [0.2, 3.0]]),
        used=tf.constant([[True, False], [True, True]]),
    )
    sampler = type("Drawn", (negatives_lib.Sampler,), {"draw": lambda *_: sample})()
    loss = losses.GBCE(2, 0.75, sampler)
    found = loss(Model(), tf.zeros([2, DIM]), tf.constant([0, 1]))
    beta = loss.beta(SIZE)
    prior = np.log(beta / 2)
    against = -log_sigmoid(-(0.2 + prior)) - np.array([0.0, log_sigmoid(-(3.0 + prior))])
    expected = -beta * log_sigmoid(np.array([0.5, -1.0]) + prior) + against
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("used", [None, [[True, False, True]] * TARGETS], ids=["all", "some"])
def test_losses_of_pairs(case, used):
    """GRU4Rec's, as they are written; what is not used has no share."""
    model, states, labels, negatives = case
    positive, negative = logits(*case)
    sample = negatives_lib.Sample(
        tf.constant(positive, tf.float32),
        tf.constant(negative, tf.float32),
        used=None if used is None else tf.constant(used),
    )
    sampler = type("Drawn", (negatives_lib.Sampler,), {"draw": lambda *_: sample})()
    there = np.ones_like(negative) if used is None else np.array(used, float)
    share = np.exp(negative) * there
    share /= share.sum(1, keepdims=True)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    bpr = -np.log((share * sigmoid(positive[:, None] - negative)).sum(1)) + 0.5 * (share * negative**2).sum(1)
    top1 = (share * (sigmoid(negative - positive[:, None]) + sigmoid(negative**2))).sum(1)
    given = model, tf.constant(states), tf.constant(labels)
    np.testing.assert_allclose(losses.BPRMax(3, sampler, 0.5)(*given), bpr, rtol=1e-5)
    np.testing.assert_allclose(losses.TOP1Max(3, sampler)(*given), top1, rtol=1e-5)


def test_losses_of_pairs_of_large_scores_are_finite(case):
    model, states, labels, _ = case
    for loss in (losses.BPRMax(3, regularization=0.0), losses.TOP1Max(3)):
        for sign in (-1e4, 1e4):
            x = tf.constant(states * np.float32(sign))
            with tf.GradientTape() as tape:
                tape.watch(x)
                found = loss(model, x, tf.constant(labels))
            assert np.isfinite(found).all() and np.isfinite(tape.gradient(found, x)).all()


@pytest.mark.parametrize("loss", [losses.BCE(1), losses.BCE(7), losses.GBCE(7, 0.75)])
def test_no_score_is_the_best_where_all_have_the_same(loss):
    """So that training does not begin with bringing all scores down."""
    model = Model()
    model.table = np.eye(1, DIM, dtype=np.float32).repeat(SIZE, axis=0)
    labels = tf.zeros([1], tf.int64)
    at = {
        c: float(loss(model, tf.constant(np.eye(1, DIM) * c, tf.float32), labels)[0])
        for c in (-0.1, 0.0, 0.1)
    }
    assert at[0.0] < min(at[-0.1], at[0.1])


def test_gbce_ends():
    assert losses.GBCE(3, 0.0).beta(SIZE) == pytest.approx(1.0)
    assert losses.GBCE(3, 1.0).beta(SIZE) == pytest.approx(3 / (SIZE - 1))


def test_sampled_softmax_with_all_items_is_the_whole(case):
    """With each other item drawn once, the sampled loss is the full one."""
    _, states, labels, _ = case
    model = Model(np.tile(np.arange(SIZE - 1), [TARGETS, 1]))
    found = losses.SampledSoftmax(SIZE - 1)(model, tf.constant(states), tf.constant(labels))
    full = losses.Softmax()(model, tf.constant(states), tf.constant(labels))
    np.testing.assert_allclose(found, full, rtol=1e-5)


def test_sampled_partition_function_is_unbiased():
    """exp(loss + positive) estimates the partition function of the whole catalogue."""
    model = Model(size=50)
    states = np.tile(np.random.default_rng(2).normal(size=(1, DIM)), [4000, 1]).astype(np.float32)
    labels = np.zeros(4000, np.int64)
    loss = losses.SampledSoftmax(5)(model, tf.constant(states), tf.constant(labels)).numpy()
    scores = states[0].astype(np.float64) @ model.table.T
    assert np.exp(loss + scores[0]).mean() == pytest.approx(np.exp(scores).sum(), rel=0.03)


def test_negatives_are_uniform_and_never_the_target():
    model = Model(size=5)
    labels = np.repeat(np.arange(5), 2000)
    seen = []
    model.item_vectors = lambda rows: (seen.append(rows), tf.zeros([*rows.shape, DIM]))[1]
    losses.BCE(2)(model, tf.zeros([10_000, DIM]), tf.constant(labels))
    drawn = next(rows.numpy() for rows in seen if len(rows.shape) == 2)
    assert not (drawn == labels[:, None]).any()
    for label in range(5):
        counts = np.bincount(drawn[labels == label].ravel(), minlength=5)
        assert np.all(np.abs(np.delete(counts, label) - 1000) < 150)


def test_one_item_has_no_negatives():
    with pytest.raises(errors.InputError, match="at least two items that training has as targets, found 1"):
        losses.BCE(1)(Model(size=1), tf.zeros([1, DIM]), tf.zeros([1], tf.int64))
