"""Experts that see the same input, and gates that mix them."""

from collections.abc import Sequence

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import dropout


class Experts(tf.keras.layers.Layer):
    """Several perceptrons (ReLU, dropout after each layer) side by side, as one product a layer.

    Args:
      count: E, how many.
      inputs: X, the width of what they see.
      widths: of the layers of each.
      rate: of the dropout.
      generator: of the dropout.
    """

    def __init__(
        self, count: int, inputs: int, widths: Sequence[int], rate: float, generator: tf.random.Generator
    ):
        super().__init__()
        self._kernels, self._biases = [], []
        for level, (before, after) in enumerate(zip([inputs, *widths], widths)):
            # Glorot's, of each expert: Keras would take the experts for the places of a convolution.
            limit = (6.0 / (before + after)) ** 0.5
            uniform = tf.keras.initializers.RandomUniform(-limit, limit)
            self._kernels.append(
                self.add_weight(name=f"kernel_{level}", shape=[count, before, after], initializer=uniform)
            )
            self._biases.append(
                self.add_weight(name=f"bias_{level}", shape=[count, 1, after], initializer="zeros")
            )
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, X]` to `[B, E, Y]`, Y the last of the widths."""
        # They all see the same: their first layers are one product, whose gradient needs no sum over them.
        kernel = tf.cast(self._kernels[0], inputs.dtype)
        flat = tf.reshape(tf.transpose(kernel, [1, 0, 2]), [kernel.shape[1], -1])
        bias = tf.reshape(tf.cast(self._biases[0], inputs.dtype), [-1])
        hidden = self._dropout(tf.nn.relu(tf.matmul(inputs, flat) + bias), training=training)
        hidden = tf.reshape(hidden, [-1, kernel.shape[0], kernel.shape[2]])
        if len(self._kernels) == 1:
            return hidden
        hidden = tf.transpose(hidden, [1, 0, 2])
        for kernel, bias in zip(self._kernels[1:], self._biases[1:]):
            hidden = tf.nn.relu(
                tf.matmul(hidden, tf.cast(kernel, hidden.dtype)) + tf.cast(bias, hidden.dtype)
            )
            hidden = self._dropout(hidden, training=training)
        return tf.transpose(hidden, [1, 0, 2])


class Gate(tf.keras.layers.Layer):
    """Weights of experts: softmax(W x), as in MMoE (Ma et al., KDD 2018).

    Args:
      experts: E.
    """

    def __init__(self, experts: int):
        super().__init__()
        self._logits = tf.keras.layers.Dense(experts, use_bias=False)

    def shares(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, X]` to `[B, E]`, which sum to 1."""
        return tf.nn.softmax(self._logits(inputs))

    def call(self, inputs: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
        """The gate's input `[B, X]` and the experts' outputs `[B, E, Y]` to their mixture `[B, Y]`."""
        # A batch of products this small takes longer as such.
        return tf.reduce_sum(self.shares(inputs)[:, :, tf.newaxis] * experts, axis=1)
