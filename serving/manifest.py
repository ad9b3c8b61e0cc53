"""What the files of a version were when it was pushed: their sizes and checksums, kept inside the version.

TensorFlow Serving reads nothing else than its warm-up below `assets.extra`, so the list lies there.
"""

import json
import os
import posixpath
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from schemas import checksums

FILE = posixpath.join("assets.extra", "footfall_files.json")

Files = Mapping[str, Mapping[str, Any]]


def measure(folder: str) -> dict[str, dict[str, Any]]:
    """Size (bytes) and SHA-256 of every file below a folder but FILE, by its path in the folder.

    Args:
      folder: on any filesystem of TensorFlow.
    """
    found = {}
    for path, _, files in tf.io.gfile.walk(folder):
        inside = os.path.relpath(path.rstrip("/"), folder.rstrip("/"))
        for file in files:
            name = posixpath.normpath(posixpath.join(inside, file))
            if name != FILE:
                found[name] = _measured(posixpath.join(path, file))
    return found


def _measured(path: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(path, "rb") as stream:
        size, sha256 = checksums.measure(stream)
    return {"size": size, "sha256": sha256}


def write(folder: str, files: Files) -> None:
    """Writes the list of a version's files into it."""
    path = posixpath.join(folder, FILE)
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as stream:
        stream.write(json.dumps({"files": files}, indent=1, sort_keys=True))


def check(folder: str) -> str | None:
    """What is wrong with the files of a version, by the list inside it.

    Returns:
      One line; None if all is well, or the version has no list, as one that something else than
      Footfall's Pusher has written.
    """
    path = posixpath.join(folder, FILE)
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path, "r") as stream:
            files = json.loads(stream.read())["files"]
        expected = {name: {"size": of["size"], "sha256": of["sha256"]} for name, of in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{FILE} is damaged"
    return difference(folder, expected)


def difference(folder: str, expected: Files) -> str | None:
    """The first file below a folder that is not as expected, in one line; None if there is none.

    Files that are not expected are no difference: a server does not read them.
    """
    for name, wanted in sorted(expected.items()):
        path = posixpath.join(folder, name)
        if not tf.io.gfile.exists(path):
            return f"{name} is missing"
        found = _measured(path)
        if found["size"] != wanted["size"]:
            return f"{name} has {found['size']:,} bytes, it had {wanted['size']:,}"
        if found["sha256"] != wanted["sha256"]:
            return f"{name} has other bytes than it had"
    return None
