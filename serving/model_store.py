"""Finds the versions of a model in a folder as TensorFlow Serving lays it out, and follows changes."""

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from schemas import versions
from serving import loaded_model, published, tensors
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
    """The versions of a model that answer; a thread looks for changes.

    A version is a folder named by a positive int64 (see `schemas.versions`) that holds `saved_model.pb`. The
    newest sound one answers; where `serving.published.FILE` names versions, all of these that are sound, the
    newest of them unless a request names one. A new one is loaded beside the old, which answers until the
    exchange, and is taken once it has answered its own warm-up. One that does not is reported once, and tried
    again when its files are others (it may still be on its way) and a few times later. When the version that
    answers is taken away, the newest sound one before it takes its place; where there is none, it goes on from
    memory. As TensorFlow Serving it refuses a file in which a label moves to a version that is not loaded: until
    that is, it goes on with what the file said before. The file that says to load it comes first, and may come and go
    while the thread loads another version, which TensorFlow Serving does beside reading: a label's version is then
    loaded without that file.

    Args:
      base: the folder with the versions, on any filesystem of TensorFlow.
      poll_seconds: time between two looks.
      loaded: called when there is a version that answers, of which one stays from then on.
    """

    def __init__(self, base: str, poll_seconds: float = 1.0, loaded: Callable[[], None] = lambda: None):
        self._base, self._poll_seconds, self._on_load = base, poll_seconds, loaded
        # Exchanged as a whole, so that a request needs no lock.
        self._loaded: dict[int, LoadedModel] = {}
        # What the file said when it was taken last; None for every version.
        self._followed: published.Published | None = None
        # When the file was read last, and whether one before it may have been missed that says to load a version.
        self._read_at = time.monotonic()
        self._missed = False
        self._ended: set[int] = set()
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
        """The version that answers requests which name none."""
        loaded = self._loaded
        return loaded[max(loaded)] if loaded else None

    @property
    def _labels(self) -> Mapping[str, int]:
        followed = self._followed
        return followed.labels if followed else {}

    def get(self, version: int | None = None, label: str = "") -> LoadedModel:
        """The model of a request.

        Args:
          version: that it names, if any.
          label: that it names, if any.

        Raises:
          RequestError: if no version, or not this one, is loaded; for a label that is none; for both at once.
        """
        loaded = self._loaded
        if not loaded:
            raise RequestError("UNAVAILABLE", f"no version below {self._base} is loaded")
        if label:
            if version is not None:
                raise RequestError("INVALID_ARGUMENT", "a request names a version or a label, found both")
            version = self._labels.get(label)
            if version is None:
                raise RequestError("INVALID_ARGUMENT", f"no version is labelled {tensors.shown(label)}")
        if version is None:
            return loaded[max(loaded)]
        if version not in loaded:
            there = f"version {max(loaded)} is" if len(loaded) == 1 else f"{sorted(loaded)} are"
            raise RequestError("NOT_FOUND", f"version {version} is not loaded, {there}")
        return loaded[version]

    def states(self, version: int | None = None, label: str = "") -> dict[int, tuple[str, str]]:
        """Versions, newest first: the state of each, as TensorFlow Serving calls it, and what is wrong with it.

        Args:
          version: the only one that is asked for.
          label: that it has, in place of its number.

        Raises:
          RequestError: if there is no version at all, or the one that is asked for was never here; for labels as
            `get`.
        """
        if label:
            version = self.get(version, label).version
        loaded = self._loaded
        if not loaded and not self._broken:
            self.get()
        found = dict.fromkeys(self._ended, ("END", ""))
        found |= {number: ("END", broken.reason) for number, broken in list(self._broken.items())}
        found |= dict.fromkeys(loaded, ("AVAILABLE", ""))
        if version is not None:
            if version not in found:
                raise RequestError("NOT_FOUND", f"there is no version {version}")
            return {version: found[version]}
        return {number: found[number] for number in sorted(found, reverse=True)}

    def refresh(self) -> None:
        """Loads the newest sound version, or those that are published, as far as they are not in memory.

        Raises:
          OSError, tf.errors.OpError: if the folder cannot be read.
          errors.InputError: if the file that names the published versions cannot be read.
        """
        with self._looking:
            kept_since = time.monotonic() - _KEPT_SECONDS
            self._replaced = [(at, model) for at, model in self._replaced if at > kept_since]
            there, named = self._versions(), self._read()
            for gone in set(self._broken) - set(there):
                del self._broken[gone]
            followed, labels = self._followed, named.labels if named else {}
            moved = self._moved(labels)
            if moved and self._missed and followed:
                beside = {*followed.versions, *moved.values()}
                self._take([v for v in there if v in beside], len(beside))
                moved = self._moved(labels)
            self._missed = self._missed and bool(moved)
            followed = followed if moved else named
            names = followed.versions if followed else ()
            sound = self._take([v for v in there if v in names] if followed else there, len(names) or 1)
            # After the versions that its labels name are there.
            self._followed = followed
            if moved:
                self._say(self._refusal(moved))
            elif sound:
                self._said = ""
            else:
                self._say_kept(names)

    def _read(self) -> published.Published | None:
        """What the file says; what it has said in between is missed where the look before has taken long."""
        began = time.monotonic()
        named = published.read(self._base)
        self._missed |= time.monotonic() - self._read_at >= published.READ_SECONDS
        self._read_at = began
        return named

    def _moved(self, labels: Mapping[str, int]) -> dict[str, int]:
        """For which of a file's labels TensorFlow Serving takes nothing of it, with their versions."""
        return published.moved(self._labels, labels, self._loaded)

    def _refusal(self, moved: Mapping[str, int]) -> str:
        before = self._labels
        moves = (
            f"label {label!r} moves from version {before[label]} to {version}, which is not loaded"
            for label, version in sorted(moved.items())
        )
        return f"{published.path(self._base)} is not followed: {'; '.join(moves)}"

    def _take(self, wanted: list[int], most: int) -> bool:
        """Has the newest `most` sound ones of some versions answer, and none else, if there are any."""
        sound: dict[int, LoadedModel] = {}
        for version in reversed(wanted):
            if len(sound) == most:
                break
            model = self._loaded.get(version) or self._load(version)
            if model is not None:
                sound[version] = model
        if not sound:
            return False
        before = self._loaded
        self._loaded = sound
        if sound.keys() != before.keys():
            self._on_load()
        for version in sorted(set(before) - set(sound)):
            self._replaced.append((time.monotonic(), before[version]))
            self._ended.add(version)
        self._ended -= set(sound)
        return True

    def _load(self, version: int) -> LoadedModel | None:
        path = os.path.join(self._base, str(version))
        # Looked at before loading, so that what comes meanwhile counts as a change.
        files, before = _files(path), self._broken.get(version)
        if before is not None and before.files == files:
            waited = time.monotonic() - before.tried_at >= _RETRY_SECONDS
            if not waited or before.tries > _RETRIES:
                return None
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
            return None
        self._broken.pop(version, None)
        _LOG.info("version %d loaded from %s", version, path)
        return model

    def _say_kept(self, named: Sequence[int]) -> None:
        """No version that is to answer is sound: what is in memory goes on."""
        model = self.model
        if model is None:
            return
        if named:
            self._say(
                f"{published.path(self._base)} names {', '.join(map(str, named))}, none of which loads: version {model.version} "
                "goes on answering from memory; footfall rollback names an earlier one"
            )
            return
        self._say(
            f"version {model.version} is no longer below {self._base}, nor is another sound one: it goes "
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
