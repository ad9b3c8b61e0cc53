"""A filesystem push that a server never sees half done."""

import contextlib
import fcntl
import os
import posixpath
import time
import uuid
from typing import Any, Dict, Iterator, List

from tfx.components.pusher import executor as pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

_PARTIAL = ".pushing-"
_SAVED_MODEL = "saved_model.pb"
# Written by TensorFlow with every SavedModel: checksums of its graph and its variables.
_FINGERPRINT = "fingerprint.pb"


class Executor(pusher.Executor):
    """TFX's Pusher executor, with a push that is atomic and versions that only grow."""

    def Do(
        self,
        input_dict: Dict[str, List[Any]],
        output_dict: Dict[str, List[Any]],
        exec_properties: Dict[str, Any],
    ) -> None:
        """Pushes a blessed model to `<base_directory>/<version>`; see TFX's Pusher."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        model_path = self.GetModelPath(input_dict)
        version = push(model_path, base)
        io_utils.copy_dir(model_path, pushed.uri)
        self._MarkPushed(
            pushed, pushed_destination=posixpath.join(base, str(version)), pushed_version=str(version)
        )


def versions(base: str) -> List[int]:
    """The pushed versions, oldest first."""
    if not fileio.exists(base):
        return []
    found = (name.rstrip("/") for name in fileio.listdir(base))
    return sorted(int(name) for name in found if name.isdigit())


def push(model_path: str, base: str) -> int:
    """Copies a SavedModel to a new version below `base`.

    On a local disk the version appears with one rename. A bucket has no rename of folders:
    there `saved_model.pb`, by which a server tells that a version is there, is copied last.
    The model that is the newest version already is not pushed again. On a local disk a push waits for
    another one to the same place.

    Returns:
      The version: the time in seconds, or one above the newest where that is not larger.
    """
    fileio.makedirs(base)
    remote = "://" in base
    with contextlib.nullcontext() if remote else _locked(base):
        newest = versions(base)[-1:]
        if newest and _same(model_path, posixpath.join(base, str(newest[0]))):
            return newest[0]
        if remote:
            version = _next(newest)
            _copy(model_path, posixpath.join(base, str(version)))
            return version
        for left in os.listdir(base):
            # Of a push that was killed.
            if left.startswith(_PARTIAL):
                fileio.rmtree(os.path.join(base, left))
        partial = os.path.join(base, f"{_PARTIAL}{uuid.uuid4().hex}")
        _copy(model_path, partial)
        _sync(partial)
        version = _next(newest)
        os.rename(partial, os.path.join(base, str(version)))
        _sync_folder(base)
        return version


def _next(newest: List[int]) -> int:
    return max(int(time.time()), *(v + 1 for v in newest), 1)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keeps other pushes out of a local folder; it is let go of when the process ends, however it does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _same(model_path: str, version: str) -> bool:
    paths = [posixpath.join(folder, _FINGERPRINT) for folder in (model_path, version)]
    if not all(fileio.exists(path) for path in paths) or not fileio.exists(
        posixpath.join(version, _SAVED_MODEL)
    ):
        return False
    contents = []
    for path in paths:
        with fileio.open(path, "rb") as stream:
            contents.append(stream.read())
    return contents[0] == contents[1]


def _copy(source: str, target: str) -> None:
    io_utils.copy_dir(source, target, deny_regex_patterns=[r"saved_model\.pb"])
    io_utils.copy_file(posixpath.join(source, _SAVED_MODEL), posixpath.join(target, _SAVED_MODEL))


def _sync(folder: str) -> None:
    for path, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(path)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
