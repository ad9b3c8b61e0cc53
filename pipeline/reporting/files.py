"""Files that a run has left, wherever they are; None for one that is not there."""

import json
from typing import Any

import yaml
from apache_beam.io import filesystem, filesystems

from schemas import errors, kinds


def read_bytes(path: str) -> bytes | None:
    if not filesystems.FileSystems.exists(path):
        return None
    with filesystems.FileSystems.open(
        path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    ) as stream:
        return stream.read()


def read_text(path: str) -> str | None:
    data = read_bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def read_json(path: str) -> Any | None:
    text = read_text(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise errors.InputError(
            f"{path}: damaged: not JSON ({error}); the same run again makes it again"
        ) from error


def below(folder: str, name: str) -> list[str]:
    (match,) = filesystems.FileSystems.match([filesystems.FileSystems.join(folder, "*", name)])
    return sorted(metadata.path for metadata in match.metadata_list)


def window_kind(experiment: str | None) -> kinds.WindowKind:
    """The kind of a run's windows.

    Args:
      experiment: the text of its file; None if it has none.
    """
    values = yaml.safe_load(experiment) if experiment else None
    window = values.get("window") if isinstance(values, dict) else None
    name = window.get("kind") if isinstance(window, dict) else None
    return kinds.WINDOW_KINDS.get(name, kinds.WINDOW_KINDS[kinds.DEFAULT_KIND])
