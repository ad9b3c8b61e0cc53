"""A filesystem push that a server never sees half done."""

import logging
import os
import posixpath
import time
import uuid
from collections.abc import Callable
from typing import Any

from tfx.components.pusher import executor as pusher
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.live_model import executor as live_model
from components.pusher import switch
from schemas import errors
from schemas import pushed as pushed_names
from schemas import versions as version_names
from serving import manifest, published

_PARTIAL = ".pushing-"
_SAVED_MODEL = "saved_model.pb"
# Written by TensorFlow with every SavedModel: checksums of its graph and its variables.
_FINGERPRINT = "fingerprint.pb"
_PROGRESS = logging.getLogger("footfall.progress")


class PushFailed(Exception):
    """A push that could not be done, or did not leave what it should; no version has come of it."""


# A property of what was not pushed: the version that has the same model, and does not answer.
WITHDRAWN = "withdrawn"


class Executor(pusher.Executor):
    """TFX's Pusher executor, with a push that is atomic and versions that only grow."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes a blessed model to `<base_directory>/<version>`, unless the run does without; see TFX's Pusher.

        Raises:
          errors.InputError: if whether to push is said otherwise than by one of `switch.VALUES`.
          PushFailed: see `push`.
        """
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not _wanted(exec_properties.get(switch.PUSH)):
            _PROGRESS.info("nothing is pushed: the run has %s=%s", switch.PUSH, switch.NO)
            self._MarkNotPushed(pushed)
            return
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        model_path = self.GetModelPath(input_dict)
        blessing = input_dict.get(standard_component_specs.MODEL_BLESSING_KEY)
        judged = _judged_against(blessing[0]) if blessing else None
        version = push(model_path, base, judged)
        if not published.answers(base, version):
            self._MarkNotPushed(pushed)
            pushed.set_string_custom_property(WITHDRAWN, posixpath.join(base, str(version)))
            return
        io_utils.copy_dir(model_path, pushed.uri)
        self._MarkPushed(
            pushed, pushed_destination=posixpath.join(base, str(version)), pushed_version=str(version)
        )


def _wanted(push: str | None) -> bool:
    # Whoever starts a run in a form of the backend writes what they like.
    if push is not None and push not in switch.VALUES:
        raise errors.InputError(f"{switch.PUSH}: takes {' or '.join(switch.VALUES)}, found {push!r}")
    return push != switch.NO


def versions(base: str) -> list[int]:
    """The pushed versions, oldest first."""
    if not fileio.exists(base):
        return []
    return version_names.found(fileio.listdir(base))


def _judged_against(blessing: Any) -> str | None:
    """What the Evaluator has noted of the live model; None of a blessing that is from before it did."""
    if not blessing.has_custom_property(pushed_names.JUDGED_AGAINST):
        return None
    return blessing.get_string_custom_property(pushed_names.JUDGED_AGAINST)


def push(model_path: str, base: str, judged_against: str | None = None) -> int:
    """Copies a SavedModel to a new version below `base`, and verifies what it wrote.

    On a local disk the version appears with one rename, once all of it is on the disk. A bucket has no rename
    of folders, and TensorFlow Serving tries a version as soon as it sees the first of its files: there the
    version is named in `serving.published.FILE`, which says what servers load, once all of it is there. So it
    is in a local folder that has this file. The list of the files, `serving.manifest.FILE`, is part of the
    version. The model of the version that answers is not pushed again, unless that version is damaged; nor is one that a
    rollback has withdrawn, which stays so. On a local disk a push waits for another one to the same place.

    Args:
      model_path: of the SavedModel.
      base: the folder that servers watch.
      judged_against: the digest of the version that was live when the gate compared the model, or
        `pushed_names.NOTHING_LIVE`; None pushes whatever is live now.

    Returns:
      The version: the time in seconds, or one above the newest where that is not larger.

    Raises:
      PushFailed: if what was written is not what was to be written, there is no larger version, or another version is live
        than the model was judged against: a rollback or another run came between.
    """
    fileio.makedirs(base)
    remote = _is_remote(base)
    with published.locked(base):
        said = published.read(base)
        version = _push(model_path, base, remote, said, judged_against)
        if said is None and not remote or said is not None and version == max(said.versions):
            return version
        if not published.publish(base, version):
            _PROGRESS.warning(
                "%s is there and does not answer: it was withdrawn by a rollback, or a later version answers; "
                "footfall rollback --version %d has it answer",
                posixpath.join(base, str(version)),
                version,
            )
        return version


