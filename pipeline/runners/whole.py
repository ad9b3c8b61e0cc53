"""Files that are there as a whole, or not at all."""

import contextlib
import errno
import os
import shutil
import uuid

# Of a file in whose folder no other one may be made or take its place, as of one that is mounted alone.
_ALONE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}


def write(path: str, text: str) -> None:
    """Writes a file; what was there stays until all of the new one is written.

    A link stays one, to a file that is written so. A device or a pipe is written to, as is a file whose folder
    takes no other one.

    Raises:
      OSError: if it cannot be, with the path of the file itself; nothing is left beside it.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        _write(path, "w", text)
        return
    target = os.path.realpath(path)
    # Of another name each time, so that two who write one file do not write into each other's.
    partial = f"{target}.{uuid.uuid4().hex}.partial"
    try:
        _write(partial, "x", text)
        with contextlib.suppress(OSError):
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except OSError as error:
        if error.errno not in _ALONE:
            if error.filename == partial:
                error.filename, error.filename2 = path, None
            raise
        _write(path, "w", text)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)


def _write(path: str, mode: str, text: str) -> None:
    with open(path, mode, encoding="utf-8") as stream:
        stream.write(text)
