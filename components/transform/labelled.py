"""What windows of a period have for models of labels, besides what those of next items read."""

from typing import TypeAlias

import tensorflow as tf

from components.behavior_example_gen import spec as window_spec
from components.transform import attributes, fields, history, ops, period_fields, spec
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


def features(
    inputs: dict[str, _Tensor], given: spec.TransformSettings, events: history.History
) -> dict[str, tf.Tensor]:
    """The labels and those fields of `period_fields.fields_of` that are not of a history's events.

    Moments of training have few hours and weekdays, if not one: their `stride` decides. Requests have any; see
    `attributes.trained`.

    Args:
      inputs: raw windows.
      given: the settings.
      events: of the history.

    Returns:
      Labels and indices, `[B]`.
    """
    wanted, columns = given.features, given.columns
    moments = ops.scalar(inputs[names.MOMENT])
    outputs: dict[str, tf.Tensor] = {}
    for label in given.window.label_names:
        outputs[names.LABEL_PREFIX + label] = ops.scalar(inputs[names.LABEL_PREFIX + label])
    if period_fields.has_user(wanted):
        outputs[names.USER_ID + names.INDEX_SUFFIX] = _of_text(inputs, names.USER_ID, wanted)
    for name, attribute in columns.attributes().items():
        if name.startswith(names.USER_PREFIX) and attribute.type == window_spec.CATEGORICAL:
            outputs[name + names.INDEX_SUFFIX] = _of_text(inputs, name, wanted)
    if wanted.time:
        for name, number, values in (
            (names.HOUR_OF_DAY, ops.hour_of_day(moments), fields.HOURS),
            (names.DAY_OF_WEEK, ops.day_of_week(moments), fields.WEEKDAYS),
        ):
            index = ops.index_of_number(number)
            outputs[name + names.INDEX_SUFFIX] = attributes.trained(index, values, cyclic=True)
    if wanted.history:
        outputs.update(_of_whole(events, moments))
    return outputs


def _of_text(inputs: dict[str, _Tensor], name: str, wanted: spec.FeaturesSpec) -> tf.Tensor:
    values = ops.scalar(inputs[name])
    return attributes.lookup(values, attributes.vocabulary(values, name, wanted))


def _of_whole(events: history.History, moments: tf.Tensor) -> dict[str, tf.Tensor]:
    """In buckets, how many events a history has, and how long before the moment the last one was."""
    size = tf.reduce_sum(tf.cast(events.present, tf.int64), axis=1)
    last = events.values(names.HISTORY_TIMESTAMP, 0)[:, -1]
    seconds = tf.maximum(moments - last, 0) // ops.MS_PER_SECOND
    gap = attributes.bucket(seconds, fields.GAP_BOUNDARIES)
    padding = tf.constant(names.PADDING_INDEX, tf.int64)
    return {
        name + names.INDEX_SUFFIX: attributes.trained(index, len(boundaries) + 1, missing_is_last=True)
        for name, index, boundaries in (
            (fields.HISTORY_SIZE, attributes.bucket(size, fields.SIZE_BOUNDARIES), fields.SIZE_BOUNDARIES),
            (fields.HISTORY_GAP, tf.where(events.present[:, -1], gap, padding), fields.GAP_BOUNDARIES),
        )
    }
