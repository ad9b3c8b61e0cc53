"""What one step of a chain passes on to the next: AITM's module."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


class AdaptiveTransfer(tf.keras.layers.Layer):
    """AIT of AITM (Xi et al., KDD 2021): attention over two vectors.

    For u of {p, q}, what the previous step passes on and what this one found itself:

        z = sum_u w_u h_1(u),  w_u = softmax over u of <h_2(u), h_3(u)> / sqrt(k)

    with h_1, h_2 and h_3 linear and common to both vectors.

    Args:
      width: k, of the vectors and of the result.
    """

    def __init__(self, width: int):
        super().__init__()
        self._width = width
        self._value = tf.keras.layers.Dense(width, use_bias=False, name="h1")
        self._query = tf.keras.layers.Dense(width, use_bias=False, name="h2")
        self._key = tf.keras.layers.Dense(width, use_bias=False, name="h3")

    def shares(self, both: tf.Tensor) -> tf.Tensor:
        """`[B, 2, k]` to `[B, 2]`, which sum to 1."""
        products = tf.reduce_sum(self._query(both) * self._key(both), axis=2)
        return tf.nn.softmax(products * self._width**-0.5)

    def call(self, passed: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """p and q, each `[B, k]`, to z, `[B, k]`."""
        both = tf.stack([passed, own], axis=1)
        return tf.reduce_sum(self.shares(both)[:, :, tf.newaxis] * self._value(both), axis=1)
