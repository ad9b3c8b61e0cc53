"""Losses that compare the representations of a batch's histories with one another, those of all replicas together."""

import functools
import itertools

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# Of a logit that does not count; finite, so that its gradient is 0 and not undefined.
_MASKED = -1e9
# The square of the least length that has a direction.
_LEAST = 1e-8
# The two largest primes below 2^24, up to which float32 has all whole numbers, and a base for each.
_PRIMES = (16_777_213, 16_777_199)
_BASES = (7_919_027, 11_400_719)
# Of a history of the greatest length, with two numbers for each event.
_LONGEST = 20_000


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]` of length 1, float32; one of 0 stays 0, as one that is next to it stays what it is."""
    vectors = tf.cast(vectors, tf.float32)
    total = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    # Such a vector has no direction. Made long, its gradient would be as long, and cost float16 every step.
    return vectors * tf.math.rsqrt(tf.where(total > _LEAST, total, 1.0))


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


@functools.cache
def _powers(prime: int, base: int) -> np.ndarray:
    """base^0, base^1, ... modulo a prime, `[_LONGEST]` int64."""
    found = itertools.accumulate([1] + [base] * (_LONGEST - 1), lambda power, more: power * more % prime)
    return np.array(list(found))


def keys_of(sequences: tf.Tensor) -> tf.Tensor:
    """Two numbers that equal sequences share, `[B, 2]` float32; of two that differ, one pair in 2^48 does.

    Polynomials of the entries modulo two primes, from the last entry back: 0 in front, which is padding, is nothing to them.

    Args:
      sequences: `[B, W]` of whole numbers from 0 on.
    """
    keys = []
    for prime, base in zip(_PRIMES, _BASES, strict=True):
        powers = tf.constant(_powers(prime, base))[: tf.shape(sequences)[1]]
        # An entry is below 2^31 and a power below 2^24.
        terms = tf.cast(sequences, tf.int64) * powers[::-1]
        keys.append(tf.cast(tf.reduce_sum(terms % prime, axis=1) % prime, tf.float32))
    return tf.stack(keys, axis=1)


def others_of_all_replicas(
    vectors: tf.Tensor, counted: tf.Tensor, keys: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The vectors of all replicas, and which of them belong to a window other than one's own.

    Args:
      vectors: `[B, D]` float32.
      counted: which of them are of a window, `[B]` bool; see `of_all_replicas` for the shape.
      keys: `[B, K]` float32: those that have one's own keys are no others, either; None: all are.

    Returns:
      `[G, D]`, and `[B, G]` bool.
    """
    own_keys = tf.zeros_like(vectors[:, :0]) if keys is None else keys
    held = tf.concat([tf.cast(counted, vectors.dtype)[:, tf.newaxis], own_keys, vectors], axis=1)
    held, first = of_all_replicas(held)
    theirs, keys_of_all, vectors_of_all = tf.split(held, [1, own_keys.shape[1], vectors.shape[1]], axis=1)
    own = first + tf.range(tf.shape(vectors)[0])
    other = tf.range(tf.shape(held)[0])[tf.newaxis] != own[:, tf.newaxis]
    other &= (theirs[:, 0] > 0)[tf.newaxis]
    if keys is not None:
        other &= tf.reduce_any(keys_of_all[tf.newaxis] != own_keys[:, tf.newaxis], axis=2)
    return vectors_of_all, other


def conditional_contrast(
    anchors: tf.Tensor,
    positives: tf.Tensor,
    counted: tf.Tensor,
    positive_temperature: float = 1.0,
    negative_temperature: float = 0.07,
    weights_gradient: bool = False,
    keys: tf.Tensor | None = None,
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
      keys: `[B, K]` float32 of `keys_of`: histories of equal keys are not negatives of each other.

    Returns:
      `[B]` float32; that of a row that does not count has no meaning. Without negatives their sum is 0.
    """
    anchors = unit(anchors)
    near = tf.einsum("bd,pbd->bp", anchors, unit(positives)) / positive_temperature
    vectors, other = others_of_all_replicas(anchors, counted, keys)
    far = tf.matmul(anchors, vectors, transpose_b=True) / negative_temperature
    near_weights = tf.nn.softmax(-near, axis=1)
    far_weights = tf.where(other, tf.nn.softmax(tf.where(other, far, _MASKED), axis=1), 0.0)
    if not weights_gradient:
        near_weights, far_weights = tf.stop_gradient(near_weights), tf.stop_gradient(far_weights)
    return tf.reduce_sum(far_weights * far, axis=1) - tf.reduce_sum(near_weights * near, axis=1)
