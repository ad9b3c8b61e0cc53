"""Files that are there as a whole, or not at all."""

import contextlib
import os


def write(path: str, text: str) -> None:
    """Writes a file; what was there stays until all of the new one is written.

    Raises:
      OSError: if it cannot be; nothing is left beside it.
    """
    partial = f"{path}.partial"
    try:
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
