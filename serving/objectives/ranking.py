"""What a served model of the objective `ranking` answers: which items, in which order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import module, moments, requests, search, signatures, vocabularies
from serving import training_times as served_times
from serving.objectives import Outputs, times

# The signature whose latency counts.
TIMED = "recommend"
# What signatures recommend: the output, and its words.
_RECOMMENDED = {
    "recommend": (names.ITEM_ID, "an item"),
    "serving_default": (names.ITEM_ID, "an item"),
    signatures.RECOMMEND_SCENES: (names.SCENE, "a scene"),
}
# By which feature after Transform the index of a raw value is told.
INDEX_OF = {
    names.HISTORY_ITEM_ID: names.HISTORY_ITEM_INDEX,
    names.HISTORY_BEHAVIOR: names.HISTORY_BEHAVIOR_INDEX,
    names.HISTORY_SCENE: names.HISTORY_SCENE_INDEX,
}

# Where an example has values of a type, what stands for a missing one, and the type of their array.
_KINDS: dict[int, tuple[str, Any, Any]] = {
    tf.string.as_datatype_enum: ("bytes_list", b"", object),
    tf.int64.as_datatype_enum: ("int64_list", 0, np.int64),
    tf.float32.as_datatype_enum: ("float_list", np.nan, np.float32),
}


def is_of(outputs: Outputs) -> bool:
    """Whether a model with these signatures ranks items."""
    return names.RANK in outputs.get("evaluate", ())


def served(
    model: Any, transform_output: tft.TFTransformOutput, exclude_seen: bool, index: Any = None
) -> module.ModelModule:
    """The module that is exported; see `signatures.ServingModule`."""
    return signatures.ServingModule(model, transform_output, exclude_seen, index)


def index_of(feature: str) -> str:
    """The feature after Transform that has the index of a raw value.

    Raises:
      ValueError: for a feature that is no input with a vocabulary.
    """
    if feature not in INDEX_OF:
        raise ValueError(f"{feature!r} has no vocabulary; {', '.join(INDEX_OF)} have one")
    return INDEX_OF[feature]


def complete(values: dict[str, Any]) -> None:
    """Adds to an example what it needs to be transformed: an event has all of what the log has."""
    # An event without an item is none, and its other values are not looked at.
    values.setdefault(names.HISTORY_ITEM_ID, ["?"])
    for name in INDEX_OF:
        values.setdefault(name, [""])
    values[names.HISTORY_TIMESTAMP] = [vocabularies.TIME]
    # A model that was exported when a history had no prefix reads these.
    values.update({requests.key_of_event(name): values[name] for name in names.HISTORY})


def histories_of(takes: Mapping[str, Any], parsed: Sequence[Any]) -> dict[str, np.ndarray]:
    """What a signature takes of the histories of windows, padded to the longest, and of models of periods their moments.

    Args:
      takes: the inputs of the signature: name to `TensorInfo`.
      parsed: the features of each window, as of a tf.Example.
    """
    longest = _longest(parsed)
    histories: dict[str, np.ndarray] = {}
    for name in filter(requests.is_of_history, takes):
        kind, missing, dtype = _KINDS[takes[name].dtype]
        values = np.full([len(parsed), longest], missing, dtype)
        for row, features in enumerate(parsed):
            found = getattr(features[name], kind).value
            values[row, : len(found)] = list(found)
        histories[name] = values
    if names.MOMENT in takes:
        of_each = [list(features[names.MOMENT].int64_list.value) or [moments.NOT_TOLD] for features in parsed]
        histories[names.MOMENT] = np.array([values[0] for values in of_each], np.int64)
    return histories


def _longest(parsed: Sequence[Any]) -> int:
    return max(len(features[names.HISTORY_ITEM_ID].bytes_list.value) for features in parsed)


def make_requests(known: Mapping[str, Any], examples: list[bytes]) -> dict[str, dict[str, np.ndarray]]:
    """A real request for each signature.

    Args:
      known: `SignatureDef` by name.
      examples: serialized windows, at least one.
    """
    takes = known["recommend"].inputs if "recommend" in known else {}
    parsed = [tf.train.Example.FromString(example).features.feature for example in examples]
    longest = _longest(parsed)
    histories = histories_of(takes, parsed)
    serialized = np.asarray(examples, object)
    items = sorted({item for p in parsed for item in p[names.HISTORY_ITEM_ID].bytes_list.value})[:longest]
    candidates = np.asarray([items] * len(parsed), object)
    excluded = np.asarray([items[:1]] * len(parsed), object)
    wanted = np.full(len(parsed), search.DEFAULT_K, np.int32)
    of_scenes = {signatures.RECOMMEND_SCENES: {**histories, signatures.K: wanted}}
    return {
        "serving_default": {signatures.EXAMPLES: serialized},
        "transform_features": {signatures.EXAMPLES: serialized},
        "evaluate": {signatures.EXAMPLES: serialized},
        **times.make_request(known, len(parsed)),
        "embed": histories,
        "rank": {**histories, signatures.CANDIDATES: candidates},
        "recommend": {**histories, signatures.EXCLUDE: excluded, signatures.K: wanted},
        **(of_scenes if signatures.RECOMMEND_SCENES in known else {}),
    }


def check(name: str, request: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> str:
    """`ok`, or what is wrong with the answer of a signature."""
    rows = len(next(iter(request.values())))
    for key, value in outputs.items():
        if value.shape[:1] != (rows,) and name != "transform_features":
            return f"{key} has shape {list(value.shape)} for {rows} rows"
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{key} has values that are not finite"
    if name in _RECOMMENDED:
        key, what = _RECOMMENDED[name]
        for row, values in enumerate(outputs[key]):
            found = [value for value in values if value]
            if len(set(found)) != len(found):
                return f"row {row} recommends {what} twice"
            if name == "recommend" and set(found) & set(request[signatures.EXCLUDE][row]):
                return f"row {row} recommends an excluded item"
    if name == "evaluate" and not (outputs[names.RANK] >= 1).all():
        return "a rank is below 1"
    if name == served_times.SIGNATURE:
        return times.check(outputs)
    return "ok"


def compare(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """Nothing is asked twice in different ways."""
    return {}
