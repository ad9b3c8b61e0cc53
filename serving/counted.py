"""Which histories have an event that counts: asked of a served model's own transform graph, as `vocabularies` asks.

What lies outside of a model's period before the moment is cut away there, as is what does not lie before an exposure, and a
history without any event is answered, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import names
from serving import moments, requests


def examples(
    takes: Mapping[str, Any], histories: Sequence[Sequence[requests.Row]], told: Sequence[int | None]
) -> np.ndarray:
    """Serialized tf.Examples `[B]` of the items and times of histories, and their moments or those of their exposures.

    Args:
      takes: the inputs of a signature.
      histories: lists of events that fit it.
      told: the moment of each, ms; None: right after the last event. Of exposures their `timestamp`.

    Raises:
      ValueError: for what is no list of events.
    """
    made, prefixed = [], _has_prefix(takes)
    # Without a prefix an item and a time are those of the history.
    own = set(takes) if prefixed else {names.MOMENT} & set(takes)
    for number, (history, moment) in enumerate(zip(histories, told)):
        requests.check_events(history, f"history {number}")
        example = tf.train.Example()
        for name in (names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP):
            key = requests.key_of_event(name)
            feature = example.features.feature[name if prefixed else key]
            if name == names.HISTORY_TIMESTAMP:
                feature.int64_list.value.extend(event[key] for event in history)
            else:
                texts = (requests.value_of(event[key], tf.string, key) for event in history)
                feature.bytes_list.value.extend(map(tf.compat.as_bytes, texts))
        for name in (names.MOMENT, names.TIMESTAMP):
            if name in own:
                value = moments.NOT_TOLD if moment is None else moment
                example.features.feature[name].int64_list.value.append(value)
        if names.ITEM_ID in own:
            # An example has to have one; which it is decides on no event.
            example.features.feature[names.ITEM_ID].bytes_list.value.append(b"")
        made.append(example.SerializeToString())
    return np.array(made, object)


def are_exposures(takes: Mapping[str, Any]) -> bool:
    """Whether what a signature asks about is exposures, each with a time of its own beside its history's."""
    return _has_prefix(takes) and names.TIMESTAMP in takes


def _has_prefix(takes: Mapping[str, Any]) -> bool:
    """Whether a history has names of its own: a model that was exported earlier takes those of its events."""
    return names.HISTORY_ITEM_ID in takes


def is_empty(takes: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of which of `examples` no event counts, `[B]` bool; of a model that does not tell, of none."""
    index = outputs.get(names.HISTORY_ITEM_INDEX)
    if index is None and not _has_prefix(takes):
        index = outputs.get(names.HISTORY_ITEM_INDEX.removeprefix(names.HISTORY_PREFIX))
    if index is None:
        return np.zeros(0, bool)
    return (index == names.PADDING_INDEX).all(axis=1)
