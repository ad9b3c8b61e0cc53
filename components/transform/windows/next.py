"""`preprocessing_fn` of TFX Transform: raw `next` windows to indices; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import history, ops, spec, training_times
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

    target = ops.scalar(inputs[names.TARGET_ITEM_ID])
    targets, recent = _targets(
        inputs[names.HISTORY_ITEM_ID], target, ops.scalar(inputs[names.RECENT_TARGETS])
    )
    item_vocabulary = tft.vocabulary(targets, vocab_filename=names.ITEM_VOCABULARY)
    tft.vocabulary(targets, vocab_filename=ops.ITEM_COUNTS_VOCABULARY, store_frequency=True)
    tft.vocabulary(recent, vocab_filename=names.RECENT_ITEMS_VOCABULARY, store_frequency=True)
    outputs[names.TARGET_ITEM_INDEX] = ops.index_of(target, item_vocabulary)
    outputs[names.SEEN_ITEM_INDEX] = ops.indices_of(inputs[names.SEEN_ITEM_ID], item_vocabulary)

    known = {}
    for raw, raw_target, vocabulary, target_index in (
        (
            names.HISTORY_BEHAVIOR,
            names.TARGET_BEHAVIOR,
            names.BEHAVIOR_VOCABULARY,
            names.TARGET_BEHAVIOR_INDEX,
        ),
        (names.HISTORY_SCENE, names.TARGET_SCENE, names.SCENE_VOCABULARY, names.TARGET_SCENE_INDEX),
    ):
        if raw in inputs:
            target = ops.scalar(inputs[raw_target])
            values = tf.concat([inputs[raw].values, target], axis=0)
            known[raw] = tft.vocabulary(values, vocab_filename=vocabulary)
            outputs[target_index] = ops.index_of(target, known[raw])

    outputs.update(
        history.History(inputs, length).features(
            item_vocabulary, known.get(names.HISTORY_BEHAVIOR), known.get(names.HISTORY_SCENE)
        )
    )
    outputs.update(
        ops.user_features(ops.scalar(inputs[names.USER_ID]), ops.scalar(inputs[names.USER_FREQUENCY]))
    )
    times = [inputs[names.HISTORY_TIMESTAMP].values, ops.scalar(inputs[names.TARGET_TIMESTAMP])]
    training_times.count(tf.concat(times, axis=0))
    return outputs


def _targets(history: tf.SparseTensor, target: tf.Tensor, recent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What a model that learns from every place of the windows is trained to predict.

    Args:
      history: the ids of the events, `[B, n]`.
      target: what follows them, `[B]`.
      recent: how many of each row's targets, the last ones, are recent, `[B]`.

    Returns:
      All targets, `[T]`, and the recent ones: each event but the first of its row, and `target`.
    """
    rows, places = history.indices[:, 0], history.indices[:, 1]
    sizes = ops.row_sizes(history, tf.size(target))
    # 1 is the event right before `target`, which is a row's last target itself.
    before = tf.gather(sizes, rows) - places
    follows = places > 0
    is_recent = follows & (before < tf.gather(recent, rows))
    return (
        tf.concat([tf.boolean_mask(history.values, follows), target], axis=0),
        tf.concat([tf.boolean_mask(history.values, is_recent), tf.boolean_mask(target, recent > 0)], axis=0),
    )
