"""Files that are there as a whole, or not at all."""

import contextlib
import os


def write(path: str, text: str) -> None:
    """Writes a file; what was there stays until all of the new one is written. A device or a pipe is written to.

    Raises:
      OSError: if it cannot be, with the path of the file itself; nothing is left beside it.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    partial = f"{path}.partial"
    try:
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        if error.filename == partial:
            error.filename, error.filename2 = path, None
        raise
