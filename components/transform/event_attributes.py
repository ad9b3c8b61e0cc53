"""The attributes of the events of windows of a period: of histories, and of what follows."""

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from components.transform import attributes, event_fields, history, ops, spec
from schemas import names

_Tensor: TypeAlias = tf.Tensor | tf.SparseTensor


def features(
    inputs: dict[str, _Tensor], given: spec.TransformSettings, events: history.History
) -> dict[str, _Tensor]:
    """Indices `[B, L]` of the histories' attributes, and sparse `[B, m]` ones of what follows.

    Values of both have one vocabulary, numbers one set of buckets. A missing value has PADDING_INDEX.

    Args:
      inputs: raw windows.
      given: the settings.
      events: of the histories.
    """
    outputs: dict[str, _Tensor] = {}
    for event in event_fields.attributes(given.columns):
        past = events.values(event.source, float("nan") if event.numeric else "")
        future = inputs[event.future_source]
        index = _index(inputs, event, given.features)
        # Each side by itself: what is made of a history must not hang on what a request lacks.
        outputs[event.history] = index(past)
        outputs[event.future] = tf.SparseTensor(future.indices, index(future.values), future.dense_shape)
    return outputs


def vocabulary(
    inputs: dict[str, _Tensor], event: event_fields.EventField, features: spec.FeaturesSpec
) -> Any:
    """Of a text that events have: every value or, where options keep only some, those that enough events have.

    Events are counted as items are: once however many windows have them (NEW_TARGETS), which overlap.

    Args:
      inputs: raw windows.
      event: the text.
      features: with its options.
    """
    past, future = inputs[event.source], inputs[event.future_source]
    if features.of(event.event).limited:
        values = ops.last_of_both(past, future, ops.scalar(inputs[names.NEW_TARGETS]))
    else:
        values = tf.concat([past.values, future.values], axis=0)
    return attributes.vocabulary(values, event.table, features)


def _index(
    inputs: dict[str, _Tensor], event: event_fields.EventField, features: spec.FeaturesSpec
) -> Callable[[tf.Tensor], tf.Tensor]:
    """What tells the indices of values of any shape, learnt from those of training."""
    if event.numeric:
        values = tf.concat([inputs[event.source].values, inputs[event.future_source].values], axis=0)
        options = features.of(event.event)
        boundaries = attributes.boundaries(values, options)
        if options.boundaries is None:
            return lambda numbers: attributes.place(numbers, boundaries)
        read = attributes.stand_ins(attributes.place(values, boundaries), options.number_of_buckets)
        return lambda numbers: tf.gather(read, attributes.place(numbers, boundaries))
    known = vocabulary(inputs, event, features)
    return lambda texts: attributes.lookup(texts, known)
