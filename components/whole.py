"""Files that a killed process leaves as a whole or not at all, on any filesystem of TensorFlow's."""

import contextlib
import os
import re
import time
import uuid

import tensorflow as tf

# What a file is called until it is whole, behind its name.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")
# Nobody writes to one for so long: a kill has left it.
_LEFT_SECONDS = 24 * 3600.0
# What a file system may answer.
FAILS = (OSError, tf.errors.OpError)


def write(path: str, data: str | bytes) -> None:
    """Writes a file, in place of one that is there, and the folders that it is in; removes what kills have left there."""
    folder = os.path.dirname(path)
    tf.io.gfile.makedirs(folder)
    # Of another name each time: of two who write one file, neither takes away what the other is about to rename.
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        with tf.io.gfile.GFile(partial, "w" if isinstance(data, str) else "wb") as stream:
            stream.write(data)
        tf.io.gfile.rename(partial, path, overwrite=True)
    finally:
        # Not there once it is renamed.
        _remove(partial)
    with contextlib.suppress(*FAILS):
        for name in tf.io.gfile.listdir(folder):
            if _PARTIAL.search(name):
                _remove(os.path.join(folder, name), time.time() - _LEFT_SECONDS)


def _remove(path: str, before: float | None = None) -> None:
    """Removes a file, if it was last written to before a time in seconds since 1970, and can be."""
    with contextlib.suppress(*FAILS):
        if before is None or tf.io.gfile.stat(path).mtime_nsec / 1e9 < before:
            tf.io.gfile.remove(path)
