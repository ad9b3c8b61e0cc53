"""`preprocessing_fn` of TFX Transform for exposures; the same graph answers requests."""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen import spec as window_spec
from components.transform import attributes, exposure_fields, fields, history, ops, spec, training_times
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


def preprocessing_fn(inputs: dict[str, _Tensor], custom_config: dict[str, Any]) -> dict[str, _Tensor]:
    """Maps raw exposures to the features of `fields.fields_of`.

    Vocabularies, quantiles, means and deviations are those of the training exposures. The history
    is looked up in the item vocabulary of the exposures; it is what lies before the exposure, whatever else
    it has. An hour, a weekday or what is told of a history that no training exposure has is taken for the nearest, see
    `attributes.stand_ins`. A value is missing where its list is empty, the text is empty or the number is not finite.

    Args:
      inputs: features of `schemas.names`, dense `[B]` or sparse `[B, n]`.
      custom_config: see `spec.TransformSettings`.

    Returns:
      The features (of the history all that `history.History` gives, also what is no field), the labels (`[B]`)
      and USER_HASH and USER_HEAD.
    """
    given = spec.TransformSettings.unpack(custom_config)
    window, features, columns = given.window, given.features, given.columns
    tables = fields.vocabulary_tables(window, features, columns)
    outputs: dict[str, _Tensor] = {}

    users, items = _first(inputs[names.USER_ID], ""), _first(inputs[names.ITEM_ID], "")
    times = _first(inputs[names.TIMESTAMP], 0)
    training_times.count(times)
    known_items = known_scenes = None
    if names.ITEM_ID in tables:
        known_items = attributes.vocabulary(items, names.ITEM_ID, features)
    if names.ITEM_ID in features.ids:
        outputs[names.ITEM_ID + names.INDEX_SUFFIX] = attributes.lookup(items, known_items)
    if names.USER_ID in features.ids:
        known_users = attributes.vocabulary(users, names.USER_ID, features)
        outputs[names.USER_ID + names.INDEX_SUFFIX] = attributes.lookup(users, known_users)
    if exposure_fields.has_scene(features, columns):
        scenes = _first(inputs[names.SCENE], "")
        known_scenes = attributes.vocabulary(scenes, names.SCENE, features)
        outputs[names.SCENE + names.INDEX_SUFFIX] = attributes.lookup(scenes, known_scenes)
    for name, attribute in columns.attributes().items():
        if attribute.type == window_spec.MULTI:
            outputs[name + names.INDEX_SUFFIX] = _several(inputs[name], name, features)
        elif attribute.type == window_spec.CATEGORICAL:
            values = _first(inputs[name], "")
            outputs[name + names.INDEX_SUFFIX] = attributes.lookup(
                values, attributes.vocabulary(values, name, features)
            )
        else:
            outputs.update(attributes.number(_first(inputs[name], float("nan")), name, features.of(name)))
    if features.time:
        for name, number, values in (
            (names.HOUR_OF_DAY, ops.hour_of_day(times), fields.HOURS),
            (names.DAY_OF_WEEK, ops.day_of_week(times), fields.WEEKDAYS),
        ):
            index = ops.index_of_number(number)
            outputs[name + names.INDEX_SUFFIX] = attributes.trained(index, values, cyclic=True)
    if exposure_fields.has_history(window, features):
        outputs.update(_history(inputs, given, items, times, known_items, known_scenes))
    for step in window.steps:
        outputs[names.LABEL_PREFIX + step] = _first(inputs[names.LABEL_PREFIX + step], names.UNKNOWN_LABEL)
    outputs.update(ops.user_features(users, _first(inputs[names.USER_FREQUENCY], "")))
    return outputs


def _first(value: _Tensor, missing: Any) -> tf.Tensor:
    """The first value of each row, `[B]`."""
    if isinstance(value, tf.SparseTensor):
        return ops.dense(value, missing, tf.maximum(value.dense_shape, [0, 1]))[:, 0]
    return tf.reshape(value, [-1])


def _several(value: tf.SparseTensor, name: str, features: spec.FeaturesSpec) -> tf.Tensor:
    """The indices of the first `max_values` values that are there, `[B, max_values]`."""
    values = tf.RaggedTensor.from_sparse(value)
    values = tf.ragged.boolean_mask(values, values != "")
    known = attributes.vocabulary(values.flat_values, name, features)
    most = features.of(name).max_values
    indices = values.with_flat_values(attributes.lookup(values.flat_values, known))[:, :most]
    return indices.to_tensor(names.PADDING_INDEX, shape=[None, most])


def _history(
    inputs: dict[str, _Tensor],
    given: spec.TransformSettings,
    items: tf.Tensor,
    times: tf.Tensor,
    known_items: Any,
    known_scenes: Any,
) -> dict[str, tf.Tensor]:
    """The last events, see `history.History`, and what is told of them and the exposure in buckets."""
    # Windows are cut so already; what a request holds is not.
    past = history.History(inputs, given.window.history, times)
    behaviors = known_behaviors = None
    if given.columns.behavior:
        behaviors = past.values(names.HISTORY_BEHAVIOR, "")
        known_behaviors = tft.vocabulary(
            tf.boolean_mask(behaviors, past.present),
            vocab_filename=fields.vocabulary_name(fields.BEHAVIOR_TABLE),
        )
    found = past.features(known_items, known_behaviors, known_scenes, with_time=given.features.time)
    same = past.present & (past.items == items[:, tf.newaxis])
    often = tf.reduce_sum(tf.cast(same, tf.int64), axis=1)
    size = tf.reduce_sum(tf.cast(past.present, tf.int64), axis=1)
    last = past.values(names.HISTORY_TIMESTAMP, 0)[:, -1]
    seconds = (times - last) // ops.MS_PER_SECOND
    padding = tf.constant(names.PADDING_INDEX, tf.int64)
    # Without a history, or without its times.
    gap = tf.where(last == 0, padding, attributes.bucket(seconds, fields.GAP_BOUNDARIES))
    for name, index, values in (
        (
            fields.HISTORY_SIZE,
            attributes.bucket(size, fields.SIZE_BOUNDARIES),
            len(fields.SIZE_BOUNDARIES) + 1,
        ),
        (fields.HISTORY_GAP, gap, len(fields.GAP_BOUNDARIES) + 1),
        (
            fields.HISTORY_SAME,
            tf.minimum(often, exposure_fields.SAME_MOST) + names.FIRST_INDEX,
            exposure_fields.SAME_MOST + 1,
        ),
    ):
        found[name + names.INDEX_SUFFIX] = attributes.trained(index, values, missing_is_last=True)
    if behaviors is not None:
        indices = past.index(behaviors, known_behaviors)
        found[names.HISTORY_SAME_BEHAVIOR_INDEX] = tf.where(same, indices, padding)
    return found
