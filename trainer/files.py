"""Files that a killed process leaves as a whole or not at all, on any filesystem of TensorFlow's."""

import os

import tensorflow as tf


def write(path: str, text: str) -> None:
    """Writes a file, in place of one that is there, and the folders that it is in."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(f"{path}.partial", "w") as stream:
        stream.write(text)
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
