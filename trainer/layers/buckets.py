"""Events pooled by their distance in time from a moment: one vector for each hour, day or week (BYB, section 4.2)."""

from typing import NamedTuple

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

DAY = 86_400.0


class Buckets(NamedTuple):
    """Where the events of rows belong.

    A bucket is `floor(seconds / width)`, its *age*; only those with an event are there, the nearest to the moment first.

    Attributes:
      slot: which of its row's buckets an event belongs to, `[B, L]` int32; K for one that is left out.
      share: what an event counts for in the mean of its bucket, `[B, L]` float32; 0 for one that is left out.
      age: of each bucket, `[B, K]` int32; 0 where there is none.
      present: which buckets there are, `[B, K]` bool.
      number: how many events of each count, `[B, K]` float32.
    """

    slot: tf.Tensor
    share: tf.Tensor
    age: tf.Tensor
    present: tf.Tensor
    number: tf.Tensor

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """The mean of values `[B, L, D]` over each bucket: `[B, K, D]`; 0 where there is none."""
        rows, places = tf.unstack(tf.shape(self.present))
        # Of the places beyond the last bucket nothing is read.
        segments = tf.range(rows)[:, tf.newaxis] * (places + 1) + self.slot
        # In half precision a sum of many small terms stands still.
        weighted = tf.cast(values, tf.float32) * self.share[:, :, tf.newaxis]
        width = values.shape[-1]
        added = tf.math.unsorted_segment_sum(
            tf.reshape(weighted, [-1, width]), tf.reshape(segments, [-1]), rows * (places + 1)
        )
        return tf.cast(tf.reshape(added, [rows, places + 1, width])[:, :-1], values.dtype)


def assign(
    seconds: tf.Tensor,
    present: tf.Tensor,
    width: float | None,
    most: int,
    most_events: int | None = None,
    static: bool = False,
) -> Buckets:
    """The buckets of events.

    Of more buckets than `most`, and of more events in one than `most_events`, those count that are nearest to the
    moment; of events at the same distance, those that stand first.

    Args:
      seconds: distances of the events from the moment, `[B, L]` float32, at least 0, in any order.
      present: which events there are, `[B, L]` bool.
      width: of a bucket, in seconds; None: each event is a bucket of its own, whose age is counted in days.
      most: the largest K.
      most_events: how many events of a bucket count at most; None: all.
      static: whether K is `most` (at most L) in any case, as XLA needs it; else as many as the fullest row has.
    """
    length = tf.shape(seconds)[1]
    age = tf.cast(tf.floor(seconds / tf.constant(width or DAY, tf.float32)), tf.int32)
    order = tf.argsort(tf.where(present, seconds, tf.float32.max), axis=1, stable=True)
    sorted_age, there = (tf.gather(value, order, axis=1, batch_dims=1) for value in (age, present))
    place = tf.broadcast_to(tf.range(length), tf.shape(order))
    before = tf.pad(sorted_age[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    first = there if width is None else there & (sorted_age != before)
    slot = tf.cumsum(tf.cast(first, tf.int32), axis=1) - 1
    kept = there & (slot < most)
    if most_events is not None:
        begins = _by_slot(tf.where(first, place, 0), tf.where(there, slot, length), length)
        kept &= place - tf.gather(begins, tf.maximum(slot, 0), axis=1, batch_dims=1) < most_events
    if static:
        places = tf.minimum(length, most)
    else:
        places = tf.maximum(tf.reduce_max(tf.where(kept, slot, 0)) + 1, 1)
    slot = tf.where(kept, slot, places)
    number = _by_slot(tf.cast(kept, tf.float32), slot, places)
    ages = _by_slot(tf.where(kept & first, sorted_age, 0), slot, places)
    share = tf.where(kept, 1.0 / tf.gather(tf.maximum(number, 1.0), slot, axis=1, batch_dims=1), 0.0)
    back = tf.argsort(order, axis=1)
    slot, share = (tf.gather(value, back, axis=1, batch_dims=1) for value in (slot, share))
    return Buckets(slot, share, ages[:, :-1], number[:, :-1] > 0, number[:, :-1])


def _by_slot(values: tf.Tensor, slot: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The sum of values `[B, L]` over each slot: `[B, K + 1]`."""
    rows = tf.shape(values)[0]
    segments = tf.range(rows)[:, tf.newaxis] * (places + 1) + slot
    added = tf.math.unsorted_segment_sum(
        tf.reshape(values, [-1]), tf.reshape(segments, [-1]), rows * (places + 1)
    )
    return tf.reshape(added, [rows, places + 1])
