"""Why a training was done: what differs from the one before, kept as a line of `trainings.jsonl` for each."""

import json
import logging
import posixpath
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components import whole

FILE = "trainings.jsonl"
FIRST = "first training"
AGAIN = "nothing differs: its result was not kept"
_PROGRESS = logging.getLogger("footfall.progress")


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
    """Adds a line with the parts and what else there is to say; on any filesystem, so the file is written anew.

    Where it cannot be written, it says so: a training is not lost for that.
    """
    path = posixpath.join(folder, FILE)
    try:
        lines = [*_lines(folder), {"parts": dict(parts), **more}]
        whole.write(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    except whole.FAILS as error:
        _PROGRESS.warning("%s cannot be written: %s", path, error)


def _lines(folder: str) -> list[dict[str, Any]]:
    """What was kept, without damaged lines."""
    path = posixpath.join(folder, FILE)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path, "rb") as stream:
        texts = stream.read().split(b"\n")
    found = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text) if text.strip() else None
        except ValueError:
            line = {}
        if isinstance(line, dict) and isinstance(line.get("parts"), dict):
            found.append(line)
        elif text.strip():
            _PROGRESS.warning("%s: line %d is damaged, and left out", path, number)
    return found
