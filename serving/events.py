"""Histories of serialized examples, whose values have to be of the same events."""

from typing import Any

import tensorflow as tf

from schemas import names
from serving import requests


def row_lengths(values: tf.SparseTensor) -> tf.Tensor:
    """How many values each row has, `[B]` int64."""
    return tf.RaggedTensor.from_sparse(values).row_lengths()


def checked(parsed: dict[str, Any]) -> dict[str, Any]:
    """Parsed features, once each row's values of events are as many as its events.

    Of what a row has no value at all, all are missing. With some missing, all that follow would be taken for other events'.

    Args:
      parsed: by name; those of a history, if there are any, sparse, `[B, n]`.

    Raises:
      tf.errors.InvalidArgumentError: when it is asked, naming the feature.
    """
    if names.HISTORY_ITEM_ID not in parsed:
        return parsed
    events = row_lengths(parsed[names.HISTORY_ITEM_ID])
    checks = []
    for name, values in parsed.items():
        if not requests.is_of_history(name) or not isinstance(values, tf.SparseTensor):
            continue
        found = row_lengths(values)
        checks.append(
            tf.debugging.assert_equal(
                tf.reduce_all((found == 0) | (found == events)),
                True,
                message=f"{name} has more or fewer values than {names.HISTORY_ITEM_ID}: write an empty text, or NaN, for "
                "an event that lacks one",
            )
        )
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.nest.map_structure(tf.identity, parsed, expand_composites=True)
