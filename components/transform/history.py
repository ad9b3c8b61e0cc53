"""The features of a history after Transform: one set of names and one shape for windows of every kind."""

from typing import Any, TypeAlias

import tensorflow as tf

from components.transform import ops
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


class History:
    """The last `length` events of each history of a batch.

    An event with an empty item id is padding, wherever it stands, and takes its other values with it. Events are put in the
    order of their times, those of one time as they come; a row in which an event has no time stays as it is.

    Args:
      inputs: raw features, of which those of `names.HISTORY` are read: sparse `[B, n]` of any n >= 0; an
        example may have fewer or more values of one than of another.
      length: L, how many events are kept.
      moment: that the history is before, `[B]` int64, ms: an event at it or later is left out. None: none is.
      past: an event more than so many ms before the moment is left out, too. None: none is.

    Attributes:
      present: which places have an event, `[B, L]` bool; the last event stands at the right.
      items: their ids, `[B, L]`; empty where there is none.
    """

    def __init__(
        self,
        inputs: dict[str, _Tensor],
        length: int,
        moment: tf.Tensor | None = None,
        past: int | None = None,
    ):
        self._inputs = inputs
        ids = inputs[names.HISTORY_ITEM_ID]
        # Of the ids alone: what is made of them must not hang on inputs that a request lacks.
        self._shape = ids.dense_shape
        there = ops.dense(ids, "", self._shape) != ""
        if moment is not None:
            there &= self._within(moment[:, tf.newaxis], past)
        order = self._order(there)
        there = tf.gather(there, order, batch_dims=1)
        place = length - tf.cumsum(tf.cast(there, tf.int64), axis=1, reverse=True)
        kept = tf.where(there & (place >= 0))
        rows, columns = kept[:, 0], tf.gather_nd(order, kept)
        where = tf.stack([rows, tf.gather_nd(place, kept)], axis=1)
        # Each place's column, counted from 1; 0 where there is no event.
        column = tf.scatter_nd(where, columns + 1, tf.stack([self._shape[0], length]))
        column.set_shape([None, length])
        self.present = column > 0
        row = tf.zeros_like(column) + tf.range(self._shape[0])[:, tf.newaxis]
        self._source = tf.stack([row, tf.maximum(column - 1, 0)], axis=2)
        self.items = self.values(names.HISTORY_ITEM_ID, "")

    def values(self, name: str, missing: Any) -> tf.Tensor:
        """A raw feature of the events, `[B, L]`.

        Args:
          name: of `names.HISTORY`.
          missing: where there is no event, and for an event whose row has too few values.
        """
        return self._places(self._inputs[name], missing)

    def index(self, values: tf.Tensor, vocabulary: Any) -> tf.Tensor:
        """The indices of values `[B, L]` in what `tft.vocabulary` made; PADDING_INDEX where there is no event."""
        return self._or_padding(ops.index_of(values, vocabulary))

    def features(
        self, items: Any, behaviors: Any = None, scenes: Any = None, with_time: bool = True
    ) -> dict[str, tf.Tensor]:
        """The features of `names.HISTORY_PLACES`, each `[B, L]`.

        Args:
          items, behaviors, scenes: what `tft.vocabulary` made; None of what is no feature.
          with_time: whether hours and weekdays are features, too.
        """
        found = {names.HISTORY_ITEM_INDEX: self.index(self.items, items)}
        for vocabulary, raw, index in (
            (behaviors, names.HISTORY_BEHAVIOR, names.HISTORY_BEHAVIOR_INDEX),
            (scenes, names.HISTORY_SCENE, names.HISTORY_SCENE_INDEX),
        ):
            if vocabulary is not None:
                found[index] = self.index(self.values(raw, ""), vocabulary)
        sparse = self._inputs[names.HISTORY_TIMESTAMP]
        # 0 is a time, too.
        ones = tf.SparseTensor(sparse.indices, tf.ones_like(sparse.values), sparse.dense_shape)
        given = self._places(ones, 0) > 0
        times = self.values(names.HISTORY_TIMESTAMP, 0)
        if with_time:
            for index, number in (
                (names.HISTORY_HOUR_INDEX, ops.hour_of_day(times)),
                (names.HISTORY_WEEKDAY_INDEX, ops.day_of_week(times)),
            ):
                found[index] = self._or_padding(ops.index_of_number(number, given))
        found[names.HISTORY_LOG_GAP] = _log_gap(times, given)
        return found

    def _order(self, there: tf.Tensor) -> tf.Tensor:
        """The columns of each row by the times of the events that are there, `[B, n]` int64; others stand anywhere."""
        times = self._inputs[names.HISTORY_TIMESTAMP]
        latest = times.dtype.max
        at = ops.beside(times, latest, self._shape)
        columns = tf.zeros_like(at) + tf.range(self._shape[1])

        def by_time() -> tf.Tensor:
            timed = tf.SparseTensor(times.indices, tf.ones_like(times.values, tf.bool), times.dense_shape)
            known = tf.reduce_all(ops.beside(timed, False, self._shape) | ~there, axis=1, keepdims=True)
            key = tf.where(known & there, at, tf.constant(times.dtype.min, at.dtype))
            return tf.cast(tf.argsort(key, axis=1, stable=True), tf.int64)

        # Windows of a log are in order; what a client sends may be not.
        return tf.cond(tf.reduce_all(at[:, 1:] >= at[:, :-1]), lambda: columns, by_time)

    def _within(self, moment: tf.Tensor, past: int | None) -> tf.Tensor:
        """Which events lie in [moment - past, moment), `[B, n]`; one without a time does."""
        times = self._inputs[names.HISTORY_TIMESTAMP]
        timed = tf.SparseTensor(times.indices, tf.ones_like(times.values, tf.bool), times.dense_shape)
        at = ops.beside(times, 0, self._shape)
        within = at < moment
        if past is not None:
            within &= at >= moment - past
        return ~ops.beside(timed, False, self._shape) | within

    def _places(self, sparse: tf.SparseTensor, missing: Any) -> tf.Tensor:
        # A column at least, so that there is something to take where no row has an event.
        shape = tf.maximum(tf.maximum(sparse.dense_shape, self._shape), [0, 1])
        found = tf.gather_nd(ops.dense(sparse, missing, shape), self._source)
        return tf.where(self.present, found, tf.constant(missing, sparse.dtype))

    def _or_padding(self, index: tf.Tensor) -> tf.Tensor:
        return tf.where(self.present, index, tf.constant(names.PADDING_INDEX, tf.int64))


def _log_gap(times: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """`log(1 + seconds since the event before)`, 0 where one of both has no time; `[B, L]`."""
    before = tf.pad(times[:, :-1], [[0, 0], [1, 0]])
    follows = given & tf.pad(given[:, :-1], [[0, 0], [1, 0]])
    seconds = tf.cast(tf.maximum(times - before, 0), tf.float32) / ops.MS_PER_SECOND
    return tf.where(follows, tf.math.log1p(seconds), 0.0)
