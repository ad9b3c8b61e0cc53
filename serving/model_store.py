"""Loads the versions of a model from a folder as TensorFlow Serving lays it out, and follows new ones."""

import dataclasses
import logging
import os
import threading
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from serving import requests
from serving import signatures

_LOG = logging.getLogger("footfall.serving")
_SAVED_MODEL = "saved_model.pb"


class RequestError(Exception):
    """A request that cannot be answered; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """One version in memory; requests in flight keep it alive after a newer one has come."""

    version: int
    path: str
    functions: Mapping[str, Any]
    # Keeps the variables and tables that the functions use.
    root: Any

    def signature(self, name: str) -> Any:
        """The function of a signature.

        Raises:
          RequestError: if there is none of that name.
        """
        name = name or "serving_default"
        if name not in self.functions:
            raise RequestError(
                "NOT_FOUND", f"no signature {name!r}; the model has {', '.join(sorted(self.functions))}"
            )
        return self.functions[name]

    def predict(self, name: str, inputs: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Runs a signature; inputs for which something can stand may be left out.

        Raises:
          RequestError: for a missing, unknown or misshapen input.
        """
        function = self.signature(name)
        specs = function.structured_input_signature[1]
        unknown = sorted(set(inputs) - set(specs))
        if unknown:
            raise RequestError(
                "INVALID_ARGUMENT", f"unknown input {unknown[0]!r}; {name} takes {', '.join(sorted(specs))}"
            )
        feed = {}
        for key, spec in sorted(specs.items()):
            value = inputs[key] if key in inputs else _default(name, key, spec, inputs)
            if value is None:
                raise RequestError(
                    "INVALID_ARGUMENT", f"input {key!r} is missing; {name} takes {', '.join(sorted(specs))}"
                )
            feed[key] = _checked(key, spec, value)
        try:
            outputs = function(**feed)
        except tf.errors.OpError as error:
            raise RequestError("INVALID_ARGUMENT", f"{name}: {error.message}") from error
        except UnicodeDecodeError as error:
            # TensorFlow's message has the bytes in it that it could not read.
            raise RequestError("INVALID_ARGUMENT", f"{name}: an input cannot be read") from error
        return {key: value.numpy() for key, value in outputs.items()}


def _default(
    signature: str, key: str, spec: tf.TensorSpec, inputs: Mapping[str, np.ndarray]
) -> Optional[np.ndarray]:
    if signature in (requests.PREDICT, requests.PREDICT_CANDIDATES):
        return requests.missing(signature, key, spec.dtype, spec.shape.rank, inputs)
    if key not in (signatures.K, signatures.EXCLUDE):
        return None
    rows = next((np.shape(value)[0] for value in inputs.values() if np.ndim(value)), 0)
    return (
        np.full(rows, signatures.DEFAULT_K, np.int32) if key == signatures.K else np.empty([rows, 0], object)
    )


def _checked(key: str, spec: tf.TensorSpec, value: np.ndarray) -> tf.Tensor:
    try:
        tensor = tf.constant(value, spec.dtype)
    except (TypeError, ValueError) as error:
        raise RequestError(
            "INVALID_ARGUMENT", f"input {key!r} wants {spec.dtype.name}, found {np.asarray(value).dtype}"
        ) from error
    if not spec.shape.is_compatible_with(tensor.shape):
        raise RequestError(
            "INVALID_ARGUMENT", f"input {key!r} wants shape {spec.shape}, found {tensor.shape}"
        )
    return tensor


class ModelStore:
    """The newest loadable version of a model; a thread looks for newer ones.

    A version is a folder named by an integer that holds `saved_model.pb`. A newer one is
    loaded beside the old, which answers until the exchange. One that does not load is
    reported, and left alone until its files are others: it may still be on its way.

    Args:
      base: the folder with the versions, on any filesystem of TensorFlow.
      poll_seconds: time between two looks.
    """

    def __init__(self, base: str, poll_seconds: float = 1.0):
        self._base, self._poll_seconds = base, poll_seconds
        self._model: Optional[LoadedModel] = None
        self._broken: Dict[int, List[Tuple[str, int]]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-store", daemon=True)
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stops looking."""
        self._stopped.set()
        self._thread.join()

    @property
    def model(self) -> Optional[LoadedModel]:
        """The version that answers now."""
        return self._model

    def get(self, version: Optional[int] = None) -> LoadedModel:
        """The model, if it is of the version that is asked for.

        Raises:
          RequestError: if no version, or not this one, is loaded.
        """
        model = self._model
        if model is None:
            raise RequestError("UNAVAILABLE", f"no version below {self._base} is loaded")
        if version is not None and version != model.version:
            raise RequestError("NOT_FOUND", f"version {version} is not loaded, version {model.version} is")
        return model

    def refresh(self) -> None:
        """Loads the newest version, if it is not the one in memory."""
        for version in reversed(self._versions()):
            if self._model is not None and version <= self._model.version:
                return
            path = os.path.join(self._base, str(version))
            # Looked at before loading, so that what comes meanwhile counts as a change.
            files = _files(path)
            if self._broken.get(version) == files:
                continue
            try:
                root = tf.saved_model.load(path)
                self._model = LoadedModel(version, path, dict(root.signatures), root)
            except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
                self._broken[version] = files
                _LOG.error("version %d does not load: %s", version, error)
                continue
            _LOG.info("version %d loaded from %s", version, path)
            return

    def _versions(self) -> List[int]:
        if not tf.io.gfile.exists(self._base):
            return []
        found = (name.rstrip("/") for name in tf.io.gfile.listdir(self._base))
        return sorted(
            int(name)
            for name in found
            if name.isdigit() and tf.io.gfile.exists(os.path.join(self._base, name, _SAVED_MODEL))
        )

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.refresh()
            except (OSError, tf.errors.OpError) as error:
                _LOG.error("cannot look for versions below %s: %s", self._base, error)


def _files(path: str) -> List[Tuple[str, int]]:
    """The files below a folder with their sizes in bytes."""
    found = []
    for folder, _, files in tf.io.gfile.walk(path):
        names = (os.path.join(folder, file) for file in files)
        found += [(name, tf.io.gfile.stat(name).length) for name in names]
    return sorted(found)
