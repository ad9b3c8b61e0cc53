"""`preprocessing_fn` of TFX Transform: raw `next` windows to indices; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import spec, training_times
from schemas import names

MS_PER_SECOND = 1000
_MS_PER_HOUR = 3_600_000
_MS_PER_DAY = 86_400_000
# 1970-01-01 was a Thursday, day 3 of a week that begins with Monday.
_FIRST_WEEKDAY = 3
# With frequencies beside the ids; the lookup needs a file of ids alone.
ITEM_COUNTS_VOCABULARY = "item_counts"

# Farmhash is part of TensorFlow's contract: a user has the same hash in every release.
_USER_HASHES = 2**63 - 1

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
    tft.vocabulary(targets, vocab_filename=ITEM_COUNTS_VOCABULARY, store_frequency=True)
    tft.vocabulary(
        _last(rows, _scalar(inputs[names.RECENT_TARGETS])),
        vocab_filename=names.RECENT_ITEMS_VOCABULARY,
        store_frequency=True,
    )
    outputs[names.ITEM_INDEX] = _history(items, length, item_vocabulary)
    outputs[names.TARGET_ITEM_INDEX] = index_of(target, item_vocabulary)
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
            outputs[target_index] = index_of(target, known)

    outputs.update(user_features(_scalar(inputs[names.USER_ID]), _scalar(inputs[names.USER_FREQUENCY])))
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


def user_features(users: tf.Tensor, frequencies: tf.Tensor) -> dict[str, tf.Tensor]:
    """USER_HASH and USER_HEAD of users `[B]` and their USER_FREQUENCY."""
    # The order of the windows in the files says nothing certain of whose they are: Beam may mix it.
    return {
        names.USER_HASH: tf.strings.to_hash_bucket_fast(users, _USER_HASHES),
        names.USER_HEAD: tf.cast(frequencies == names.HEAD, tf.int64),
    }


def index_of(values: tf.Tensor, vocabulary: Any) -> tf.Tensor:
    """The indices, from FIRST_INDEX on, of values in what `tft.vocabulary` has made; else OOV_INDEX."""
    # Unknown values come back as -1, one below the first: OOV_INDEX.
    found = tft.apply_vocabulary(values, vocabulary, default_value=names.OOV_INDEX - names.FIRST_INDEX)
    return found + names.FIRST_INDEX


def _map_values(sparse: tf.SparseTensor, vocabulary: Any) -> tf.SparseTensor:
    return tf.SparseTensor(sparse.indices, index_of(sparse.values, vocabulary), sparse.dense_shape)


def _history(values: tf.RaggedTensor, length: int, vocabulary: Any) -> tf.Tensor:
    recent = values[:, -length:]
    return left_pad(
        recent.with_flat_values(index_of(recent.flat_values, vocabulary)), length, names.PADDING_INDEX
    )


def left_pad(values: tf.RaggedTensor, length: int, padding: Any) -> tf.Tensor:
    """Ragged rows of at most `length` values to dense `[B, length]`, the last value at the right."""
    missing = length - values.row_lengths()
    dense = values.to_tensor(padding, shape=[None, length])
    source = tf.range(length, dtype=tf.int64)[tf.newaxis, :] - missing[:, tf.newaxis]
    shifted = tf.gather(dense, tf.maximum(source, 0), axis=1, batch_dims=1)
    result = tf.where(source >= 0, shifted, tf.cast(padding, dense.dtype))
    result.set_shape([None, length])
    return result


def hour_of_day(times: tf.Tensor) -> tf.Tensor:
    """0..23 (UTC) of times in ms since the epoch."""
    return tf.math.floormod(times // _MS_PER_HOUR, 24)


def day_of_week(times: tf.Tensor) -> tf.Tensor:
    """0..6 (UTC; Monday is 0) of times in ms since the epoch."""
    return tf.math.floormod(times // _MS_PER_DAY + _FIRST_WEEKDAY, 7)


def _time_features(times: tf.RaggedTensor, length: int) -> dict[str, tf.Tensor]:
    """Hour, weekday and gap of each event; all are relative to UTC and to the event before."""
    recent = times[:, -length:]
    hours, days = hour_of_day(recent.flat_values) + 1, day_of_week(recent.flat_values) + 1
    dense = left_pad(recent, length, 0)
    present = left_pad(recent.with_flat_values(tf.ones_like(recent.flat_values)), length, 0) > 0
    before = tf.pad(dense[:, :-1], [[0, 0], [1, 0]])
    follows = present & tf.pad(present[:, :-1], [[0, 0], [1, 0]])
    seconds = tf.cast(tf.maximum(dense - before, 0), tf.float32) / MS_PER_SECOND
    return {
        names.HOUR_OF_DAY: left_pad(recent.with_flat_values(hours), length, 0),
        names.DAY_OF_WEEK: left_pad(recent.with_flat_values(days), length, 0),
        names.LOG_GAP: tf.where(follows, tf.math.log1p(seconds), 0.0),
    }
