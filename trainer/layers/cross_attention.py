"""Scores of many candidates that each attend to a history, in bounded memory."""

from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# Attention weights that are in memory at once: 16 MB of float32, and a few times that with what is made of them.
AT_ONCE = 1 << 22
# What a logit of padding is lowered by; finite, so that a history without events gives no NaN.
_MASKED = 1e9


def attended_scores(
    keys: tf.Tensor,
    values: tf.Tensor,
    present: tf.Tensor,
    asked: tf.Tensor,
    weights: tf.Tensor,
    at_once: int = AT_ONCE,
) -> tf.Tensor:
    """What each candidate makes of the history that it attends to, as one number:

      s = sum_h sum_l softmax_l(q_h k_hl / sqrt(d)) (w_h v_hl)

    over heads h of width d and events l: a linear layer on the concatenated heads, which is taken of each event before
    they are mixed. Time grows linearly with the number of candidates; memory does so only by what is given and returned:
    candidates are taken a chunk at a time, and the gradient computes their attention anew.

    Args:
      keys, values: of the histories, `[B, H, L, d]`.
      present: 1 for events and 0 for padding, `[B, L]` float.
      asked: q of the candidates, `[B, H, C, d]`; `[1, H, C, d]` where all histories have the same ones.
      weights: w, of the shape of `asked`.
      at_once: how many attention weights there are at a time; at least those of one candidate.

    Returns:
      `[B, C]` float32.
    """
    lowered = ((1.0 - tf.cast(present, tf.float32)) * _MASKED)[:, tf.newaxis, tf.newaxis, :]

    @tf.custom_gradient
    def scores(keys: tf.Tensor, values: tf.Tensor, asked: tf.Tensor, weights: tf.Tensor) -> Any:
        given = keys, values, lowered, asked, weights
        return _scores(*given, at_once), lambda upstream: _gradients(*given, upstream, at_once)

    return scores(keys, values, asked, weights)


