"""Losses over what follows in a period."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import sets
from trainer.models import ranking, scoring

SIZE, DIM = 7, 3
# The second repeats an item, the third has none, the last has all.
ROWS = np.array([[2, 5, -1, -1, -1, -1, -1], [4, 4, 1, -1, -1, -1, -1], [-1] * 7, [6, 5, 4, 3, 2, 1, 0]])


@dataclasses.dataclass
class _Size:
    size: int = SIZE


class _Scorer(scoring.DotProduct):
    def __init__(self, seed=0):
        self.catalogue, self.generator = _Size(), ranking.random_generator(seed)
        self.table = tf.constant(np.random.default_rng(0).normal(size=[SIZE, DIM]), tf.float32)

    def item_table(self):
        return self.table


QUERY = np.random.default_rng(1).normal(size=[len(ROWS), DIM]).astype(np.float32)


def scores():
    return QUERY.astype(np.float64) @ _Scorer().table.numpy().T.astype(np.float64)


def bce(row, followed):
    """N times eq. (6), of scores that are counted from the rate of one item."""
    chance = 1 / (1 + np.exp(-(row - np.log(SIZE))))
    label = np.isin(np.arange(SIZE), followed)
    return -np.sum(np.where(label, np.log(chance), np.log(1 - chance)))


def softmax(row, followed):
    likely = row - np.log(np.exp(row).sum())
    return -np.mean([likely[item] for item in followed if item >= 0])


@pytest.mark.parametrize("loss, expected", [(sets.PeriodBCE(), bce), (sets.PeriodSoftmax(), softmax)])
def test_value(loss, expected):
    found = loss(_Scorer(), tf.constant(QUERY), tf.constant(ROWS)).numpy()
    for number in (0, 1, 3):
        assert found[number] == pytest.approx(expected(scores()[number], ROWS[number]), rel=1e-5)
    assert np.isfinite(found).all()


def test_binary_cross_entropy_worked_by_hand():
    """Two items of score log 2 and 0 and the prior log(1/2): chances 1/2 and 1/3; the first one follows."""
    scorer = _Scorer()
    scorer.table, scorer.catalogue = tf.constant([[np.log(2.0)], [0.0]], tf.float32), _Size(2)
    found = sets.PeriodBCE()(scorer, tf.ones([1, 1]), tf.constant([[0, -1]], tf.int64))
    assert float(found[0]) == pytest.approx(np.log(2) + np.log(3 / 2), rel=1e-6)


@pytest.mark.parametrize("negatives", [None, 5])
@pytest.mark.parametrize("loss", [sets.PeriodBCE, sets.PeriodSoftmax])
def test_the_order_of_what_follows_changes_nothing(loss, negatives):
    swapped = ROWS[:, np.random.default_rng(2).permutation(ROWS.shape[1])]
    found, expected = (
        loss(negatives)(_Scorer(), tf.constant(QUERY), tf.constant(rows)).numpy() for rows in (swapped, ROWS)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_item_counts_once_in_binary_cross_entropy_and_as_often_as_it_comes_in_the_softmax():
    once = np.where(np.arange(7) == 1, -1, ROWS)
    query = tf.constant(QUERY)
    for loss, same in ((sets.PeriodBCE(), True), (sets.PeriodSoftmax(), False)):
        found, other = (loss(_Scorer(), query, tf.constant(rows))[1] for rows in (ROWS, once))
        assert (abs(float(found) - float(other)) < 1e-6) is same


@pytest.mark.parametrize("loss", [sets.PeriodBCE, sets.PeriodSoftmax])
def test_drawn_negatives_come_to_all_of_them(loss):
    """The mean over many draws: of the softmax, the sum that is estimated stands under a logarithm."""
    rows, query, scorer = tf.constant(ROWS[:2]), tf.constant(QUERY[:2]), _Scorer(3)
    draw = tf.function(lambda: loss(5)(scorer, query, rows), autograph=False)
    found = np.mean([draw() for _ in range(2000)], axis=0)
    many, whole = (loss(number)(scorer, query, rows) for number in (2000, None))
    np.testing.assert_allclose(many, whole, rtol=0.08)
    if loss is sets.PeriodBCE:
        np.testing.assert_allclose(found, whole, rtol=0.03)


@pytest.mark.parametrize("negatives", [None, 4])
@pytest.mark.parametrize("loss", [sets.PeriodBCE, sets.PeriodSoftmax])
def test_gradients_are_finite_also_where_nothing_or_all_follows(loss, negatives):
    query = tf.constant(QUERY)
    with tf.GradientTape() as tape:
        tape.watch(query)
        value = loss(negatives)(_Scorer(), query, tf.constant(ROWS))
    assert np.isfinite(tape.gradient(value, query)).all()


def test_first_of_each():
    rows = tf.constant([[3, 3, -1, 0, 3, 0], [-1, -1, 2, 1, 2, -1]])
    assert sets.first_of_each(rows).numpy().tolist() == [
        [True, False, False, True, False, False],
        [False, False, True, True, False, False],
    ]
