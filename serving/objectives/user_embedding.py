"""What a served model of the objective `user_embedding` answers: the embeddings of users."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import embedding, module, signatures
from serving import training_times as served_times
from serving.objectives import Outputs, ranking, times

# The signature whose latency counts.
TIMED = "embed"
_EMBEDDING = ("embed", "serving_default", "evaluate")
# What one model may differ from itself, asked in another way: sums in another order, no more.
_TOLERANCE = 1e-3
# What an example needs to be transformed: as for items.
complete = ranking.complete


def is_of(outputs: Outputs) -> bool:
    """Whether a model with these signatures embeds users and no more."""
    return names.EMBEDDING in outputs.get("evaluate", ())


def served(
    model: Any, transform_output: tft.TFTransformOutput, exclude_seen: bool, index: Any = None
) -> module.ModelModule:
    """The module that is exported; see `embedding.EmbeddingModule`. Nothing is left out of its answers."""
    return embedding.EmbeddingModule(model, transform_output, exclude_seen)


def index_of(feature: str) -> str:
    """The feature after Transform that has the index of a raw value: of items, or of an attribute of events."""
    return ranking.INDEX_OF.get(feature, feature + names.INDEX_SUFFIX)


def make_requests(known: Mapping[str, Any], examples: list[bytes]) -> dict[str, dict[str, np.ndarray]]:
    """A real request for each signature.

    Args:
      known: `SignatureDef` by name.
      examples: serialized windows, at least one.
    """
    takes = known["embed"].inputs if "embed" in known else {}
    parsed = [tf.train.Example.FromString(example).features.feature for example in examples]
    serialized = {signatures.EXAMPLES: np.asarray(examples, object)}
    by_examples = dict.fromkeys(("serving_default", "transform_features", "evaluate"), serialized)
    return {
        **by_examples,
        "embed": ranking.histories_of(takes, parsed),
        **times.make_request(known, len(examples)),
    }


def check(name: str, request: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> str:
    """`ok`, or what is wrong with the answer of a signature."""
    rows = len(next(iter(request.values())))
    for key, value in outputs.items():
        if value.shape[:1] != (rows,) and name != "transform_features":
            return f"{key} has shape {list(value.shape)} for {rows} rows"
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{key} has values that are not finite"
    if name in _EMBEDDING and outputs[names.EMBEDDING].ndim != 2:
        return f"{names.EMBEDDING} has shape {list(outputs[names.EMBEDDING].shape)}, not two dimensions"
    return times.check(outputs) if name == served_times.SIGNATURE else "ok"


def compare(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """Whether `serving_default` says otherwise than `embed` of the same histories, and how."""
    if not {"embed", "serving_default"} <= set(answers):
        return {}
    found, expected = (answers[name][names.EMBEDDING] for name in ("serving_default", "embed"))
    if np.allclose(found, expected, _TOLERANCE, _TOLERANCE):
        return {}
    return {
        "serving_default": f"{names.EMBEDDING} differs from that of embed by {np.abs(found - expected).max():g}"
    }
