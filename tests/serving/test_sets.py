"""Ranks of sets of targets, against the ranks of each and against counting by hand."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import catalogue, ivf, sets
from tests.serving.test_catalogue import by_hand
from tests.serving.test_ivf import Table

SIZE, DIM = 3000, 4


@pytest.fixture(scope="module")
def drawn():
    """A model whose scores are small whole numbers, so that there are ties, and what is asked."""
    rng = np.random.default_rng(0)
    model = Table(rng.integers(-2, 3, [SIZE, DIM]).astype(np.float32))
    query = tf.constant(rng.integers(-2, 3, [5, DIM]).astype(np.float32))
    targets = tf.constant(rng.integers(-1, SIZE, [5, 6]))
    excluded = tf.concat([rng.integers(-1, SIZE, [5, 30]), targets[:, :1]], axis=1)
    return model, query, targets, excluded


@pytest.mark.parametrize("at_once", [catalogue.AT_ONCE, 1], ids=["whole", "chunks of 1,000"])
@pytest.mark.parametrize("excludes", [False, True])
def test_each_target_has_the_rank_that_counting_gives(drawn, excludes, at_once):
    model, query, targets, excluded = drawn
    given = excluded if excludes else None
    ask = tf.function(lambda: sets.full_ranks(model, query, SIZE, targets, given, at_once))
    found = ask().numpy()
    scores, left_out = model.scores(query).numpy(), excluded.numpy() if excludes else np.empty([5, 0])
    expected = [
        [by_hand(scores[row], target, set(left_out[row])) for target in targets[row].numpy()]
        for row in range(5)
    ]
    np.testing.assert_array_equal(found, expected)
    # One by one, as of next items.
    single = [catalogue.full_rank(model, query, SIZE, targets[:, place], given) for place in range(6)]
    np.testing.assert_array_equal(found, np.stack(single, axis=1))


def test_the_order_of_a_set_means_nothing(drawn):
    model, query, targets, excluded = drawn
    found = sets.full_ranks(model, query, SIZE, targets, excluded)
    turned = sets.full_ranks(model, query, SIZE, targets[:, ::-1], excluded)
    np.testing.assert_array_equal(found, turned[:, ::-1])


def test_below_of_numbers_that_are_none():
    nan, inf = np.nan, np.inf
    scores = tf.constant([[0.0, 1.0, nan, -inf, inf, 1.0]])
    own = tf.constant([[1.0, nan, -inf, inf, 0.5]])
    assert sets.below(scores, own).numpy().tolist() == [[2, 0, 0, 4, 2]]


@pytest.mark.parametrize("excludes", [False, True])
def test_floors_are_those_of_each_target(drawn, excludes):
    _, _, targets, excluded = drawn
    given = excluded if excludes else None
    found = sets.popularity_ranks(SIZE, targets, given)
    single = [catalogue.popularity_rank(SIZE, targets[:, place], given) for place in range(6)]
    np.testing.assert_array_equal(found, np.stack(single, axis=1))


def test_own_floors_are_those_of_each_target():
    rng = np.random.default_rng(3)
    history, targets = tf.constant(rng.integers(-2, 6, [7, 9])), tf.constant(rng.integers(-1, 8, [7, 4]))
    found = sets.own_ranks(8, targets, history)
    for place in range(4):
        for several, one in zip(found, catalogue.own_ranks(8, targets[:, place], history)):
            np.testing.assert_array_equal(several[:, place], one)


@pytest.mark.parametrize("excludes", [False, True])
def test_an_index_ranks_what_it_searches(drawn, excludes):
    model, query, targets, excluded = drawn
    index = ivf.Index(ivf.divide(model.table.numpy(), 30), 12)
    given = excluded if excludes else None
    found = index.ranks(model, query, SIZE, targets, given).numpy()
    for place in range(6):
        np.testing.assert_array_equal(
            found[:, place], index.rank(model, query, SIZE, targets[:, place], given)
        )
    everything = ivf.Index(ivf.divide(model.table.numpy(), 30), 1000)
    np.testing.assert_array_equal(
        everything.ranks(model, query, SIZE, targets, given),
        sets.full_ranks(model, query, SIZE, targets, given),
    )
    assert (found <= SIZE).any() and (found > SIZE).any()


def test_an_item_that_comes_again_counts_once():
    ids = tf.sparse.from_dense([["a", "b", "a", "new"], ["new", "newer", "new", ""], ["", "", "", ""]])
    index = names.FIRST_INDEX + tf.constant([0, 1, 0, -1, -1, -1, -1], tf.int64)
    rows, there = sets.distinct(ids, tf.SparseTensor(ids.indices, index, ids.dense_shape))
    assert there.numpy().tolist() == [
        [True, True, False, True],
        [True, True, False, False],
        [False, False, False, False],
    ]
    np.testing.assert_array_equal(tf.boolean_mask(rows, there), [0, 1, -1, -1, -1])


def test_a_batch_without_items_has_a_place_for_one():
    nothing = tf.sparse.from_dense(tf.constant([], tf.string, [2, 0]))
    index = tf.SparseTensor(nothing.indices, tf.constant([], tf.int64), nothing.dense_shape)
    rows, there = sets.distinct(nothing, index)
    assert rows.shape == there.shape == (2, 1) and not there.numpy().any()
