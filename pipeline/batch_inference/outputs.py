"""Where answers are written: a place that can be written to, and apart from what is read."""

import os
import posixpath
from collections.abc import Mapping

from tfx.dsl.io import fileio

from components import whole
from components.behavior_example_gen import spans, spec
from pipeline.batch_inference import arrays
from schemas import errors


def check(output: str, as_arrays: bool) -> None:
    """Checks that a path is one of a file to write, or of a folder of arrays.

    Raises:
      errors.InputError: if it is not.
    """
    if as_arrays:
        # A folder of something else is not to be replaced.
        there = set(fileio.listdir(output)) if fileio.isdir(output) else set()
        other = sorted(there - {arrays.IDS, arrays.EMBEDDINGS})
        if other:
            raise errors.InputError(
                f"{output}: -o names a folder of arrays to write, found one with {other[0]}"
            )
    elif fileio.isdir(output):
        raise errors.InputError(f"{output}: -o names a file to write, found a folder")
    if "://" in output:
        return
    what = "folder" if as_arrays else "file"
    if os.path.exists(output) and not (os.path.isdir if as_arrays else os.path.isfile)(output):
        raise errors.InputError(f"{output}: -o names a {what} to write, found something else")
    if not os.path.isdir(os.path.dirname(output)):
        raise errors.InputError(
            f"{output}: -o names a {what} in a folder that is there, found no such folder"
        )


def check_apart(output: str, as_arrays: bool, log: spec.LogSpec, others: Mapping[str, str]) -> None:
    """Checks that nothing is written over what is read, nor where the log is read the next time.

    Args:
      output: of `check`.
      as_arrays: as of it.
      log: that is read.
      others: files and folders that are read, too, by what they are.

    Raises:
      errors.InputError: if something is.
    """
    written = [posixpath.join(output, name) for name in (arrays.IDS, arrays.EMBEDDINGS)]
    places = [spans.real_place(path) for path in (written if as_arrays else [output])]
    for what, other in others.items():
        if any(place == spans.real(other) or place.startswith(f"{spans.real(other)}/") for place in places):
            raise errors.InputError(
                f"{output}: -o names a place apart from what is read, found that of the {what} {other}"
            )
    if ("://" in log.path) != ("://" in output):
        return
    if spans.reads(log.path, spans.paths(log.path, log.spans), places):
        raise errors.InputError(
            f"{output}: -o names a place apart from the log, found one that is read as the log {log.path}"
        )


def make(folder: str, output: str) -> None:
    """Makes a folder beside what is to be written.

    Raises:
      errors.InputError: if nothing can be written there.
    """
    try:
        fileio.makedirs(folder)
    except whole.FAILS as error:
        raise errors.InputError(f"{output}: not written: {errors.first_line(error)}") from error
