"""Finds the versions of a model in a folder as TensorFlow Serving lays it out, and follows changes."""

import dataclasses
import logging
import os
import threading
import time

import tensorflow as tf

from schemas import versions
from serving import loaded_model
from serving.loaded_model import LoadedModel, RequestError

_LOG = logging.getLogger("footfall.serving")
_SAVED_MODEL = "saved_model.pb"
# A version that does not load may be sound and the filesystem, or the memory, short for a while. TensorFlow
# Serving has the same numbers.
_RETRIES = 5
_RETRY_SECONDS = 60.0
# How long a version is kept that has been replaced. To free one takes a while, and would else be done by the last
# request that uses it, before its answer.
_KEPT_SECONDS = 30.0

_Files = list[tuple[str, int, int]]


@dataclasses.dataclass
class _Broken:
    """A version that did not load: the files that it had, why, how often and when it was tried."""

    files: _Files
    reason: str
    tries: int
    tried_at: float


class ModelStore:
    """The newest sound version of a model; a thread looks for changes.

    A version is a folder named by a positive int64 (see `schemas.versions`) that holds `saved_model.pb`. A
    newer one is loaded beside the old, which answers until the exchange, and is taken once it has answered
    its own warm-up. One that does not is reported once, and tried again when its files are others (it may
    still be on its way) and a few times later. When the version that answers is taken away, the newest
    sound one before it takes its place; where there is none, it goes on from memory.

    Args:
      base: the folder with the versions, on any filesystem of TensorFlow.
      poll_seconds: time between two looks.
    """

    def __init__(self, base: str, poll_seconds: float = 1.0):
        self._base, self._poll_seconds = base, poll_seconds
        self._model: LoadedModel | None = None
        self._broken: dict[int, _Broken] = {}
        # What was replaced, and when.
        self._replaced: list[tuple[float, LoadedModel]] = []
        # What was said last of the folder itself, so that a look every second is no line every second.
        self._said = ""
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="model-store", daemon=True)
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Stops looking."""
        self._stopped.set()
        self._thread.join()

    @property
    def model(self) -> LoadedModel | None:
        """The version that answers now."""
        return self._model

    def get(self, version: int | None = None) -> LoadedModel:
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
        """Loads the newest sound version, if it is not the one in memory.

        Raises:
          OSError, tf.errors.OpError: if the folder cannot be read.
        """
        with self._looking:
            kept_since = time.monotonic() - _KEPT_SECONDS
            self._replaced = [(at, model) for at, model in self._replaced if at > kept_since]
            there = self._versions()
            for gone in set(self._broken) - set(there):
                del self._broken[gone]
            for version in reversed(there):
                if self._model is not None and version == self._model.version:
                    break
                if self._load(version):
                    break
            else:
                self._say_kept()
                return
            self._said = ""

    def _load(self, version: int) -> bool:
        path = os.path.join(self._base, str(version))
        # Looked at before loading, so that what comes meanwhile counts as a change.
        files, before = _files(path), self._broken.get(version)
        if before is not None and before.files == files:
            waited = time.monotonic() - before.tried_at >= _RETRY_SECONDS
            if not waited or before.tries > _RETRIES:
                return False
        else:
            before = None
        try:
            model = loaded_model.load(version, path)
        except Exception as error:  # noqa: BLE001  TensorFlow raises anything for a broken file
            reason = " ".join(str(error).split())[:500] or type(error).__name__
            if before is None or before.reason != reason:
                _LOG.error("version %d does not load: %s", version, reason)
            tries = before.tries + 1 if before else 1
            self._broken[version] = _Broken(files, reason, tries, time.monotonic())
            return False
        self._broken.pop(version, None)
        if self._model is not None:
            self._replaced.append((time.monotonic(), self._model))
        self._model = model
        _LOG.info("version %d loaded from %s", version, path)
        return True

    def _say_kept(self) -> None:
        """No version below the folder is sound: what is in memory goes on."""
        if self._model is None:
            return
        self._say(
            f"version {self._model.version} is no longer below {self._base}, nor is another sound one: it goes "
            "on answering from memory"
        )

    def _say(self, text: str) -> None:
        if text != self._said:
            _LOG.error("%s", text)
            self._said = text

    def _versions(self) -> list[int]:
        if not tf.io.gfile.exists(self._base):
            return []
        return [
            version
            for version in versions.found(tf.io.gfile.listdir(self._base))
            if _holds_a_model(os.path.join(self._base, str(version)))
        ]

    def _look(self) -> None:
        try:
            self.refresh()
        except Exception as error:  # noqa: BLE001  whatever comes of a look, there is a next one
            self._say(f"cannot look for versions below {self._base}: {error}")

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            self._look()


def _holds_a_model(path: str) -> bool:
    file = os.path.join(path, _SAVED_MODEL)
    try:
        return tf.io.gfile.exists(file) and not tf.io.gfile.isdir(file)
    except tf.errors.OpError:
        # One folder that cannot be read hides none of the others.
        return False


def _files(path: str) -> _Files:
    """The files below a folder with their sizes in bytes and times of change in ns."""
    found = []
    for folder, _, files in tf.io.gfile.walk(path):
        for name in (os.path.join(folder, file) for file in files):
            try:
                status = tf.io.gfile.stat(name)
            except tf.errors.OpError:
                found.append((name, -1, -1))
            else:
                found.append((name, status.length, status.mtime_nsec))
    return sorted(found)
