"""The features of a history after Transform: one set of names and one shape for windows of every kind."""

from typing import Any, TypeAlias

import tensorflow as tf

from components.transform import ops
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


class History:
    """The last `length` events of each history of a batch.

    An event with an empty item id is padding, wherever it stands, and takes its other values with it.

    Args:
      inputs: raw features, of which those of `names.HISTORY` are read: sparse `[B, n]` of any n >= 0, oldest
        event first.
      length: L, how many events are kept.

    Attributes:
      items: their ids, ragged `[B, <= L]`.
    """

    def __init__(self, inputs: dict[str, _Tensor], length: int):
        self._inputs, self._length = inputs, length
        ids = tf.sparse.to_dense(inputs[names.HISTORY_ITEM_ID], default_value="")
        self._there = ids != ""
        self.items = self._recent(ids)

    def values(self, name: str, missing: Any) -> tf.Tensor:
        """A raw feature of the events of all rows, `[E]`, as `items.flat_values`.

        Args:
          name: of `names.HISTORY`.
          missing: for an event whose row has too few values.
        """
        return self._recent(_like(self._inputs[name], self._there, missing)).flat_values

    def padded(self, values: tf.Tensor, padding: Any = names.PADDING_INDEX) -> tf.Tensor:
        """Values of all events `[E]` as dense `[B, L]`, the last event at the right."""
        return ops.left_pad(self.items.with_flat_values(values), self._length, padding)

    def features(
        self, items: Any, behaviors: Any = None, scenes: Any = None, with_time: bool = True
    ) -> dict[str, tf.Tensor]:
        """The features of `names.HISTORY_PLACES`, each `[B, L]`.

        Args:
          items, behaviors, scenes: what `tft.vocabulary` made; None of what is no feature.
          with_time: whether hours and weekdays are features, too.
        """
        found = {names.HISTORY_ITEM_INDEX: self.padded(ops.index_of(self.items.flat_values, items))}
        for vocabulary, raw, index in (
            (behaviors, names.HISTORY_BEHAVIOR, names.HISTORY_BEHAVIOR_INDEX),
            (scenes, names.HISTORY_SCENE, names.HISTORY_SCENE_INDEX),
        ):
            if vocabulary is not None:
                found[index] = self.padded(ops.index_of(self.values(raw, ""), vocabulary))
        sparse = self._inputs[names.HISTORY_TIMESTAMP]
        # 0 is a time, too.
        ones = tf.SparseTensor(sparse.indices, tf.ones_like(sparse.values), sparse.dense_shape)
        given = self._recent(_like(ones, self._there, 0)).flat_values > 0
        times = self.values(names.HISTORY_TIMESTAMP, 0)
        if with_time:
            for index, number in (
                (names.HISTORY_HOUR_INDEX, ops.hour_of_day(times)),
                (names.HISTORY_WEEKDAY_INDEX, ops.day_of_week(times)),
            ):
                found[index] = self.padded(ops.index_of_number(number, given))
        found[names.HISTORY_LOG_GAP] = self._log_gap(times, given)
        return found

    def _log_gap(self, times: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
        dense, present = self.padded(times, 0), self.padded(given, False)
        before = tf.pad(dense[:, :-1], [[0, 0], [1, 0]])
        follows = present & tf.pad(present[:, :-1], [[0, 0], [1, 0]])
        seconds = tf.cast(tf.maximum(dense - before, 0), tf.float32) / ops.MS_PER_SECOND
        return tf.where(follows, tf.math.log1p(seconds), 0.0)

    def _recent(self, dense: tf.Tensor) -> tf.RaggedTensor:
        return tf.ragged.boolean_mask(dense, self._there)[:, -self._length :]


def _like(value: tf.SparseTensor, there: tf.Tensor, missing: Any) -> tf.Tensor:
    """Rows to the shape of `there`, which an example that has no such list may be wider than."""
    missing = tf.cast(missing, value.dtype)
    dense = tf.sparse.to_dense(value, default_value=missing)
    return tf.concat([dense, tf.fill(tf.shape(there), missing)], axis=1)[:, : tf.shape(there)[1]]
