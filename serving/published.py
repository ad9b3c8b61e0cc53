"""Which versions servers load, and their labels: `models.config` in the folder of the versions.

It is the configuration file of TensorFlow Serving (`--model_config_file`), which reads it again and again. Where it
is, a server loads the versions that it names and no others: on a bucket, where no folder can be renamed, a version
is named once all of its files are there. A comment in it names the versions that a rollback has withdrawn, which
are not published again by a push that finds its model there already.
"""

import contextlib
import dataclasses
import fcntl
import os
import posixpath
import re
import time
import uuid
from collections.abc import Collection, Iterator, Mapping

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from schemas import errors, versions

FILE = "models.config"
# What clients call the model unless they are told otherwise.
NAME = "model"
# How often servers read the file (`--model_config_file_poll_wait_seconds` where they are deployed), and after how long
# each of them has.
POLL_SECONDS = 15
READ_SECONDS = POLL_SECONDS + 5.0
_WITHDRAWN = "# withdrawn:"


@dataclasses.dataclass(frozen=True)
class Published:
    """What a server loads.

    Attributes:
      versions: oldest first; the newest answers requests that name none.
      labels: the version of each label.
      served_as: the folder of the versions as the server sees it; empty where that is the folder itself.
      withdrawn: what a rollback has taken back, oldest first.
    """

    versions: tuple[int, ...]
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    served_as: str = ""
    withdrawn: tuple[int, ...] = ()


def path(base: str) -> str:
    """Where the file is, for the folder of the versions."""
    return posixpath.join(base, FILE)


def read(base: str) -> Published | None:
    """What is published; None where that is every version, as there is no such file.

    Raises:
      errors.InputError: if the file is none that TensorFlow Serving would read, or names no version.
    """
    if not tf.io.gfile.exists(path(base)):
        return None
    with tf.io.gfile.GFile(path(base), "r") as stream:
        text = stream.read()
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise errors.InputError(
            f"{path(base)}: not a configuration of TensorFlow Serving: {error}"
        ) from error
    models = list(config.model_config_list.config)
    if len(models) != 1 or not models[0].model_version_policy.specific.versions:
        raise errors.InputError(
            f"{path(base)}: one model with model_version_policy.specific is expected, found {len(models)} models"
        )
    served_as = models[0].base_path
    # TensorFlow Serving takes no relative path, so that one is an old slip.
    if served_as == _absolute(base) or not _is_absolute(served_as):
        served_as = ""
    withdrawn = re.findall(rf"^{_WITHDRAWN}(.*)$", text, re.MULTILINE)
    return Published(
        tuple(sorted(models[0].model_version_policy.specific.versions)),
        dict(models[0].version_labels),
        served_as,
        tuple(sorted(versions.found(" ".join(withdrawn).split()))),
    )


def write(base: str, published: Published) -> None:
    """Writes the file, as one change.

    Raises:
      errors.InputError: for a label of a version that is not loaded, or a number that is none.
    """
    wrong = [version for version in published.versions if versions.parse(str(version)) is None]
    if wrong or not published.versions:
        raise errors.InputError(
            f"versions are positive numbers, at least one, found {list(published.versions)}"
        )
    for label, version in published.labels.items():
        if version not in published.versions:
            raise errors.InputError(f"the label {label!r} is of version {version}, which is not published")
    if published.served_as and not _is_absolute(published.served_as):
        raise errors.InputError(
            f"the folder as the server sees it is an absolute path or a URI, found {published.served_as!r}"
        )
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=NAME, base_path=published.served_as or _absolute(base), model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions.extend(sorted(published.versions))
    for label, version in sorted(published.labels.items()):
        model.version_labels[label] = version
    text = text_format.MessageToString(config)
    if published.withdrawn:
        text = f"{_WITHDRAWN} {' '.join(map(str, sorted(published.withdrawn)))}\n{text}"
    _replace(path(base), text)


def unread_seconds(base: str) -> float:
    """How long it takes until all servers have read what somebody else has written; 0 if they have, or there is no file.

    It goes by the time of the file, and so by two clocks: whoever has written it waits for `READ_SECONDS`.
    """
    if not tf.io.gfile.exists(path(base)):
        return 0.0
    age = time.time() - 1e-9 * tf.io.gfile.stat(path(base)).mtime_nsec
    # Another machine's clock may be ahead.
    return min(max(READ_SECONDS - age, 0.0), READ_SECONDS)


def moved(before: Mapping[str, int], after: Mapping[str, int], loaded: Collection[int]) -> dict[str, int]:
    """Labels that go from one version to another one that is not loaded, with that.

    TensorFlow Serving refuses them, and with them all else of the file; it takes a new label for any version
    (`--allow_version_labels_for_unavailable_models`).
    """
    return {
        label: version
        for label, version in after.items()
        if before.get(label, version) != version and version not in loaded
    }


def _is_absolute(place: str) -> bool:
    return "://" in place or os.path.isabs(place)


def _absolute(base: str) -> str:
    return base if "://" in base else os.path.abspath(base)


def _replace(target: str, text: str) -> None:
    if "://" in target:
        # An object of a bucket is there as a whole, or not.
        with tf.io.gfile.GFile(target, "w") as stream:
            stream.write(text)
        return
    partial = f"{target}.{uuid.uuid4().hex}"
    try:
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def publish(base: str, version: int) -> bool:
    """Names one more version, which answers from then on; others stay as long as a label has them.

    Returns:
      Whether it answers now: not if it was withdrawn, or a later one answers already.
    """
    before = read(base) or Published(())
    if version in before.withdrawn or any(later > version for later in before.versions):
        return False
    loaded = {version, *before.labels.values()}
    write(base, dataclasses.replace(before, versions=tuple(sorted(loaded))))
    return True


def answers(base: str, version: int) -> bool:
    """Whether a version that is there answers requests that name none.

    Not if it was withdrawn, or a later one has taken its place, also where it has a label, and so is loaded.
    """
    said = read(base)
    return said is None or version == max(said.versions)


@contextlib.contextmanager
def locked(base: str) -> Iterator[None]:
    """Keeps others that push or publish out of a local folder; let go of when the process ends, however it does."""
    if "://" in base:
        yield
        return
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
