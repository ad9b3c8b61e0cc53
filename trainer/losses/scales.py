"""Windows of several lengths, one drawn for each example (MSDP, Fu et al., CIKM 2023)."""

from collections.abc import Sequence

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names


def drawn(generator: tf.random.Generator, rows: tf.Tensor, scales: int, training: bool) -> tf.Tensor:
    """The place of a scale for each of so many examples, `[B]` int64: by chance, without `training` the last one."""
    if training:
        return generator.uniform([rows], maxval=scales, dtype=tf.int64)
    return tf.fill([rows], tf.constant(scales - 1, tf.int64))


def within(
    items: tf.Tensor, seconds: tf.Tensor, ends: Sequence[float], wanted: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which events follow within the window that was drawn.

    Where no known item follows within it, the smallest larger window that has some takes its place.

    Args:
      items: indices of the items that follow, `[B, M]`.
      seconds: from the moment to each, `[B, M]`.
      ends: how long the windows are, rising, S of them.
      wanted: the place of the one that was drawn, `[B]` int64.

    Returns:
      Which events are within it, `[B, M]` bool, and the place of the window, `[B]` int64.
    """
    # [B, M, S]: by which scale an event is within W.
    inside = seconds[:, :, tf.newaxis] <= tf.constant(ends, tf.float32)
    known = (items >= names.FIRST_INDEX)[:, :, tf.newaxis]
    some = tf.reduce_any(inside & known, axis=1)
    some &= tf.range(len(ends), dtype=tf.int64) >= wanted[:, tf.newaxis]
    chosen = tf.where(tf.reduce_any(some, axis=1), tf.argmax(tf.cast(some, tf.int32), axis=1), wanted)
    return tf.gather(inside, chosen, axis=2, batch_dims=1), chosen
