"""Ranks against counting by hand."""

import numpy as np
import pytest
import tensorflow as tf

from serving import ranking


def by_hand(scores, target, excluded):
    """One row, item after item."""
    if target < 0:
        return len(scores) + 1
    rank = 1
    for item, score in enumerate(scores):
        if item == target or item in excluded:
            continue
        rank += not score < scores[target]
    return rank


@pytest.mark.parametrize("seed", range(3))
def test_rank_equals_counting(seed):
    rng = np.random.default_rng(seed)
    # Few distinct values: there are ties everywhere.
    scores = rng.integers(0, 5, [40, 12]).astype(np.float32)
    target = rng.integers(-1, 12, 40)
    excluded = rng.integers(-1, 12, [40, 4])
    found = ranking.rank_of_target(tf.constant(scores), tf.constant(target), tf.constant(excluded))
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [by_hand(*row) for row in zip(scores, target, excluded)])
    found = ranking.rank_of_target(tf.constant(scores), tf.constant(target))
    np.testing.assert_array_equal(found, [by_hand(*row, ()) for row in zip(scores, target)])


def test_a_constant_or_broken_model_ranks_last():
    target = tf.constant([0, 4], tf.int64)
    np.testing.assert_array_equal(ranking.rank_of_target(tf.zeros([2, 5]), target), [5, 5])
    broken = tf.constant([[np.nan, 1, 2, 3, 4], [9, np.nan, np.nan, 0, 1]], tf.float32)
    np.testing.assert_array_equal(ranking.rank_of_target(broken, target), [5, 4])


def test_popularity_rank_is_the_place_in_the_catalogue():
    target = tf.constant([0, 3, -1, 3], tf.int64)
    np.testing.assert_array_equal(ranking.popularity_rank(6, target), [1, 4, 7, 4])
    excluded = tf.constant([[1, 2], [0, 5], [0, 1], [3, -1]], tf.int64)
    np.testing.assert_array_equal(ranking.popularity_rank(6, target, excluded), [1, 3, 7, 4])
    scores = tf.tile(-tf.range(6, dtype=tf.float32)[tf.newaxis], [4, 1])
    np.testing.assert_array_equal(
        ranking.popularity_rank(6, target, excluded), ranking.rank_of_target(scores, target, excluded)
    )


def test_candidates_are_what_is_ranked():
    target = tf.constant([0, 3, -1, 3], tf.int64)
    np.testing.assert_array_equal(ranking.candidates(6, target), [6, 6, 6, 6])
    # The target itself and unknown items are not left out.
    excluded = tf.constant([[1, 2], [0, -2], [0, 1], [3, -1]], tf.int64)
    found = ranking.candidates(6, target, excluded)
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [4, 5, 4, 6])
    # So the last place of a known target is that of a model that knows nothing.
    last = ranking.rank_of_target(tf.zeros([4, 6]), target, excluded)
    np.testing.assert_array_equal(found.numpy()[[0, 1, 3]], last.numpy()[[0, 1, 3]])


def test_leave_out_ignores_negative_rows():
    found = ranking.leave_out(tf.zeros([1, 3]), tf.constant([[-1, 2, 2]], tf.int64)).numpy()
    np.testing.assert_array_equal(found, [[0, 0, -np.inf]])
