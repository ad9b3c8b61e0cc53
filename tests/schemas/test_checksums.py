"""A checksum of any stream is that of its whole content."""

import hashlib
import io
import os

import pytest

from schemas import checksums


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_size_and_checksum(size):
    data = os.urandom(size)
    assert checksums.measure(io.BytesIO(data)) == (size, hashlib.sha256(data).hexdigest())
