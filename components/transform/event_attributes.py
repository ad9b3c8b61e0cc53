"""The attributes of the events of windows of a period: of histories, and of what follows."""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from components.transform import attributes, event_fields, history, spec

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
        index = _index(event, tf.concat([tf.reshape(past, [-1]), future.values], axis=0), given.features)
        # Each side by itself: what is made of a history must not hang on what a request lacks.
        outputs[event.history] = index(past)
        outputs[event.future] = tf.SparseTensor(future.indices, index(future.values), future.dense_shape)
    return outputs


def _index(
    event: event_fields.EventField, values: tf.Tensor, features: spec.FeaturesSpec
) -> Callable[[tf.Tensor], tf.Tensor]:
    """What tells the indices of values of any shape, learnt from those of training `[N]`."""
    if event.numeric:
        boundaries = attributes.boundaries(values, features.of(event.event))
        return lambda numbers: attributes.place(numbers, boundaries)
    known = attributes.vocabulary(values, event.table, features)
    return lambda texts: attributes.lookup(texts, known)
