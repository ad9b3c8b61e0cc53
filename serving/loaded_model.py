"""One version of a model in memory: what it takes, what it answers, and what of a request it refuses."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schemas import names
from serving import export, manifest, requests, server_version, signatures, tensors

DEFAULT_SIGNATURE = "serving_default"
# Rows of one request, candidates counted: memory grows with them.
MAX_ROWS = 10_000
# Values that one request may grow to: items of its answer, or a user's values for each candidate.
MAX_VALUES = 1 << 22
_MAX_WARMUPS = 1000
_LONGEST_MESSAGE = 600
# What a request can cause; all else is the server's or the model's own.
_OF_THE_REQUEST = (
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    tf.errors.OutOfRangeError,
    tf.errors.UnimplementedError,
)


class RequestError(Exception):
    """A request that cannot be answered; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str):
        # The message travels in a header, where long ones break the connection.
        text = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
        super().__init__(text)
        self.code = code


class BrokenVersion(Exception):
    """A version that does not answer its own warm-up; the message says which signature and why."""


def function_of(functions: Mapping[str, Any], name: str) -> Any:
    """The function of a signature, by default of DEFAULT_SIGNATURE.

    Raises:
      RequestError: if there is none of that name.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in functions:
        raise RequestError(
            "FAILED_PRECONDITION",
            f"no signature {tensors.shown(name)}; the model has {', '.join(sorted(functions))}",
        )
    return functions[name]


def specs_of(function: Any) -> Mapping[str, tf.TensorSpec]:
    """What a signature's function takes, by name."""
    return function.structured_input_signature[1]


def check_inputs(name: str, specs: Mapping[str, tf.TensorSpec], inputs: Mapping[str, Any]) -> None:
    """Raises RequestError for an input that the signature has not."""
    unknown = min(set(inputs) - set(specs), default=None)
    if unknown is not None:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"unknown input {tensors.shown(unknown)}; {_renamed(unknown, specs)}{name or DEFAULT_SIGNATURE} takes "
            f"{', '.join(sorted(specs))}",
        )


def _renamed(unknown: Any, specs: Mapping[str, tf.TensorSpec]) -> str:
    """What an input is named that had its name without the prefix once."""
    name = f"{names.HISTORY_PREFIX}{unknown}"
    return f"the history's is {name}; " if name in specs else ""


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """One version in memory; requests in flight keep it alive after a newer one has come."""

    version: int
    path: str
    functions: Mapping[str, Any]
    # Keeps the variables and tables that the functions use.
    root: Any

    def predict(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature, of which every input has to be there, as for TensorFlow Serving.

        Args:
          name: of the signature.
          inputs: arrays of exactly its types; texts are objects.

        Raises:
          RequestError: for a missing, unknown or misshapen input.
        """
        name = name or DEFAULT_SIGNATURE
        function = function_of(self.functions, name)
        specs = specs_of(function)
        check_inputs(name, specs, inputs)
        feed = {key: _checked(key, specs[key], value) for key, value in inputs.items()}
        missing = min(set(specs) - set(feed), default=None)
        if missing is not None:
            raise RequestError(
                "INVALID_ARGUMENT", f"input {missing!r} is missing; {name} takes {', '.join(sorted(specs))}"
            )
        _check_rows(name, specs, feed)
        if signatures.K in feed:
            _check_k(name, function, feed)
        return run(name, function, feed)


def run(name: str, function: Any, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calls a signature's function.

    Raises:
      RequestError: INVALID_ARGUMENT where the request is to blame.
    """
    specs = specs_of(function)
    try:
        given = {key: tf.constant(value, specs[key].dtype) for key, value in feed.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(
            "INVALID_ARGUMENT", f"{name}: an input is not of its type: {tensors.shown(error)}"
        ) from error
    try:
        outputs = function(**given)
        return {key: value.numpy() for key, value in outputs.items()}
    except _OF_THE_REQUEST as error:
        raise RequestError("INVALID_ARGUMENT", f"{name}: {_sentence(error.message)}") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise RequestError("RESOURCE_EXHAUSTED", f"{name}: no memory for so large a request") from error
    except tf.errors.OpError as error:
        raise RequestError("INTERNAL", f"{name}: {_sentence(error.message)}") from error
    except UnicodeDecodeError as error:
        # TensorFlow's message has the bytes in it that it could not read.
        raise RequestError("INVALID_ARGUMENT", f"{name}: an input cannot be read") from error


def _sentence(message: str) -> str:
    """What TensorFlow says without the places in the graph."""
    lines = (line.split("[[{{")[0].split("[Op:")[0].strip() for line in message.splitlines())
    kept = [
        line for line in lines if line and not line.startswith(("Graph execution error", "Detected at node"))
    ]
    return " ".join(kept) or "cannot be answered"


def _checked(key: str, spec: tf.TensorSpec, value: np.ndarray) -> np.ndarray:
    """The value, if it has the type and the shape of the input."""
    value = requests.array_of(value)
    found = "string" if value.dtype == object else value.dtype.name
    if found != spec.dtype.name:
        raise RequestError("INVALID_ARGUMENT", f"input {key!r} wants {spec.dtype.name}, found {found}")
    if not spec.shape.is_compatible_with(value.shape):
        raise RequestError("INVALID_ARGUMENT", f"input {key!r} wants shape {spec.shape}, found {value.shape}")
    return value


def _check_rows(name: str, specs: Mapping[str, tf.TensorSpec], feed: Mapping[str, np.ndarray]) -> None:
    """Every input has a row for each row of the others, and there are not too many."""
    if not all(spec.shape.rank and spec.shape[0] is None for spec in specs.values()):
        return
    rows = {key: value.shape[0] for key, value in feed.items()}
    first = next(iter(rows), "")
    for key, count in rows.items():
        if count != rows[first]:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"every input has the same rows, one per history or exposure: {first!r} has {rows[first]}, "
                f"{key!r} {count}",
            )
    total, values = rows.get(first, 0), 0
    if signatures.CANDIDATES in feed:
        total = max(total, feed[signatures.CANDIDATES].size)
    if name == requests.PREDICT_CANDIDATES:
        width = max(value.shape[1] for key, value in feed.items() if requests.is_of_item(key))
        total = max(total, total * width)
        # What belongs to the user is repeated for every candidate.
        values = width * max(
            (value.size for key, value in feed.items() if not requests.is_of_item(key)), default=0
        )
    if total > MAX_ROWS or values > MAX_VALUES:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"a request has at most {MAX_ROWS:,} rows or candidates, and {MAX_VALUES:,} values after the user's are "
            f"repeated for each candidate; found {total:,} and {values:,}",
        )


