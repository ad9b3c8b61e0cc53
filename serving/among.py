"""Candidate sets: a ranking among some items of the catalogue, which are the same for many queries of a batch."""

from typing import Any

import tensorflow as tf


class Among:
    """The sets of a batch.

    Args:
      mask: `[S, N]` bool, the catalogue rows of each set.
      which: `[B]` int64, the set of each query.
    """

    def __init__(self, mask: tf.Tensor, which: tf.Tensor):
        self._mask, self._which = mask, which

    @classmethod
    def of_rows(cls, rows: tf.Tensor, which: tf.Tensor, size: int) -> "Among":
        """Of the catalogue rows of each set, `[S, C]` int64, in any order; negative ones say nothing."""
        there = tf.where(rows >= 0)
        places = tf.stack([there[:, 0], tf.gather_nd(rows, there)], axis=1)
        nothing = tf.zeros([tf.shape(rows)[0], size], tf.bool)
        return cls(
            tf.tensor_scatter_nd_update(nothing, places, tf.ones([tf.shape(there)[0]], tf.bool)), which
        )

    def sizes(self) -> tf.Tensor:
        """How many items the set of each query has, `[B]` int64."""
        return tf.gather(tf.math.count_nonzero(self._mask, axis=1), self._which)

    def columns(self, first: Any, count: Any) -> tf.Tensor:
        """Which of some neighbouring catalogue rows each query's set has, `[B, count]` bool."""
        return tf.gather(self._mask[:, first : first + count], self._which)

    def hold(self, rows: tf.Tensor) -> tf.Tensor:
        """Which catalogue rows `[B]` or `[B, M]` are in the set of their query, bool; negative ones are not."""
        return tf.gather_nd(self._mask, self._places(rows)) & (rows >= 0)

    def only(self, rows: tf.Tensor) -> tf.Tensor:
        """The rows `[B]` or `[B, M]` that are in the set of their query; -1 for others."""
        return tf.where(self.hold(rows), rows, tf.constant(-1, rows.dtype))

    def places(self, rows: tf.Tensor) -> tf.Tensor:
        """The place of each row among those of its set that are not behind it, from 1; int64 of the shape of `rows`."""
        until = tf.cumsum(tf.cast(self._mask, tf.int32), axis=1)
        return tf.cast(tf.gather_nd(until, self._places(rows)), tf.int64)

    def reordered(self, order: tf.Tensor) -> "Among":
        """The same sets of a catalogue whose row r is the row `order[r]` of this one."""
        return Among(tf.gather(self._mask, order, axis=1), self._which)

    def repeated(self, times: Any) -> "Among":
        """The same sets for queries that each come `times` times, one after the other."""
        return Among(self._mask, tf.repeat(self._which, times))

    def _places(self, rows: tf.Tensor) -> tf.Tensor:
        which = self._which if rows.shape.rank == 1 else self._which[:, tf.newaxis]
        return tf.stack([tf.broadcast_to(which, tf.shape(rows)), tf.maximum(rows, 0)], axis=-1)
