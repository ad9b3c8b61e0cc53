"""Which TensorFlow Serving can load a model: one of the TensorFlow that has made it, or a newer one.

TensorFlow promises that a SavedModel can be read by later versions, and nothing of earlier ones: an operation, or an
attribute of one, may be unknown there.
"""

import os
import re
from importlib import metadata

# The newest release of the server for the TensorFlow of each lock, see requirements/.
RELEASES = {"2.16": "2.16.1", "2.21": "2.21.0"}
_IMAGE = "tensorflow/serving"
_VERSION = re.compile(r"(\d+)\.(\d+)")


def of_tensorflow(version: str | None = None) -> str:
    """The server's version for a TensorFlow's, by default for the one that is installed."""
    found = _VERSION.match(version or metadata.version("tensorflow"))
    assert found is not None
    return RELEASES.get(found.group(), f"{found.group()}.0")


def image() -> str:
    """The server's image for the TensorFlow that is installed."""
    return f"{_IMAGE}:{of_tensorflow()}"


def of_image(name: str) -> str | None:
    """The server's version as an image's tag tells it; None where it does not, as `latest`."""
    _, _, tag = name.partition("@")[0].rpartition("/")[2].partition(":")
    return tag if _VERSION.match(tag) else None


def problem(model_path: str, server: str | None) -> str | None:
    """Why a server cannot be expected to load a SavedModel, in one line; None if nothing is known against it.

    Args:
      model_path: the SavedModel's folder, on any filesystem of TensorFlow.
      server: its version; None where it is not known.
    """
    import tensorflow as tf
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2

    offered = _VERSION.match(server or "")
    if offered is None:
        return None
    try:
        with tf.io.gfile.GFile(os.path.join(model_path, "saved_model.pb"), "rb") as stream:
            graphs = saved_model_pb2.SavedModel.FromString(stream.read()).meta_graphs
    except (tf.errors.NotFoundError, message.DecodeError):
        # A server says that better.
        return None
    for graph in graphs:
        needed = _VERSION.match(graph.meta_info_def.tensorflow_version)
        if needed is not None and _numbers(needed) > _numbers(offered):
            made_by = graph.meta_info_def.tensorflow_version
            return (
                f"the model was made by TensorFlow {made_by}, the server is of {server}, which is older: serve it with "
                f"{needed.group()} or newer ({_IMAGE}:{of_tensorflow(made_by)})"
            )
    return None


def _numbers(found: "re.Match[str]") -> tuple[int, ...]:
    return tuple(map(int, found.groups()))
