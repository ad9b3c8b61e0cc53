"""The files of a log: which there are, and their format."""

import dataclasses
import fnmatch
import glob
import os
import posixpath
import re
from collections.abc import Sequence
from typing import Any

from apache_beam.io import filesystem, filesystems

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import opening, sniff
from schemas import errors

# Files whose names begin so are no part of a log, as Spark's `_SUCCESS`.
HIDDEN = (".", "_")
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, or one row group of a Parquet file; `index` orders the files of a log."""

    path: str
    index: int
    format: str
    row_group: int | None = None
    first_row: int = 1


def format_of(path: str, log: spec.LogSpec) -> str:
    """The format of a file, from `log.format`, the file's ending, or that it has a `log.delimiter`.

    Raises:
      errors.InputError: if none tells.
    """
    found = log.format or opening.ending_of(path)
    if found is None and (log.delimiter or log.column_names):
        found = "csv"
    if found is None:
        raise errors.InputError(
            f"{path}: log.format is not set and the ending tells none of csv, tsv, jsonl, parquet"
            f"{sniff.hint(path, log)}"
        )
    return found


def match(pattern: str) -> list[filesystem.FileMetadata]:
    """The files of a path, sorted by name: what `run`, `describe` and the cache go by.

    A path that is there is itself, whatever characters it has; a folder, with `/` at its end or without, is
    all files below it. What begins with `.` or `_`, as Spark's `_SUCCESS`, is left out of folders and patterns.

    Raises:
      errors.InputError: if no file matches.
    """
    hidden = 0
    if "://" not in pattern and os.path.isfile(pattern):
        found = [_metadata(pattern)]
    elif "://" not in pattern and os.path.isdir(pattern):
        found, hidden = _below(pattern)
    else:
        found, hidden = matching(pattern)
    if not found:
        raise errors.InputError(f"log.path: no file matches {pattern}{left_out(hidden)}")
    return sorted(found, key=lambda metadata: metadata.path)


def left_out(hidden: int) -> str:
    """What a message that no file matches says of hidden ones, if there are any."""
    return f"; {hidden} whose names begin with . or _ are left out" if hidden else ""


def _metadata(path: str) -> filesystem.FileMetadata:
    found = os.stat(path)
    return filesystem.FileMetadata(path, found.st_size, found.st_mtime)


def _below(folder: str) -> Any:
    """The files of a local folder and of those in it, and how many hidden ones there are.

    A folder is read once, whatever links lead to it: one that leads back to where it stands would be read
    until the system gives up. Of a folder and links to it beside it the folder itself is read.
    """
    found, hidden, met = [], 0, {_identity(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        hidden += sum(name.startswith(HIDDEN) for name in names)
        inside = sorted(
            (os.path.islink(os.path.join(parent, name)), name)
            for name in folders
            if not name.startswith(HIDDEN)
        )
        folders.clear()
        for _, name in inside:
            identity = _identity(os.path.join(parent, name))
            if identity not in met:
                met.add(identity)
                folders.append(name)
        found += [
            _metadata(os.path.join(parent, name))
            for name in names
            # A pipe would never end, and a link may lead nowhere.
            if not name.startswith(HIDDEN) and os.path.isfile(os.path.join(parent, name))
        ]
    return found, hidden


def _identity(path: str) -> tuple[int, int]:
    """What a file or folder is on its disk, by whatever name."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def matching(pattern: str) -> tuple[list[filesystem.FileMetadata], int]:
    """The files of a pattern, or of the folders that it matches, and how many hidden ones there are.

    Raises:
      errors.InputError: if the place cannot be read.
    """
    try:
        visible, hidden = _parted(pattern, pattern) if pattern[-1:] != "/" else ([], 0)
        if not visible and "://" in pattern:
            visible, more = _parted(pattern.rstrip("/") + "/**", pattern)
            hidden += more
    except filesystem.BeamIOError as error:
        raise errors.InputError(f"log.path: {pattern}: {errors.first_line(error)}") from error
    if not visible and "://" not in pattern:
        # Beam matches no folders.
        for folder in filter(os.path.isdir, sorted(glob.glob(pattern, recursive=True))):
            if is_hidden(posixpath.join(folder, "a file"), pattern):
                continue
            found, more = _below(folder)
            visible, hidden = visible + found, hidden + more
    return visible, hidden


def starting_with(prefix: str) -> list[filesystem.FileMetadata]:
    """All in a bucket whose paths begin so, which it lists at once.

    Raises:
      errors.InputError: if the bucket cannot be read.
    """
    # Beam takes what follows for a pattern; what a bucket lists has only to begin alike.
    literal = re.split(r"[\[*?]", prefix)[0]
    try:
        found: list[filesystem.FileMetadata] = filesystems.FileSystems.match([literal + "**"])[
            0
        ].metadata_list
    except filesystem.BeamIOError as error:
        raise errors.InputError(f"log.path: {literal}: {errors.first_line(error)}") from error
    return found


def _parted(asked: str, pattern: str) -> tuple[list[filesystem.FileMetadata], int]:
    """The files that match what is asked, and how many hidden ones do, but those that the pattern itself writes out."""
    # In a bucket a name with / at its end marks a folder that some program has made: it is no file.
    matched = [m for m in filesystems.FileSystems.match([asked])[0].metadata_list if m.path[-1:] != "/"]
    visible = [m for m in matched if not is_hidden(m.path, pattern)]
    return visible, len(matched) - len(visible)


def is_hidden(path: str, pattern: str) -> bool:
    """Whether a file's name, or that of a folder it is in, is a hidden one; but those that the pattern itself writes out.

    >>> is_hidden("gs://b/log/_temporary/0/a.csv", "gs://b/log"), is_hidden("gs://b/_log/a.csv", "gs://b/_log/*")
    (True, False)
    """
    folders = [folder for folder in pattern.split("/") if folder.startswith(HIDDEN)]
    *parents, name = path.split("/")
    return name.startswith(HIDDEN) or any(
        parent.startswith(HIDDEN) and not any(fnmatch.fnmatchcase(parent, folder) for folder in folders)
        for parent in parents
    )


def check_formats(paths: Sequence[str], log: spec.LogSpec) -> list[str]:
    """The format of each file, which is the same for all.

    Raises:
      errors.InputError: if files are of several formats, or of none that is known.
    """
    if log.format:
        return [log.format] * len(paths)
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(opening.ending_of(path) or "none that is known", []).append(path)
    if len(groups) > 1:
        shown = "; ".join(
            f"{kind}: {', '.join(map(posixpath.basename, of[:_SHOWN]))}{', ...' if len(of) > _SHOWN else ''}"
            for kind, of in sorted(groups.items())
        )
        raise errors.InputError(
            f"log.path: {log.path}: files of several formats ({shown}); name those of one by a pattern, as "
            f"{posixpath.join(posixpath.dirname(paths[0]), '*.csv')}, or set log.format"
        )
    # What the ending does not tell is said of the first file.
    return [format_of(paths[0], log)] * len(paths)