def _check_k(name: str, function: Any, feed: Mapping[str, np.ndarray]) -> None:
    k = feed[signatures.K]
    if k.min(initial=0) < 0:
        raise RequestError(
            "INVALID_ARGUMENT", f"input 'k' is how many items are wanted, 0 or more; found {k.min()}"
        )
    most = int(k.max(initial=0))
    if len(k) < 2 or len(k) * most <= MAX_VALUES:
        return
    # Of one row no more can come than the catalogue has, which only an answer tells.
    single = {key: value[:1] for key, value in feed.items()}
    answer = run(name, function, {**single, signatures.K: np.full(1, most, np.int32)})
    most = max(value.shape[1] for value in answer.values())
    if len(k) * most > MAX_VALUES:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"{len(k):,} rows of {most:,} items are wanted at once; a request may ask for {MAX_VALUES:,} items",
        )


def load(version: int, path: str) -> LoadedModel:
    """Loads a version and has it answer its own warm-up.

    Args:
      version: its number.
      path: its folder, on any filesystem of TensorFlow.

    Raises:
      BrokenVersion: if its files are not those that were pushed, it has no signatures, or one of them
        does not answer.
      Exception: whatever TensorFlow raises for files that it cannot read.
    """
    problem = manifest.check(path)
    if problem:
        raise BrokenVersion(problem)
    too_new = server_version.problem(path, tf.__version__)
    if too_new:
        raise BrokenVersion(too_new)
    root = tf.saved_model.load(path)
    functions = dict(root.signatures)
    if not functions:
        raise BrokenVersion("it has no signatures")
    asked = set()
    for name, feed in _warm_ups(path):
        if name not in functions:
            raise BrokenVersion(f"its warm-up asks signature {name!r}, which it does not have")
        asked.add(name)
        try:
            run(name, functions[name], feed)
        except RequestError as error:
            raise BrokenVersion(f"its own warm-up is not answered: {error}") from error
    for name in sorted(set(functions) - asked):
        _try(name, functions[name])
    return LoadedModel(version, path, functions, root)


def _warm_ups(path: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The requests that an export brings along: signature and inputs."""
    file = os.path.join(path, export.EXTRA, export.WARMUP)
    if not tf.io.gfile.exists(file):
        return
    for record in tf.data.TFRecordDataset(file).take(_MAX_WARMUPS).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            yield request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs


def _try(name: str, function: Any) -> None:
    """Asks a signature without a warm-up of its own for no rows: what it needs has to be there."""
    specs = specs_of(function)
    if not all(spec.shape.rank and spec.shape[0] is None for spec in specs.values()):
        return
    feed = {
        key: np.empty(
            [0, *(size or 0 for size in spec.shape[1:])],
            object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype,
        )
        for key, spec in specs.items()
    }
    try:
        run(name, function, feed)
    except RequestError as error:
        # A graph may refuse a request without rows; that tells nothing of the version.
        if error.code != "INVALID_ARGUMENT":
            raise BrokenVersion(f"signature {name!r} does not answer: {error}") from error
