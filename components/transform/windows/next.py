"""`preprocessing_fn` of TFX Transform: raw `next` windows to indices; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import ops, spec, training_times
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


def preprocessing_fn(inputs: dict[str, _Tensor], custom_config: dict[str, Any]) -> dict[str, _Tensor]:
    """Maps raw windows of kind `next` to the model's features.

    The item vocabulary is that of the training targets: each event of a training window but
    its first, which is what a causal loss is computed on; its counts are kept. An item that
    never is a target (it was only ever somebody's first event) is out of vocabulary, since
    no model learns to recommend it. Of the recent targets alone there are counts, too.

    Args:
      inputs: features of `schemas.names`; histories are sparse `[B, n]` of any n >= 0.
      custom_config: see `spec.TransformSettings`.

    Returns:
      The features after Transform of `schemas.names`: histories are dense `[B, L]`, their
      last L events, left-padded.
    """
    length = spec.TransformSettings.unpack(custom_config).window.length
    outputs: dict[str, _Tensor] = {}

    items = tf.RaggedTensor.from_sparse(inputs[names.ITEM_ID])
    target = _scalar(inputs[names.TARGET_ITEM_ID])
    rows = tf.concat([items[:, 1:], target[:, tf.newaxis]], axis=1)
    targets = rows.flat_values
    item_vocabulary = tft.vocabulary(targets, vocab_filename=names.ITEM_VOCABULARY)
    tft.vocabulary(targets, vocab_filename=ops.ITEM_COUNTS_VOCABULARY, store_frequency=True)
    tft.vocabulary(
        _last(rows, _scalar(inputs[names.RECENT_TARGETS])),
        vocab_filename=names.RECENT_ITEMS_VOCABULARY,
        store_frequency=True,
    )
    outputs[names.ITEM_INDEX] = _history(items, length, item_vocabulary)
    outputs[names.TARGET_ITEM_INDEX] = ops.index_of(target, item_vocabulary)
    outputs[names.SEEN_ITEM_INDEX] = _map_values(inputs[names.SEEN_ITEM_ID], item_vocabulary)

    for raw, raw_target, vocabulary, index, target_index in (
        (
            names.BEHAVIOR,
            names.TARGET_BEHAVIOR,
            names.BEHAVIOR_VOCABULARY,
            names.BEHAVIOR_INDEX,
            names.TARGET_BEHAVIOR_INDEX,
        ),
        (
            names.SCENE,
            names.TARGET_SCENE,
            names.SCENE_VOCABULARY,
            names.SCENE_INDEX,
            names.TARGET_SCENE_INDEX,
        ),
    ):
        if raw in inputs:
            values, target = tf.RaggedTensor.from_sparse(inputs[raw]), _scalar(inputs[raw_target])
            known = tft.vocabulary(tf.concat([values.flat_values, target], axis=0), vocab_filename=vocabulary)
            outputs[index] = _history(values, length, known)
            outputs[target_index] = ops.index_of(target, known)

    outputs.update(ops.user_features(_scalar(inputs[names.USER_ID]), _scalar(inputs[names.USER_FREQUENCY])))
    times = tf.RaggedTensor.from_sparse(inputs[names.TIMESTAMP])
    training_times.count(tf.concat([times.flat_values, _scalar(inputs[names.TARGET_TIMESTAMP])], axis=0))
    outputs.update(_time_features(times, length))
    return outputs


def _scalar(value: _Tensor) -> tf.Tensor:
    """`[B]` or `[B, 1]` to `[B]`."""
    return tf.reshape(value, [-1])


def _last(rows: tf.RaggedTensor, numbers: tf.Tensor) -> tf.Tensor:
    """The last values of each row, as many as it has in `numbers` `[B]`, one row after the other."""
    place = tf.range(tf.size(rows.flat_values, tf.int64))
    ends = tf.cast(rows.row_limits(), tf.int64)
    return tf.boolean_mask(rows.flat_values, place >= tf.gather(ends - numbers, rows.value_rowids()))


def _map_values(sparse: tf.SparseTensor, vocabulary: Any) -> tf.SparseTensor:
    return tf.SparseTensor(sparse.indices, ops.index_of(sparse.values, vocabulary), sparse.dense_shape)


def _history(values: tf.RaggedTensor, length: int, vocabulary: Any) -> tf.Tensor:
    recent = values[:, -length:]
    return ops.left_pad(
        recent.with_flat_values(ops.index_of(recent.flat_values, vocabulary)), length, names.PADDING_INDEX
    )


def _time_features(times: tf.RaggedTensor, length: int) -> dict[str, tf.Tensor]:
    """Hour, weekday and gap of each event; all are relative to UTC and to the event before."""
    recent = times[:, -length:]
    hours, days = ops.hour_of_day(recent.flat_values) + 1, ops.day_of_week(recent.flat_values) + 1
    dense = ops.left_pad(recent, length, 0)
    present = ops.left_pad(recent.with_flat_values(tf.ones_like(recent.flat_values)), length, 0) > 0
    before = tf.pad(dense[:, :-1], [[0, 0], [1, 0]])
    follows = present & tf.pad(present[:, :-1], [[0, 0], [1, 0]])
    seconds = tf.cast(tf.maximum(dense - before, 0), tf.float32) / ops.MS_PER_SECOND
    return {
        names.HOUR_OF_DAY: ops.left_pad(recent.with_flat_values(hours), length, 0),
        names.DAY_OF_WEEK: ops.left_pad(recent.with_flat_values(days), length, 0),
        names.LOG_GAP: tf.where(follows, tf.math.log1p(seconds), 0.0),
    }