class _Chunks:
    """Candidates, so many at a time that `at_once` attention weights are not passed.

    Args:
      keys: `[B, H, L, d]`.
      asked: `[G, H, C, d]`.
    """

    def __init__(self, keys: tf.Tensor, asked: tf.Tensor, at_once: int):
        batch, heads, length, _ = _shape(keys)
        self._size = _shape(asked)[2]
        self.width = _clip(at_once // _clip(batch * heads * length, 1), 1, _clip(self._size, 1))
        self.number = _clip(-(-self._size // self.width), 1)

    def padded(self, values: tf.Tensor, axis: int) -> tf.Tensor:
        """Values with one for each candidate along an axis, with zeros behind so that all chunks are whole."""
        before = [[0, 0]] * axis + [[0, self.number * self.width - self._size]]
        return tf.pad(values, before + [[0, 0]] * (values.shape.rank - axis - 1))

    def of(self, padded: tf.Tensor, number: tf.Tensor, axis: int) -> tf.Tensor:
        """Those of a chunk."""
        return tf.gather(padded, number * self.width + tf.range(self.width), axis=axis)

    def joined(self, chunks: tf.TensorArray, axis: int) -> tf.Tensor:
        """What was made of all chunks, put together along an axis, without the padding."""
        stacked = chunks.stack()
        order = [*range(1, axis + 1), 0, *range(axis + 1, stacked.shape.rank)]
        shape = tf.shape(stacked)
        shape = tf.concat([shape[1 : axis + 1], [self.number * self.width], shape[axis + 2 :]], axis=0)
        whole = tf.reshape(tf.transpose(stacked, order), shape)
        return tf.gather(whole, tf.range(self._size), axis=axis)


def _shape(values: tf.Tensor) -> list[Any]:
    """Sizes, as numbers where they are known: XLA wants those of loops so."""
    return [size if size is not None else tf.shape(values)[at] for at, size in enumerate(values.shape)]


def _clip(value: Any, low: Any, high: Any = None) -> Any:
    """At least `low`, at most `high`; a number where all are."""
    if not any(tf.is_tensor(one) for one in (value, low, high)):
        return max(value, low) if high is None else min(max(value, low), high)
    value = tf.maximum(value, low)
    return value if high is None else tf.minimum(value, high)


def _attend(
    keys: tf.Tensor, values: tf.Tensor, lowered: tf.Tensor, asked: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """How much of each event a candidate takes, and what it is worth to it: `[B, H, c, L]` float32 each."""
    logits = tf.cast(tf.matmul(asked, keys, transpose_b=True), tf.float32) * keys.shape[-1] ** -0.5
    return tf.nn.softmax(logits - lowered), tf.cast(tf.matmul(weights, values, transpose_b=True), tf.float32)


def _scores(
    keys: tf.Tensor, values: tf.Tensor, lowered: tf.Tensor, asked: tf.Tensor, weights: tf.Tensor, at_once: int
) -> tf.Tensor:
    chunks = _Chunks(keys, asked, at_once)
    candidates = [chunks.padded(one, axis=2) for one in (asked, weights)]

    def step(number: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        share, worth = _attend(keys, values, lowered, *(chunks.of(one, number, axis=2) for one in candidates))
        return number + 1, found.write(number, tf.reduce_sum(share * worth, axis=[1, 3]))

    start = tf.constant(0), tf.TensorArray(tf.float32, chunks.number)
    # One chunk after the other: several at once would need the memory of several.
    _, found = tf.while_loop(lambda number, _: number < chunks.number, step, start, parallel_iterations=1)
    return chunks.joined(found, axis=1)


def _gradients(
    keys: tf.Tensor,
    values: tf.Tensor,
    lowered: tf.Tensor,
    asked: tf.Tensor,
    weights: tf.Tensor,
    upstream: tf.Tensor,
    at_once: int,
) -> tuple[tf.Tensor, ...]:
    """The gradients of keys, values, q and w, by those of the scores `[B, C]`."""
    chunks, scale = _Chunks(keys, asked, at_once), keys.shape[-1] ** -0.5
    candidates = [chunks.padded(one, axis=2) for one in (asked, weights)]
    upstream = chunks.padded(tf.cast(upstream, tf.float32), axis=1)
    shared = asked.shape[0] == 1

    def of_candidates(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, axis=0, keepdims=True) if shared else values

    def step(number: tf.Tensor, of_keys: Any, of_values: Any, of_asked: Any, of_weights: Any) -> Any:
        q, w = (chunks.of(one, number, axis=2) for one in candidates)
        share, worth = _attend(keys, values, lowered, q, w)
        share_of = share * chunks.of(upstream, number, axis=1)[:, tf.newaxis, :, tf.newaxis]
        mean = tf.reduce_sum(share * worth, axis=3, keepdims=True)
        of_logits = tf.cast(share_of * (worth - mean) * scale, keys.dtype)
        of_worth = tf.cast(share_of, keys.dtype)
        return (
            number + 1,
            of_keys + tf.cast(tf.matmul(of_logits, q, transpose_a=True), tf.float32),
            of_values + tf.cast(tf.matmul(of_worth, w, transpose_a=True), tf.float32),
            of_asked.write(number, of_candidates(tf.matmul(of_logits, keys))),
            of_weights.write(number, of_candidates(tf.matmul(of_worth, values))),
        )

    zeros = tf.zeros(tf.shape(keys), tf.float32)
    arrays = [tf.TensorArray(keys.dtype, chunks.number) for _ in range(2)]
    start = tf.constant(0), zeros, zeros, *arrays
    _, of_keys, of_values, of_asked, of_weights = tf.while_loop(
        lambda number, *_: number < chunks.number, step, start, parallel_iterations=1
    )
    return (
        tf.cast(of_keys, keys.dtype),
        tf.cast(of_values, values.dtype),
        *(chunks.joined(array, axis=2) for array in (of_asked, of_weights)),
    )
