"""Which versions servers load, and their labels: `models.config` in the folder of the versions.

It is the configuration file of TensorFlow Serving (`--model_config_file`), which reads it again and again. Where it
is, a server loads the versions that it names and no others: on a bucket, where no folder can be renamed, a version
is named once all of its files are there.
"""

import dataclasses
import os
import posixpath
import uuid
from collections.abc import Mapping

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from schemas import errors, versions

FILE = "models.config"
# What clients call the model unless they are told otherwise.
NAME = "model"


@dataclasses.dataclass(frozen=True)
class Published:
    """What a server loads.

    Attributes:
      versions: oldest first; the newest answers requests that name none.
      labels: the version of each label.
      served_as: the folder of the versions as the server sees it; empty where that is the folder itself.
    """

    versions: tuple[int, ...]
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    served_as: str = ""


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
    return Published(
        tuple(sorted(models[0].model_version_policy.specific.versions)),
        dict(models[0].version_labels),
        "" if served_as == base else served_as,
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
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=NAME, base_path=published.served_as or base, model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions.extend(sorted(published.versions))
    for label, version in sorted(published.labels.items()):
        model.version_labels[label] = version
    _replace(path(base), text_format.MessageToString(config))


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


def publish(base: str, version: int) -> None:
    """Names one more version, which answers from then on; others stay as long as a label has them."""
    before = read(base) or Published(())
    write(
        base,
        dataclasses.replace(before, versions=tuple(sorted({version, *before.labels.values()}))),
    )
