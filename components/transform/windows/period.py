"""`preprocessing_fn` of TFX Transform: raw `period` windows to indices; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import event_attributes, history, labelled, ops, spec, training_times
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor
# Earlier than any.
_NO_TIME = -(2**62)


def preprocessing_fn(inputs: dict[str, _Tensor], custom_config: dict[str, Any]) -> dict[str, _Tensor]:
    """Maps raw windows of kind `period` to the model's features.

    The item vocabulary is that of the training targets: the events of the windows but a window's first, each
    event once however many windows have it (NEW_TARGETS); its counts are kept. Of the recent targets alone
    there are counts, too, and of their scenes. A history is what lies in [T - past, T) of the window's moment T,
    whatever else it has.

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
        _last_of_both(past, future, ops.scalar(inputs[name]))
        for name in (names.NEW_TARGETS, names.RECENT_TARGETS)
    )
    items = tft.vocabulary(new, vocab_filename=names.ITEM_VOCABULARY)
    tft.vocabulary(new, vocab_filename=ops.ITEM_COUNTS_VOCABULARY, store_frequency=True)
    tft.vocabulary(recent, vocab_filename=names.RECENT_ITEMS_VOCABULARY, store_frequency=True)
    outputs: dict[str, _Tensor] = {
        names.TARGET_ITEM_INDEX: ops.index_of(ops.scalar(inputs[names.TARGET_ITEM_ID]), items),
        names.SEEN_ITEM_INDEX: ops.indices_of(inputs[names.SEEN_ITEM_ID], items),
        names.FUTURE_ITEM_INDEX: ops.indices_of(future, items),
        names.FUTURE_SECONDS: _seconds_from(moment, inputs[names.FUTURE_TIMESTAMP]),
    }
    known = {}
    for raw, vocabulary, target, target_index, following, future_index in (
        (
            names.HISTORY_BEHAVIOR,
            names.BEHAVIOR_VOCABULARY,
            names.TARGET_BEHAVIOR,
            names.TARGET_BEHAVIOR_INDEX,
            names.FUTURE_BEHAVIOR,
            names.FUTURE_BEHAVIOR_INDEX,
        ),
        (
            names.HISTORY_SCENE,
            names.SCENE_VOCABULARY,
            names.TARGET_SCENE,
            names.TARGET_SCENE_INDEX,
            names.FUTURE_SCENE,
            names.FUTURE_SCENE_INDEX,
        ),
    ):
        if raw in inputs:
            values = tf.concat([inputs[raw].values, inputs[following].values], axis=0)
            known[raw] = tft.vocabulary(values, vocab_filename=vocabulary)
            outputs[target_index] = ops.index_of(ops.scalar(inputs[target]), known[raw])
            outputs[future_index] = ops.indices_of(inputs[following], known[raw])
    if names.HISTORY_SCENE in inputs:
        # Those of the recent targets alone, whose ids are counted above.
        both = inputs[names.HISTORY_SCENE], inputs[names.FUTURE_SCENE]
        scenes = _last_of_both(*both, ops.scalar(inputs[names.RECENT_TARGETS]))
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


def _last_of_both(past: tf.SparseTensor, future: tf.SparseTensor, number: tf.Tensor) -> tf.Tensor:
    """The last values of each row of `past` followed by `future`, as many as it has in `number` `[B]`.

    Args:
      past: `[B, n]`.
      future: `[B, m]`.
      number: at most n + m.
    """
    rows = tf.size(number)
    behind = ops.row_sizes(future, rows)
    kept = []
    for part, later in ((past, behind), (future, tf.zeros_like(behind))):
        row, place = part.indices[:, 0], part.indices[:, 1]
        # From the row's end: 1 is its last value.
        from_end = tf.gather(ops.row_sizes(part, rows) + later, row) - place
        kept.append(tf.boolean_mask(part.values, from_end <= tf.gather(number, row)))
    return tf.concat(kept, axis=0)
