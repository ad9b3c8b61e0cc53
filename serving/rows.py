"""TensorFlow Serving's JSON: requests by rows (`instances`) or by columns (`inputs`), and their answers."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving import loaded_model, model_store, tensors


def read(
    request: Any, model: model_store.LoadedModel
) -> tuple[str, Mapping[str, tf.TensorSpec], dict[str, Any]]:
    """The signature, what it takes, and the values of its inputs, as nested lists.

    Args:
      request: parsed JSON.
      model: that is asked.

    Raises:
      ValueError: if the request is no such object.
      loaded_model.RequestError: for a signature or an input that the model has not.
    """
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise ValueError("a request is an object with either 'instances' or 'inputs'")
    name = request.get("signature_name", loaded_model.DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise ValueError(f"'signature_name' is a text, found {tensors.shown(name)}")
    specs = loaded_model.specs_of(loaded_model.function_of(model.functions, name))
    values = (
        _by_columns(request["inputs"], specs)
        if "inputs" in request
        else _by_rows(request["instances"], specs)
    )
    loaded_model.check_inputs(name, specs, values)
    return name, specs, values


def _by_columns(given: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if isinstance(given, dict) and not _is_bytes(given):
        return given
    return {_only(specs, "'inputs' is an object"): given}


def _by_rows(rows: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if not isinstance(rows, list) or not rows:
        raise ValueError("'instances' is a list with at least one row")
    if all(isinstance(row, dict) and not _is_bytes(row) for row in rows):
        wanted = set(rows[0])
        for number, row in enumerate(rows):
            if set(row) != wanted:
                odd = min(set(row) ^ wanted)
                raise ValueError(
                    f"all rows of 'instances' have the same inputs: {tensors.shown(odd)} is in row 0 or in row "
                    f"{number}, not in both"
                )
        return {key: [row[key] for row in rows] for key in rows[0]}
    return {_only(specs, "a row of 'instances' is an object"): rows}


def _is_bytes(value: Mapping[str, Any]) -> bool:
    return set(value) == {"b64"}


def _only(specs: Mapping[str, tf.TensorSpec], wanted: str) -> str:
    """The name of the one input, which a request may leave away."""
    if len(specs) != 1:
        raise ValueError(
            f"{wanted} by the names of the signature's inputs: {', '.join(sorted(specs)) or 'none'}"
        )
    return next(iter(specs))


def write(request: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """An answer as the request asked for it: by rows or by columns; one output needs no name.

    Raises:
      loaded_model.RequestError: if the outputs have no common rows.
    """
    encoded = {key: _encode(key, value) for key, value in outputs.items()}
    single = next(iter(encoded.values())) if len(encoded) == 1 else None
    if "inputs" in request:
        return {"outputs": encoded if single is None else single}
    lengths = {np.shape(value)[:1] for value in outputs.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise loaded_model.RequestError(
            "INVALID_ARGUMENT", "the outputs have no common rows: ask with 'inputs', which answers by column"
        )
    if single is not None:
        return {"predictions": single}
    return {"predictions": [dict(zip(encoded, row)) for row in zip(*encoded.values())]}


def _encode(key: str, value: np.ndarray) -> Any:
    """Bytes as text, or in base64 where the output's name ends with `_bytes`, as TensorFlow Serving does."""
    if value.dtype != object:
        return value.tolist()
    encode = _base64 if key.endswith("_bytes") else _text
    return _mapped(value.tolist(), encode)


def _mapped(value: Any, function: Any) -> Any:
    return [_mapped(item, function) for item in value] if isinstance(value, list) else function(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}
