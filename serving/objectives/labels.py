"""What a served model of the objective `labels` answers: how likely each label is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import conversion, module, requests, signatures, vocabularies
from serving import training_times as served_times
from serving.objectives import Outputs, times

# The signature whose latency counts.
TIMED = requests.PREDICT
# What one model may differ from itself, asked in another way: sums in another order, no more.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-6
# A feature's index has its name; but the items of the history, which are no feature by themselves.
_HISTORY_ITEM = "history_item"


def is_of(outputs: Outputs) -> bool:
    """Whether a model with these signatures gives the probabilities of labels."""
    return requests.PREDICT in outputs


def served(
    model: Any, transform_output: tft.TFTransformOutput, exclude_seen: bool, index: Any = None
) -> module.ModelModule:
    """The module that is exported; see `conversion.ConversionModule`. Nothing is left out of its answers."""
    return conversion.ConversionModule(model, transform_output)


def index_of(feature: str) -> str:
    """The feature after Transform that has the index of a raw value."""
    return (_HISTORY_ITEM if feature == names.HISTORY_ITEM_ID else feature) + names.INDEX_SUFFIX


def complete(values: dict[str, Any]) -> None:
    """Adds to an example what it needs to be transformed: the parts of a history have one length."""
    values.setdefault(names.ITEM_ID, [""])
    values[names.TIMESTAMP] = [vocabularies.TIME]
    if any(map(requests.is_of_history, values)):
        values.setdefault(names.HISTORY_ITEM_ID, ["?"])
        values.setdefault(names.HISTORY_BEHAVIOR, [""])
        values.setdefault(names.HISTORY_SCENE, [""])
        # What is not before the exposure is none of its history.
        values[names.HISTORY_TIMESTAMP] = [vocabularies.TIME - 1]


def make_requests(known: Mapping[str, Any], examples: list[bytes]) -> dict[str, dict[str, np.ndarray]]:
    """A real request for each signature.

    Args:
      known: `SignatureDef` by name.
      examples: serialized, at least one. In `predict_candidates` each user has all their items.
    """
    serialized = {signatures.EXAMPLES: np.asarray(examples, object)}
    takes = known[requests.PREDICT].inputs
    rows = [_row(example, takes) for example in examples]
    made = {
        "serving_default": serialized,
        "transform_features": serialized,
        "evaluate": serialized,
        requests.PREDICT: requests.of_exposures(takes, rows),
        **times.make_request(known, len(examples)),
    }
    # Left out by a model that reads nothing of the items.
    if requests.PREDICT_CANDIDATES in known:
        of_item = [{n: v for n, v in row.items() if requests.is_of_item(n)} for row in rows]
        asked = []
        for row in rows:
            user = {n: v for n, v in row.items() if not requests.is_of_item(n)}
            history = user.pop(requests.HISTORY_KEY, ())
            asked.append(
                requests.of_candidates(known[requests.PREDICT_CANDIDATES].inputs, user, history, of_item)
            )
        made[requests.PREDICT_CANDIDATES] = _stacked(asked)
    return made


def _row(example: bytes, takes: Mapping[str, Any]) -> dict[str, Any]:
    """An example as a client would write the exposure."""
    features = tf.train.Example.FromString(example).features.feature

    def values(name: str) -> list[Any]:
        kind = features[name].WhichOneof("kind") if name in features else None
        return list(getattr(features[name], kind).value) if kind else []

    row: dict[str, Any] = {}
    for name, info in takes.items():
        if requests.is_of_history(name):
            continue
        found = values(name)
        row[name] = found if len(info.tensor_shape.dim) > 1 else found[0] if found else None
    history = {name: values(name) for name in takes if requests.is_of_history(name)}
    if history:
        row[requests.HISTORY_KEY] = requests.events(history)
    return row


def _stacked(asked: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Requests of one user each as one; histories and lists are padded to the longest."""
    result = {}
    for name in asked[0]:
        parts = [request[name] for request in asked]
        shape = np.max([part.shape for part in parts], axis=0)
        blank = "" if parts[0].dtype == object else 0
        padded = [
            np.pad(part, [(0, to - size) for to, size in zip(shape, part.shape)], constant_values=blank)
            for part in parts
        ]
        result[name] = np.concatenate(padded)
    return result


def check(name: str, request: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> str:
    """`ok`, or what is wrong with the answer of a signature."""
    of_candidates = name == requests.PREDICT_CANDIDATES
    shape = next(v for n, v in request.items() if not of_candidates or requests.is_of_item(n)).shape
    shape = shape[: 2 if of_candidates else 1]
    for key, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{key} has values that are not finite"
        if name == "transform_features":
            if value.shape[:1] != shape:
                return f"{key} has shape {list(value.shape)} for {shape[0]} rows"
        elif value.shape != shape:
            return f"{key} has shape {list(value.shape)}, not {list(shape)}"
        elif name != served_times.SIGNATURE and not ((value >= 0) & (value <= 1)).all():
            return f"{key} is no probability: it goes from {value.min():g} to {value.max():g}"
    return times.check(outputs) if name == served_times.SIGNATURE else "ok"


def compare(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """The signatures that say otherwise than `predict` of the same exposures, and how.

    Args:
      answers: to the requests of `make_requests`, by signature, as far as they came.
    """
    if requests.PREDICT not in answers:
        return {}
    expected = answers[requests.PREDICT]
    wrong = {}
    for name in ("serving_default", "evaluate", requests.PREDICT_CANDIDATES):
        if name not in answers:
            continue
        for step, value in expected.items():
            found = answers[name].get(step)
            if found is None:
                wrong[name] = f"no {step}, which predict has"
                break
            # Each user's own item is the candidate of the same place.
            found = np.diagonal(found) if name == requests.PREDICT_CANDIDATES else found
            if not np.allclose(found, value, _RELATIVE, _ABSOLUTE):
                row = int(np.argmax(np.abs(found - value)))
                wrong[name] = f"{step} of row {row} is {found[row]:g}, and {value[row]:g} by predict"
                break
    return wrong
