"""A transformer block whose parts are gated by what goes in (LiGR: Borisyuk et al., arXiv 2502.03417, 2025)."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention, dropout


class LiGRBlock(tf.keras.layers.Layer):
    """Self-attention and a SwiGLU layer, each as `x + sigmoid(W x + b) * g(LayerNorm(x))`.

    SwiGLU (Shazeer, arXiv 2002.05202): `W_3 (silu(W_1 x) * W_2 x)`, without biases.

    Args:
      dim, heads, rate, generator: see `attention.SelfAttention`; `rate` also on the products within SwiGLU and on what comes
        of it.
      inner: width of W_1 x.
    """

    def __init__(self, dim: int, heads: int, inner: int, rate: float, generator: tf.random.Generator):
        super().__init__()
        self._attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._attention = attention.SelfAttention(dim, heads, rate, generator)
        self._attention_gate = tf.keras.layers.Dense(dim, activation="sigmoid")
        self._inner_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._inner = tf.keras.layers.Dense(2 * inner, use_bias=False)
        self._outer = tf.keras.layers.Dense(dim, use_bias=False)
        self._inner_gate = tf.keras.layers.Dense(dim, activation="sigmoid")
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, L, D]` and a bias of `attention` to `[B, L, D]`."""
        attended = self._attention(self._attention_norm(inputs), bias, training=training)
        hidden = inputs + self._attention_gate(inputs) * attended
        one, two = tf.split(self._inner(self._inner_norm(hidden)), 2, axis=-1)
        product = self._dropout(tf.nn.silu(one) * two, training=training)
        return hidden + self._inner_gate(hidden) * self._dropout(self._outer(product), training=training)
