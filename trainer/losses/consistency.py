"""How unlike two views of the same are (SimSiam: Chen and He, CVPR 2021, eq. 2)."""

from collections.abc import Callable

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

Predictor = Callable[[tf.Tensor], tf.Tensor]


def unlike(predictor: Predictor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """1 less the mean of both cosines, so that it is not negative: vectors `[B, D]` twice to `[B]` float32."""
    return 1.0 - (cosine(predictor(one), other) + cosine(predictor(other), one)) / 2.0


def cosine(vectors: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Of vectors `[B, D]` with others, which get no gradient: `[B]` float32."""
    sides = vectors, tf.stop_gradient(others)
    unit = [tf.math.l2_normalize(tf.cast(side, tf.float32), axis=1, epsilon=1e-12) for side in sides]
    return tf.reduce_sum(unit[0] * unit[1], axis=1)
