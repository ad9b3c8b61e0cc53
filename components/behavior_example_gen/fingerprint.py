"""Which state the files of a log are in, and whether it changes while they are read.

On a local disk a file is told by its path, its size and its times of modification and of change, in nanoseconds. The
time of change is the filesystem's own and no program can set it: a file that is replaced by one of the same
size and the same time of modification is another file. So is one that was only touched, or copied back:
it is read again, which costs time but is never wrong. Of a bucket Beam tells size and time in seconds.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence

from apache_beam.io import filesystem

from components.behavior_example_gen.reading import files
from schemas import errors

_Stamp = tuple[float, ...]


def digest(patterns: Sequence[str]) -> str:
    """Tells states of the files that match apart.

    Raises:
      errors.InputError: if no file matches.
    """
    return Files(_stamps(patterns)).digest()


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
def unchanged(patterns: Sequence[str]) -> Iterator[Files]:
    """Within the context, the files that match at its beginning are read, which are the context's value.

    What is made of a file that changes meanwhile is of no state that the file ever was in; of one that grows, the last
    row may be a part of one, whose id or time is cut and still looks like one. New files are no harm: the next
    run finds them.

    Raises:
      errors.InputError: at the end, naming a file that has changed, and how; also in place of an error that
        follows from it.
    """
    before = _stamps(patterns)
    try:
        yield Files(before)
    except Exception as error:
        _check(patterns, before, error)
        raise
    _check(patterns, before)


def _check(patterns: Sequence[str], before: dict[str, _Stamp], cause: Exception | None = None) -> None:
    found: dict[str, _Stamp] = {}
    for pattern in patterns:
        # Where it has none, not even one is left.
        with contextlib.suppress(OSError, errors.InputError):
            found |= _stamps([pattern])
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


def _stamps(patterns: Sequence[str]) -> dict[str, _Stamp]:
    """Size and times of the files that match, which a bucket lists at once.

    Raises:
      errors.InputError: if no file matches.
      OSError: if a local one is gone.
    """
    return {metadata.path: _stamp(metadata) for pattern in patterns for metadata in files.match(pattern)}


def _stamp(metadata: filesystem.FileMetadata) -> _Stamp:
    if "://" in metadata.path:
        return metadata.size_in_bytes, metadata.last_updated_in_seconds
    found = os.stat(metadata.path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
