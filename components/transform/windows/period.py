"""`preprocessing_fn` of TFX Transform: raw `period` windows to indices; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import (
    attributes,
    event_attributes,
    event_fields,
    history,
    labelled,
    ops,
    spec,
    training_times,
)
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor
# Earlier than any.
_NO_TIME = -(2**62)


def preprocessing_fn(inputs: dict[str, _Tensor], custom_config: dict[str, Any]) -> dict[str, _Tensor]:
    """Maps raw windows of kind `period` to the model's features.

    The item vocabulary is that of the training targets: the events of the windows but a window's first, each
    event once however many windows have it (NEW_TARGETS); its counts are kept. Of the recent targets alone
    there are counts, too, and of their scenes. `features.options` may keep the frequent ones alone, of items as of
    `event_attributes.vocabulary`. A history is what lies in [T - past, T) of the window's moment T, whatever else
    it has.

    Args:
      inputs: features of `schemas.names`; histories and futures are sparse `[B, n]` and `[B, m]`.
      custom_config: see `spec.TransformSettings`.

    Returns:
      The features after Transform of `schemas.names`: those of `next` windows, and of the future sparse
      `[B, m]` indices of the same vocabularies; of attributes of events those of `event_attributes.features`; of windows
      with labels also what `labelled.features` gives.
    """
    given = spec.TransformSettings.unpack(custom_config)
    window = given.window
    moment = ops.scalar(inputs[names.MOMENT])
    past, future = inputs[names.HISTORY_ITEM_ID], inputs[names.FUTURE_ITEM_ID]
    new, recent = (
        ops.last_of_both(past, future, ops.scalar(inputs[name]))
        for name in (names.NEW_TARGETS, names.RECENT_TARGETS)
    )
    items = attributes.vocabulary(new, event_fields.ITEM.table, given.features)
    tft.vocabulary(new, vocab_filename=ops.ITEM_COUNTS_VOCABULARY, store_frequency=True)
    tft.vocabulary(recent, vocab_filename=names.RECENT_ITEMS_VOCABULARY, store_frequency=True)
    outputs: dict[str, _Tensor] = {
        names.TARGET_ITEM_INDEX: ops.index_of(ops.scalar(inputs[names.TARGET_ITEM_ID]), items),
        names.SEEN_ITEM_INDEX: ops.indices_of(inputs[names.SEEN_ITEM_ID], items),
        names.FUTURE_ITEM_INDEX: ops.indices_of(future, items),
        names.FUTURE_SECONDS: _seconds_from(moment, inputs[names.FUTURE_TIMESTAMP]),
    }
    known = {}
    for event, target, target_index in (
        (event_fields.BEHAVIOR, names.TARGET_BEHAVIOR, names.TARGET_BEHAVIOR_INDEX),
        (event_fields.SCENE, names.TARGET_SCENE, names.TARGET_SCENE_INDEX),
    ):
        if event.source in inputs:
            found = event_attributes.vocabulary(inputs, event, given.features)
            outputs[target_index] = ops.index_of(ops.scalar(inputs[target]), found)
            outputs[event.future] = ops.indices_of(inputs[event.future_source], found)
            known[event.source] = found
    if names.HISTORY_SCENE in inputs:
        # Those of the recent targets alone, whose ids are counted above.
        both = inputs[names.HISTORY_SCENE], inputs[names.FUTURE_SCENE]
        scenes = ops.last_of_both(*both, ops.scalar(inputs[names.RECENT_TARGETS]))
        tft.vocabulary(scenes, vocab_filename=names.RECENT_SCENES_VOCABULARY, store_frequency=True)
    # Windows are cut so already; what a request holds is not.
    events = history.History(inputs, window.length, moment, round(window.past * ops.MS_PER_SECOND))
    outputs.update(events.features(items, known.get(names.HISTORY_BEHAVIOR), known.get(names.HISTORY_SCENE)))
    outputs.update(_seconds_before(events, moment))
    outputs.update(event_attributes.features(inputs, given, events))
    if window.label_names:
        outputs.update(labelled.features(inputs, given, events))
    users, frequencies = (ops.scalar(inputs[name]) for name in (names.USER_ID, names.USER_FREQUENCY))
    outputs.update(ops.user_features(users, frequencies))
    times = [inputs[names.HISTORY_TIMESTAMP].values, inputs[names.FUTURE_TIMESTAMP].values]
    training_times.count(tf.concat(times, axis=0))
    return outputs


def _seconds_from(moments: tf.Tensor, times: tf.SparseTensor) -> tf.SparseTensor:
    """Seconds from each row's moment `[B]` (ms) to its times `[B, m]`, float32."""
    since = times.values - tf.gather(moments, times.indices[:, 0])
    return tf.SparseTensor(times.indices, _in_seconds(since), times.dense_shape)


def _seconds_before(events: history.History, moments: tf.Tensor) -> dict[str, tf.Tensor]:
    """HISTORY_SECONDS `[B, L]`, which is made of a history alone, and SECONDS_SINCE_LAST `[B]`, float32.

    An event without a time is as old as the last one.
    """
    times = events.values(names.HISTORY_TIMESTAMP, _NO_TIME)
    given = times != _NO_TIME
    last = tf.reduce_max(times, axis=1)
    before = tf.where(given, last[:, tf.newaxis] - times, 0)
    # A moment that is before what has happened is that of the last event.
    since = tf.where(tf.reduce_any(given, axis=1), tf.maximum(moments - last, 0), 0)
    return {names.HISTORY_SECONDS: _in_seconds(before), names.SECONDS_SINCE_LAST: _in_seconds(since)}


def _in_seconds(milliseconds: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(milliseconds, tf.float64) / ops.MS_PER_SECOND, tf.float32)
