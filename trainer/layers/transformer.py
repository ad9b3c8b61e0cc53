"""A transformer block, pre-norm or post-norm."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention, dropout


class TransformerBlock(tf.keras.layers.Layer):
    """Self-attention and a point-wise feed-forward layer, each as `x + Dropout(g(LayerNorm(x)))`.

    SASRec (ICDM 2018), section III-B: eq. (2)-(4) and the residual form below them. With
    `post_norm` each is `LayerNorm(x + Dropout(g(x)))`, as in BERT4Rec (CIKM 2019), eq. (5).

    Args:
      dim, heads, rate, generator: see `attention.SelfAttention`; `rate` also of the residuals.
      inner: width between the two point-wise layers.
      activation: between them.
      post_norm: where the normalisation stands.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        inner: int,
        activation: str,
        rate: float,
        generator: tf.random.Generator,
        post_norm: bool = False,
    ):
        super().__init__()
        self._post_norm = post_norm
        self._attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._attention = attention.SelfAttention(dim, heads, rate, generator)
        self._inner_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._inner = tf.keras.layers.Dense(inner, activation=activation)
        self._outer = tf.keras.layers.Dense(dim)
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[B, L, D]` and a bias of `attention` to `[B, L, D]`."""
        if self._post_norm:
            attended = self._dropout(self._attention(inputs, bias, training=training), training=training)
            hidden = self._attention_norm(inputs + attended)
            return self._inner_norm(hidden + self._feed_forward(hidden, training))
        attended = self._attention(self._attention_norm(inputs), bias, training=training)
        hidden = inputs + self._dropout(attended, training=training)
        return hidden + self._feed_forward(self._inner_norm(hidden), training)

    def attention_of(self, inputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """The weights of the block's attention, `[B, H, L, L]`; see `call`."""
        read = inputs if self._post_norm else self._attention_norm(inputs)
        return self._attention.weights_of(read, bias)

    def _feed_forward(self, inputs: tf.Tensor, training: bool) -> tf.Tensor:
        inner = self._dropout(self._inner(inputs), training=training)
        return self._dropout(self._outer(inner), training=training)