def _push(
    model_path: str, base: str, remote: bool, said: published.Published | None, judged_against: str | None
) -> int:
    there = versions(base)
    newest = there[-1:]
    expected = manifest.measure(model_path)
    found = _there_already(model_path, expected, base, there, said)
    if found is not None:
        return found
    _check_judged(base, judged_against)
    if remote:
        version = _next(newest)
        _write(model_path, expected, posixpath.join(base, str(version)))
        return version
    _remove_partial(base)
    partial = os.path.join(base, f"{_PARTIAL}{uuid.uuid4().hex}")
    try:
        _write(model_path, expected, partial)
        _sync(partial)
        version = _next(newest)
        os.rename(partial, os.path.join(base, str(version)))
    except Exception:
        # Disk full, or bytes that are not those of the model: nothing stays.
        _remove_partial(base)
        raise
    _sync_folder(base)
    return version


def _there_already(
    model_path: str,
    expected: manifest.Files,
    base: str,
    there: list[int],
    said: published.Published | None,
) -> int | None:
    """The version that makes a push of this model needless, if there is one.

    It is the one that answers, or a later one that is still to be named; or one that was withdrawn. An earlier one is pushed
    again, so that its model answers.
    """
    answers = max(said.versions) if said else max(there, default=0)
    withdrawn = said.withdrawn if said else ()
    paths = {version: posixpath.join(base, str(version)) for version in reversed(there)}
    for version, path in paths.items():
        if version >= answers and version not in withdrawn and _same(model_path, expected, path):
            return version
    # Damaged or not, these are not to answer.
    return next(
        (v for v, path in paths.items() if v in withdrawn and _same_fingerprint(model_path, path)), None
    )


def _check_judged(base: str, judged_against: str | None) -> None:
    """Raises PushFailed if another version is live than the model was judged against."""
    if judged_against is None:
        return
    # Of damaged versions LiveModel has told.
    live = live_model.newest(base, tell=False)
    if (live["digest"] or pushed_names.NOTHING_LIVE) == judged_against:
        return
    before = (
        "no model"
        if judged_against == pushed_names.NOTHING_LIVE
        else f"a model with the digest {judged_against}"
    )
    now = f"{live['path']} (digest {live['digest']})" if live["path"] else "none"
    raise PushFailed(
        f"the model was judged when {before} was live, and now {now} is: another run or a rollback came between. Nothing was "
        "pushed; run again, so that the model is judged against what is live"
    )


def _is_remote(place: str) -> bool:
    return "://" in place


def _remove_partial(base: str) -> None:
    """Removes what killed pushes have left in a local folder."""
    for left in os.listdir(base):
        if left.startswith(_PARTIAL):
            fileio.rmtree(os.path.join(base, left))


def _next(newest: list[int]) -> int:
    version = max(int(time.time()), *(v + 1 for v in newest), 1)
    if version > version_names.LARGEST:
        raise PushFailed(f"version {newest[0]} is the largest there can be; take it away, and push again")
    return version


def _same_fingerprint(model_path: str, version: str) -> bool:
    """Whether a version was this model when it was pushed."""
    paths = [posixpath.join(folder, _FINGERPRINT) for folder in (model_path, version)]
    if not all(fileio.exists(path) for path in paths):
        return False
    contents = []
    for path in paths:
        with fileio.open(path, "rb") as stream:
            contents.append(stream.read())
    return contents[0] == contents[1]


def _same(model_path: str, expected: manifest.Files, version: str) -> bool:
    """Whether a version is this model, and whole."""
    if not _same_fingerprint(model_path, version):
        return False
    problem = manifest.difference(version, expected)
    if problem:
        _PROGRESS.warning("%s is damaged: %s; the model is pushed again", version, problem)
    return not problem


def _write(source: str, expected: manifest.Files, target: str) -> None:
    """Copies a SavedModel, and reads what came of it before and after its graph makes it a version."""
    graph = {_SAVED_MODEL: expected[_SAVED_MODEL]} if _SAVED_MODEL in expected else {}

    def verify_all_but_graph() -> None:
        _verify(target, {name: of for name, of in expected.items() if name not in graph})
        manifest.write(target, expected)

    _copy(source, target, verify_all_but_graph)
    try:
        _verify(target, graph)
    except PushFailed:
        fileio.remove(posixpath.join(target, _SAVED_MODEL))
        raise


def _verify(target: str, expected: manifest.Files) -> None:
    problem = manifest.difference(target, expected)
    if problem:
        raise PushFailed(f"what was written to {target} is not the model: {problem}")


def _copy(source: str, target: str, before_graph: Callable[[], None] = lambda: None) -> None:
    """Copies a SavedModel's folder, its graph last."""
    io_utils.copy_dir(source, target, deny_regex_patterns=[r"saved_model\.pb"])
    before_graph()
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
