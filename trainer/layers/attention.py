"""Multi-head self-attention over left-padded sequences."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import dropout

# Finite, since a query of padding has no key at all; in float32 its exponential is exactly 0.
_MASKED = -1e9


def causal(present: tf.Tensor) -> tf.Tensor:
    """Which places each place sees: real ones up to itself. `[B, L]` bool, False for padding, to `[B, L, L]`."""
    position = tf.range(tf.shape(present)[1])
    earlier = position[:, tf.newaxis] >= position[tf.newaxis, :]
    return earlier[tf.newaxis] & present[:, tf.newaxis, :]


def causal_bias(present: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """What to add to attention logits so that a position sees only real ones up to itself.

    Args:
      present: `[B, L]` bool, False for padding.

    Returns:
      `[B, 1, L, L]`.
    """
    return _bias(causal(present)[:, tf.newaxis], dtype)


def key_bias(present: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """What to add to attention logits so that a position sees all real ones, also later ones.

    Args:
      present: `[B, L]` bool, False for padding.

    Returns:
      `[B, 1, 1, L]`.
    """
    return _bias(present[:, tf.newaxis, tf.newaxis, :], dtype)


def _bias(seen: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    # Half of float16's range: with all of it, negative logits beside it would be infinite, and a query of padding,
    # whose keys are all masked, not a number.
    masked = tf.constant(_MASKED if dtype != tf.float16 else dtype.min / 2, dtype)
    return tf.where(seen, tf.zeros([], dtype), masked)


class SelfAttention(tf.keras.layers.Layer):
    """Scaled dot-product attention (Vaswani et al. 2017) with one projection for Q, K and V.

    Args:
      dim: D, a multiple of `heads`.
      heads: H.
      rate: dropout on the attention weights.
      generator: of the dropout.
    """

    def __init__(self, dim: int, heads: int, rate: float, generator: tf.random.Generator):
        super().__init__()
        self._heads, self._width = heads, dim // heads
        self._project = tf.keras.layers.Dense(3 * dim, name="qkv")
        self._output = tf.keras.layers.Dense(dim, name="output")
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, L, D]` and a bias `[B, 1, L or 1, L]` to `[B, L, D]`."""
        batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
        weights, value = self._weighted(inputs, bias)
        mixed = tf.matmul(self._dropout(weights, training=training), value)
        mixed = tf.transpose(mixed, [0, 2, 1, 3])
        return self._output(tf.reshape(mixed, [batch, length, self._heads * self._width]))

    def weights_of(self, inputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """How much each place attends to each other one, `[B, H, L, L]`: rows add up to 1. See `call`."""
        return self._weighted(inputs, bias)[0]

    def _weighted(self, inputs: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The weights `[B, H, L, L]`, and what they weigh, `[B, H, L, D / H]`."""
        batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
        heads = tf.reshape(self._project(inputs), [batch, length, 3, self._heads, self._width])
        query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
        logits = tf.matmul(query * self._width**-0.5, key, transpose_b=True)
        return tf.nn.softmax(logits + bias), value
