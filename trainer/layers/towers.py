"""What stands above shared features: a tower for each step, and its head."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import dropout

# A share of 0 or 1 has no finite logit; the head starts at that of one in a million.
_LEAST = 1e-6


class Tower(tf.keras.layers.Layer):
    """A perceptron: ReLU layers, dropout after each.

    Args:
      widths: of the layers; none is the identity.
      rate: of the dropout.
      generator: of the dropout.
    """

    def __init__(self, widths: Sequence[int], rate: float, generator: tf.random.Generator):
        super().__init__()
        self._layers = [tf.keras.layers.Dense(width, activation="relu") for width in widths]
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, X]` to `[B, Y]`, Y the last of the widths."""
        for layer in self._layers:
            inputs = self._dropout(layer(inputs), training=training)
        return inputs


class Head(tf.keras.layers.Layer):
    """The logit of a step; in float32 whatever the model computes in, since rare steps have large ones.

    Args:
      rate: share of the training exposures that are positive. The bias starts at its logit, so that
        rare steps need not be learnt to be rare first.
    """

    def __init__(self, rate: float):
        super().__init__(dtype="float32")
        self._logit = tf.keras.layers.Dense(
            1, dtype="float32", bias_initializer=tf.keras.initializers.Constant(logit(rate))
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, X]` to `[B]` float32."""
        return self._logit(tf.cast(inputs, tf.float32))[:, 0]

    def assign(self, weights: np.ndarray, bias: float) -> None:
        """Takes these weights, `[X]`, in place of its own, once it has been called."""
        self._logit.kernel.assign(np.asarray(weights, np.float32)[:, None])
        self._logit.bias.assign([bias])


def logit(rate: float) -> float:
    """log(rate / (1 - rate)); finite also at 0 and 1."""
    rate = min(max(rate, _LEAST), 1 - _LEAST)
    return math.log(rate) - math.log1p(-rate)
