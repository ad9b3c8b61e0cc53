"""Which state the files of a log are in, and whether it changes while they are read.

On a local disk a file is told by its path, its size and its times of modification and of change, in nanoseconds. The
time of change is the filesystem's own and no program can set it: a file that is replaced by one of the same
size and the same time of modification is another file. So is one that was only touched, or copied back:
it is read again, which costs time but is never wrong. Of a bucket Beam tells size and time in seconds.
"""

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence

from apache_beam.io import filesystem

from components.behavior_example_gen.reading import files
from schemas import errors

_Stamp = tuple[float, ...]
# Of more folders those that these are in are listed.
_MOST_LISTS = 32


def digest(found: Sequence[filesystem.FileMetadata]) -> str:
    """Tells states of files apart."""
    return Files(_stamps(found)).digest()


class Files:
    """The files of a log, as they were found at one moment: what is read of it, and what it is known by.

    Attributes:
      paths: in the order in which they are read.
    """

    def __init__(self, stamps: dict[str, _Stamp]):
        self._stamps, self.paths = stamps, list(stamps)

    def digest(self) -> str:
        """See the module's `digest`."""
        return hashlib.sha256(repr(sorted(self._stamps.items())).encode()).hexdigest()[:16]


@contextlib.contextmanager
def unchanged(found: Sequence[filesystem.FileMetadata]) -> Iterator[Files]:
    """Within the context, the files that were found are read, which are the context's value.

    What is made of a file that changes meanwhile is of no state that the file ever was in; of one that grows, the last
    row may be a part of one, whose id or time is cut and still looks like one. New files are no harm: the next
    run finds them.

    Raises:
      errors.InputError: at the end, naming a file that has changed, and how; also in place of an error that
        follows from it.
    """
    before = _stamps(found)
    try:
        yield Files(before)
    except Exception as error:
        _check(before, error)
        raise
    _check(before)


def _check(before: dict[str, _Stamp], cause: Exception | None = None) -> None:
    try:
        found = _now(list(before))
    except errors.InputError:
        if cause is None:
            raise
        # Told is what ended the reading, not that the bucket does not answer now.
        return
    for path, stamp in before.items():
        now: _Stamp = found.get(path, ())
        if now == stamp:
            continue
        if not now:
            how = "was removed"
        elif now[0] > stamp[0]:
            how = f"grew from {stamp[0]:,.0f} to {now[0]:,.0f} bytes"
        elif now[0] < stamp[0]:
            how = f"shrank from {stamp[0]:,.0f} to {now[0]:,.0f} bytes"
        else:
            how = "was written to or replaced"
        raise errors.InputError(
            f"{path}: {how} while it was read: run again when it is complete, or give the run a copy of it"
        ) from cause


def _now(paths: Sequence[str]) -> dict[str, _Stamp]:
    """Size and times of those of a log's files that are still there; a bucket is asked for lists of folders."""
    in_bucket = [path for path in paths if "://" in path]
    found = {
        metadata.path: _stamp(metadata)
        for prefix in _prefixes(in_bucket)
        for metadata in files.starting_with(prefix)
    }
    for path in set(paths).difference(in_bucket):
        with contextlib.suppress(OSError):
            found[path] = _local(path)
    return found


def _prefixes(paths: Sequence[str]) -> list[str]:
    """What paths in buckets begin with, a prefix for all of a folder: few lists, and of little else.

    Two days that are in folders of two years have only what all years have in common.
    """
    folders = {posixpath.dirname(path) for path in paths}
    while len(folders) > _MOST_LISTS and (deepest := max(map(_depth, folders))):
        folders = {posixpath.dirname(one) if _depth(one) == deepest else one for one in folders}
    folders = {one for one in folders if not any(one.startswith(f"{other}/") for other in folders)}
    return [
        os.path.commonprefix([path for path in paths if path.startswith(f"{one}/")])
        for one in sorted(folders)
    ]


def _depth(folder: str) -> int:
    """How far a folder is below its bucket."""
    return folder.count("/") - len("//")


def _stamps(found: Sequence[filesystem.FileMetadata]) -> dict[str, _Stamp]:
    """Size and times of files, as a bucket has listed them.

    Raises:
      OSError: if a local one is gone.
    """
    return {metadata.path: _stamp(metadata) for metadata in found}


def _stamp(metadata: filesystem.FileMetadata) -> _Stamp:
    if "://" in metadata.path:
        return metadata.size_in_bytes, metadata.last_updated_in_seconds
    return _local(metadata.path)


def _local(path: str) -> _Stamp:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
