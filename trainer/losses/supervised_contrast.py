"""Contrast of views of histories, in which those with the same target are alike."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.losses import contrast

# Of a similarity that does not count; finite, so that its gradient is 0 and not undefined.
_MASKED = -1e9


def supervised_contrast(
    vectors: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor, temperature: float
) -> tf.Tensor:
    """The loss of each window: the mean over its views of

      -tau / |P(i)| sum_{p in P(i)} log [ exp(z_i z_p / tau) / sum_{a != i} exp(z_i z_a / tau) ]

    with z the views' vectors, brought to length 1, and P(i) all other views of this window and of those with the same
    label; a goes over all views of the batch, of all replicas together. Supervised contrast (Khosla et al., NeurIPS 2020)
    with the factor tau that it has in the authors' code of ContraRec (Wang et al., TOIS 2023): the gradient of a
    similarity then has about the same size for any tau.

    Args:
      vectors: `[B, V, D]`, of V views of each window, at least two; see `contrast.of_all_replicas` for the shape.
      labels: `[B]` int64; a negative one is that of no other window.
      counted: `[B]` bool; other windows are none, and what is returned for them has no meaning.
      temperature: tau.

    Returns:
      `[B]` float32.
    """
    rows, views = tf.shape(vectors)[0], tf.shape(vectors)[1]
    unit = contrast.unit(vectors)
    everyone, first = contrast.of_all_replicas(unit)
    # One of integers, for labels and who counts together.
    known, _ = contrast.of_all_replicas(tf.stack([labels, tf.cast(counted, tf.int64)], axis=1))
    width = tf.shape(everyone)[2]
    total = tf.shape(everyone)[0]
    similar = tf.matmul(
        tf.reshape(unit, [rows * views, width]),
        tf.reshape(everyone, [total * views, width]),
        transpose_b=True,
    )
    similar /= temperature
    own = (first + tf.range(rows))[:, tf.newaxis] == tf.range(total)
    alike = own | ((labels[:, tf.newaxis] == known[:, 0]) & (labels >= 0)[:, tf.newaxis])
    others = ~_of_views(own, views, tf.eye(views, dtype=tf.bool))
    others &= tf.repeat(known[:, 1] > 0, views)
    positive = tf.cast(_of_views(alike, views, tf.ones([views, views], tf.bool)) & others, tf.float32)
    logits = tf.where(others, similar, _MASKED)
    likely = logits - tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    mean = tf.math.divide_no_nan(
        tf.reduce_sum(tf.where(positive > 0, likely, 0.0), axis=1), tf.reduce_sum(positive, axis=1)
    )
    return -temperature * tf.reduce_mean(tf.reshape(mean, [rows, views]), axis=1)


def _of_views(pairs: tf.Tensor, views: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    """Pairs of windows `[B, G]` as pairs of their views, those of `which` `[V, V]` alone: `[B V, G V]` bool."""
    rows, columns = tf.unstack(tf.shape(pairs))
    found = pairs[:, tf.newaxis, :, tf.newaxis] & which[tf.newaxis, :, tf.newaxis, :]
    return tf.reshape(found, [rows * views, columns * views])
