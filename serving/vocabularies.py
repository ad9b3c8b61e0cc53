"""Which values a served model knows: asked of its own transform graph, by any server and without a
signature more.

`transform_features` gives the index of each value, and OOV_INDEX of what no vocabulary has. Each value is
asked in an example of its own (with one of every other feature beside it), since features have a length.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import names
from serving import requests

SIGNATURE = "transform_features"
_OF_EVENTS = tuple(name for name in names.HISTORY if name != names.HISTORY_TIMESTAMP)
# Any time: it decides no vocabulary's index.
TIME = 1_600_000_000_000

Values = Mapping[str, Sequence[str]]


def of_histories(
    histories: Sequence[Sequence[Mapping[str, Any]]], takes: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """The distinct items, behaviours and scenes of histories as a client takes them, by the name of the input.

    Args:
      histories: lists of events.
      takes: the inputs of a signature: with the attributes of events among them.

    Raises:
      ValueError: for what is no list of events.
    """
    of_events = [*_OF_EVENTS, *(name for name in _texts(takes or {}) if requests.is_of_history(name))]
    found: dict[str, dict[str, None]] = {name: {} for name in of_events}
    for number, history in enumerate(histories):
        requests.check_events(history, f"history {number}")
        for event in history:
            for name in of_events:
                value = event.get(requests.key_of_event(name))
                if value not in (None, ""):
                    found[name][_text(value)] = None
    return {name: list(values) for name, values in found.items() if values}


def of_exposures(takes: Mapping[str, Any], rows: Sequence[requests.Row]) -> dict[str, list[str]]:
    """The distinct texts of exposures as a client takes them, by the name of the input.

    Raises:
      ValueError: for a history that is no list of events.
    """
    texts = _texts(takes)
    found: dict[str, dict[str, None]] = {name: {} for name in texts}
    for number, row in enumerate(rows):
        history = row.get(requests.HISTORY_KEY) or ()
        requests.check_events(history, f"exposure {number}: {requests.HISTORY_KEY}")
        for name in texts:
            if requests.is_of_history(name):
                key = requests.key_of_event(name)
                given = [event.get(key) for event in history]
            else:
                value = row.get(name)
                given = list(value) if isinstance(value, (list, tuple)) else [value]
            for value in given:
                if value not in (None, ""):
                    found[name][_text(value)] = None
    return {name: list(values) for name, values in found.items() if values}


def _texts(takes: Mapping[str, Any]) -> list[str]:
    return [name for name, info in takes.items() if info.dtype == tf.string.as_datatype_enum]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def batches(given: Values, rows: int) -> Iterator[dict[str, list[str]]]:
    """The values in parts of at most `rows` of each feature."""
    for first in range(0, max(map(len, given.values()), default=0), rows):
        part = {name: list(values[first : first + rows]) for name, values in given.items()}
        yield {name: values for name, values in part.items() if values}


def examples(given: Values, complete: Callable[[dict[str, Any]], None]) -> np.ndarray:
    """Serialized tf.Examples, `[B]` objects: row r has value r of every feature, or its last one.

    Args:
      given: values by the name of the feature.
      complete: adds the other features that are read; see `objectives`.
    """
    rows = max(map(len, given.values()))
    made = []
    for row in range(rows):
        values: dict[str, Any] = {name: [of[min(row, len(of) - 1)]] for name, of in given.items()}
        complete(values)
        made.append(_serialized(values))
    return np.array(made, object)


def _serialized(values: Mapping[str, Sequence[Any]]) -> bytes:
    example = tf.train.Example()
    for name, given in values.items():
        feature = example.features.feature[name]
        if isinstance(given[0], int):
            feature.int64_list.value.extend(given)
        else:
            feature.bytes_list.value.extend(text.encode("utf-8") for text in given)
    return example.SerializeToString()


def unknown(
    given: Values, outputs: Mapping[str, np.ndarray], index_of: Callable[[str], str]
) -> dict[str, list[str]]:
    """The values of `examples(given)` whose index in the answer is OOV_INDEX, by the name of the feature."""
    found = {}
    for name, values in given.items():
        index = outputs.get(index_of(name))
        if index is None:
            # Of a model of next items that was exported when its history had no prefix.
            index = outputs.get(index_of(name).removeprefix(names.HISTORY_PREFIX))
        if index is None:
            continue
        # A row has one value, and padding.
        largest = index.reshape(len(index), -1).max(axis=1)
        missing = [value for value, at in zip(values, largest) if at == names.OOV_INDEX]
        if missing:
            found[name] = missing
    return found
