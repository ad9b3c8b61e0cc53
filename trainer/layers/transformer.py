"""A pre-norm transformer block."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention
from trainer.layers import dropout


class TransformerBlock(tf.keras.layers.Layer):
    """Self-attention and a point-wise feed-forward layer, each as `x + Dropout(g(LayerNorm(x)))`.

    SASRec (ICDM 2018), section III-B: eq. (2)-(4) and the residual form below them.

    Args:
      dim, heads, rate, generator: see `attention.SelfAttention`; `rate` also of the residuals.
      inner: width between the two point-wise layers.
      activation: between them.
    """

    def __init__(
        self, dim: int, heads: int, inner: int, activation: str, rate: float, generator: tf.random.Generator
    ):
        super().__init__()
        self._attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._attention = attention.SelfAttention(dim, heads, rate, generator)
        self._inner_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._inner = tf.keras.layers.Dense(inner, activation=activation)
        self._outer = tf.keras.layers.Dense(dim)
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, L, D]` and a bias `[B, 1, L, L]` to `[B, L, D]`."""
        attended = self._attention(self._attention_norm(inputs), bias, training=training)
        hidden = inputs + self._dropout(attended, training=training)
        inner = self._dropout(self._inner(self._inner_norm(hidden)), training=training)
        return hidden + self._dropout(self._outer(inner), training=training)
