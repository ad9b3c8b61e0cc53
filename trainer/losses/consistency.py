"""How unlike two views of the same are (SimSiam: Chen and He, CVPR 2021, eq. 2)."""

from collections.abc import Callable

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.losses import contrast

Predictor = Callable[[tf.Tensor], tf.Tensor]


def unlike(predictor: Predictor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """1 less the mean of both cosines, so that it is not negative: vectors `[B, D]` twice to `[B]` float32."""
    return 1.0 - (cosine(predictor(one), other) + cosine(predictor(other), one)) / 2.0


def cosine(vectors: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Of vectors `[B, D]` with others, which get no gradient: `[B]` float32."""
    return tf.reduce_sum(contrast.unit(vectors) * contrast.unit(tf.stop_gradient(others)), axis=1)
