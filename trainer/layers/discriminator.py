"""The adversary of TP (Yin et al., KDD 2020): tells head users from tail users."""

from collections.abc import Sequence

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


class Discriminator(tf.keras.layers.Layer):
    """f_d: a perceptron on sequence embeddings; computes in float32 whatever the model does.

    Args:
      hidden: widths of the hidden layers (ReLU); none is logistic regression.
    """

    def __init__(self, hidden: Sequence[int]):
        super().__init__(dtype="float32")
        self._hidden = [tf.keras.layers.Dense(width, activation="relu", dtype="float32") for width in hidden]
        self._logit = tf.keras.layers.Dense(1, dtype="float32")

    def call(self, embedding: tf.Tensor) -> tf.Tensor:
        """Embeddings `[B, D]` to the logit of being of the head, `[B]` float32."""
        values = tf.cast(embedding, tf.float32)
        for layer in self._hidden:
            values = layer(values)
        return self._logit(values)[:, 0]


def log_likelihood(logits: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Eq. (9): R log f_d + (1 - R) log(1 - f_d), with f_d = sigmoid(logit).

    Args:
      logits: `[B]`.
      head: R, `[B]`: 1 for users of the head, 0 for those of the tail.

    Returns:
      `[B]` float32, at most 0; log(1/2) is that of knowing nothing.
    """
    return -tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(head, tf.float32), tf.cast(logits, tf.float32))
