"""What goes wrong with a file while it is read, in one line."""

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
from apache_beam.io import filesystem

from schemas import errors

_CODECS = {"gz": "gzip", "gzip": "gzip", "zst": "zstd", "bz2": "bz2"}
_FAILURES = (pa.ArrowException, OSError, EOFError, UnicodeError, filesystem.BeamIOError)


@contextlib.contextmanager
def one_line(path: str, kind: str = "", columns: Sequence[str] = ()) -> Iterator[None]:
    """Turns every error of Arrow, Beam and the operating system into one that names the file.

    Args:
      kind: the format that the file is read as, for the message.
      columns: the columns that are read, where it is known.

    Raises:
      errors.InputError: in place of these errors.
    """
    try:
        yield
    except errors.InputError:
        raise
    except _FAILURES as error:
        raise errors.InputError(f"{path}: {_what(path, kind, columns, error)}") from error


def reason(error: BaseException) -> str:
    """The first line of an error's message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _what(path: str, kind: str, columns: Sequence[str], error: BaseException) -> str:
    where = f"column {', '.join(map(repr, columns))} " if columns else ""
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read ({reason(error)})"
    codec = _CODECS.get(path.rsplit(".", 1)[-1].lower())
    form = " in ".join(filter(None, (kind, codec)))
    hint = f"; is the file whole, and {codec} as its name says?" if codec else "; is the file whole?"
    return f"{where}not readable as {form or 'a file'} ({reason(error)}){hint}"
