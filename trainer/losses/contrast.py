"""Losses that compare the representations of a batch's histories with one another, those of all replicas together."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# Of a logit that does not count; finite, so that its gradient is 0 and not undefined.
_MASKED = -1e9


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]` of length 1, float32; one of 0 stays 0."""
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)


def of_all_replicas(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What all replicas have together, as each of them sees it; gradients go back to where a row comes from.

    To be called by all replicas, outside of functions of their own (as those that XLA compiles).

    Args:
      values: `[B, D]`, of one shape on all replicas and in all steps: TensorFlow's gather fails where it changes within
        a call of the compiled loop ("Shape mismatch in the collective instance").

    Returns:
      `[replicas * B, D]`, and which row of it is this replica's first, a scalar int32.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values, tf.constant(0)
    first = tf.cast(context.replica_id_in_sync_group, tf.int32) * tf.shape(values)[0]
    return context.all_gather(values, axis=0), first


def others_of_all_replicas(vectors: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The vectors of all replicas, and which of them belong to a window other than one's own.

    Args:
      vectors: `[B, D]` float32.
      counted: which of them are of a window, `[B]` bool; see `of_all_replicas` for the shape.

    Returns:
      `[G, D]`, and `[B, G]` bool.
    """
    held = tf.concat([vectors, tf.cast(counted, vectors.dtype)[:, tf.newaxis]], axis=1)
    held, first = of_all_replicas(held)
    own = first + tf.range(tf.shape(vectors)[0])
    other = tf.range(tf.shape(held)[0])[tf.newaxis] != own[:, tf.newaxis]
    return held[:, :-1], other & (held[:, -1] > 0)[tf.newaxis]


def conditional_contrast(
    anchors: tf.Tensor,
    positives: tf.Tensor,
    counted: tf.Tensor,
    positive_temperature: float = 1.0,
    negative_temperature: float = 0.07,
    weights_gradient: bool = False,
) -> tf.Tensor:
    """CCR, conditional contrastive regularisation: DSPnet, eq. (8).

      - sum_i w+_i s(h, h+_i) + sum_j w-_j s(h, h-_j),   s(h, h') = h . h' / tau
      w+ = softmax(-s) over the positives,  w- = softmax(s) over the negatives

    The harder a sample, the more it weighs: a view that is far, another history that is near. The negatives of a history
    are all others of the batch, on all replicas. Vectors are taken at length 1: of any length, the loss would fall without
    end as they grow.

    Args:
      anchors: h, `[B, D]`.
      positives: h+, of P views of each, `[P, B, D]`.
      counted: which rows are of a window, `[B]` bool; others are nobody's negatives.
      positive_temperature, negative_temperature: tau of the positives, and of the negatives.
      weights_gradient: whether the weights are differentiated, too; else they are numbers.

    Returns:
      `[B]` float32; that of a row that does not count has no meaning. Without negatives their sum is 0.
    """
    anchors = unit(anchors)
    near = tf.einsum("bd,pbd->bp", anchors, unit(positives)) / positive_temperature
    vectors, other = others_of_all_replicas(anchors, counted)
    far = tf.matmul(anchors, vectors, transpose_b=True) / negative_temperature
    near_weights = tf.nn.softmax(-near, axis=1)
    far_weights = tf.where(other, tf.nn.softmax(tf.where(other, far, _MASKED), axis=1), 0.0)
    if not weights_gradient:
        near_weights, far_weights = tf.stop_gradient(near_weights), tf.stop_gradient(far_weights)
    return tf.reduce_sum(far_weights * far, axis=1) - tf.reduce_sum(near_weights * near, axis=1)
