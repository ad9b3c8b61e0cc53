"""Why a training was done: what differs from the one before, kept as a line of `trainings.jsonl` for each."""

import json
import posixpath
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer import files

FILE = "trainings.jsonl"
FIRST = "first training"
AGAIN = "nothing differs: its result was not kept"


def since(folder: str, parts: Mapping[str, str]) -> str:
    """Says what differs from the last training that was kept.

    Args:
      folder: of the log.
      parts: what a training depends on, as digests by the words for them.
    """
    kept = _lines(folder)
    if not kept:
        return FIRST
    before = kept[-1]["parts"]
    other = [f"other {name}" for name, digest in parts.items() if before.get(name) != digest]
    return ", ".join(other) or AGAIN


def keep(folder: str, parts: Mapping[str, str], **more: Any) -> None:
    """Adds a line with the parts and what else there is to say; on any filesystem, so the file is written anew."""
    lines = [*_lines(folder), {"parts": dict(parts), **more}]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    files.write(posixpath.join(folder, FILE), text)


def _lines(folder: str) -> list[dict[str, Any]]:
    path = posixpath.join(folder, FILE)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as stream:
        return [json.loads(line) for line in stream.read().splitlines()]
