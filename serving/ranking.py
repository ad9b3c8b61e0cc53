"""Ranks within the whole catalogue; shared by training, evaluation and serving."""

from typing import Optional

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


def leave_out(scores: tf.Tensor, rows: tf.Tensor, keep: Optional[tf.Tensor] = None) -> tf.Tensor:
    """Scores with some catalogue rows set to minus infinity.

    Args:
      scores: `[B, N]` float.
      rows: `[B, M]` int64 catalogue rows to leave out; negative ones say nothing.
      keep: `[B]` int64, a row to keep in any case; negative for none.

    Returns:
      `[B, N]`.
    """
    wanted = rows >= 0
    if keep is not None:
        wanted &= rows != keep[:, tf.newaxis]
    where = tf.where(wanted)
    indices = tf.stack([where[:, 0], tf.gather_nd(rows, where)], axis=1)
    lowest = tf.fill([tf.shape(indices)[0]], tf.constant(float("-inf"), scores.dtype))
    return tf.tensor_scatter_nd_update(scores, indices, lowest)


def rank_of_target(scores: tf.Tensor, target: tf.Tensor, excluded: Optional[tf.Tensor] = None) -> tf.Tensor:
    """The target's rank in the catalogue; 1 is best.

    Ties and scores that are not numbers count against the model, so a constant model ranks
    every target last. The target itself is never left out.

    Args:
      scores: `[B, N]` float, a score for every item.
      target: `[B]` int64 catalogue row, negative where the target is not in the catalogue:
        its rank is N + 1.
      excluded: `[B, M]` int64 rows to leave out of the ranking (negative: nothing).

    Returns:
      `[B]` int64.
    """
    size = tf.shape(scores, out_type=tf.int64)[1]
    known = target >= 0
    row = tf.maximum(target, 0)
    if excluded is not None:
        scores = leave_out(scores, excluded, keep=target)
    own = tf.gather(scores, row, axis=1, batch_dims=1)
    # `not <` rather than `>=`, so that a NaN on either side counts against the model.
    rank = tf.math.count_nonzero(tf.logical_not(scores < own[:, tf.newaxis]), axis=1)
    return tf.where(known, rank, size + 1)


def candidates(size: int, target: tf.Tensor, excluded: Optional[tf.Tensor] = None) -> tf.Tensor:
    """How many items are ranked for each target: the catalogue without what is left out.

    Args:
      size: N.
      target, excluded: as in `rank_of_target`; `excluded` without repeats.

    Returns:
      `[B]` int64; a target of the catalogue is counted.
    """
    count = tf.fill(tf.shape(target), tf.constant(size, tf.int64))
    if excluded is not None:
        left_out = (excluded >= 0) & (excluded != target[:, tf.newaxis])
        count -= tf.math.count_nonzero(left_out, axis=1)
    return count


def popularity_rank(size: int, target: tf.Tensor, excluded: Optional[tf.Tensor] = None) -> tf.Tensor:
    """The target's rank in a list of all items by training count, which is the catalogue's order.

    Args:
      size: N.
      target, excluded: as in `rank_of_target`; `excluded` without repeats.

    Returns:
      `[B]` int64.
    """
    before = target + 1
    if excluded is not None:
        ahead = (excluded >= 0) & (excluded < target[:, tf.newaxis])
        before -= tf.math.count_nonzero(ahead, axis=1)
    return tf.where(target >= 0, before, tf.constant(size + 1, tf.int64))
