"""Files that a killed process leaves as a whole or not at all, on any filesystem of TensorFlow's."""

import os
import uuid

import tensorflow as tf


def write(path: str, text: str) -> None:
    """Writes a file, in place of one that is there, and the folders that it is in."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    # Of another name each time: of two who write one file, neither takes away what the other is about to rename.
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    with tf.io.gfile.GFile(partial, "w") as stream:
        stream.write(text)
    tf.io.gfile.rename(partial, path, overwrite=True)
