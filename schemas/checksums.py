"""Size and checksum of what a stream holds."""

import hashlib
from typing import BinaryIO

_BLOCK = 1 << 20


def measure(stream: BinaryIO) -> tuple[int, str]:
    """Reads a stream to its end, a block at a time.

    Args:
      stream: anything with `read(size)`, as files of any filesystem have.

    Returns:
      How many bytes it had, and their SHA-256 in hexadecimal digits.
    """
    digest, size = hashlib.sha256(), 0
    while block := stream.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()
