"""Which folders are versions of a model: one rule for pushes, servers and commands, free of TensorFlow."""

import re
from collections.abc import Iterable

LARGEST = (1 << 63) - 1
# As TensorFlow Serving writes and compares them: a positive int64. Other ways to write one (`007`, `+7`,
# digits of other scripts) would name a folder that is not the version's path.
_VERSION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def parse(name: str) -> int | None:
    """The version that a folder's name stands for; None if it stands for none.

    Args:
      name: without a path; a slash at its end, as remote listings have it, is no part of it.
    """
    text = name.rstrip("/")
    if not _VERSION.fullmatch(text):
        return None
    version = int(text)
    return version if version <= LARGEST else None


def found(folder: Iterable[str]) -> list[int]:
    """The versions among the names in a folder, oldest first; each once."""
    return sorted({version for version in map(parse, folder) if version is not None})
