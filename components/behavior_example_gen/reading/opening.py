"""One file of a log: what its ending stands for, and its bytes without their compression.

Files are opened through Beam's filesystems, so a bucket works like a folder.
"""

import contextlib
import posixpath
from collections.abc import Iterator

import pyarrow as pa
from apache_beam.io import filesystem, filesystems

from schemas import errors

_ENDINGS = {
    "csv": "csv",
    "tsv": "tsv",
    "inter": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
}
_CODECS = {"gz": "gzip", "gzip": "gzip", "zst": "zstd", "bz2": "bz2"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_LONGEST_MAGIC = 4


def ending_of(path: str) -> str | None:
    """The format that the ending of a file stands for, behind that of a compression; None for any other."""
    parts = posixpath.basename(path).lower().split(".")
    if parts[-1] in _CODECS:
        parts.pop()
    return _ENDINGS.get(parts[-1]) if len(parts) > 1 else None


@contextlib.contextmanager
def open_file(path: str) -> Iterator[pa.NativeFile]:
    """The bytes of a file, decompressed if its first bytes are those of a compression.

    Raises:
      errors.InputError: if it is named like a compressed one, and is none.
    """
    # Arrow decompresses, since it does not take Beam's own decompressing files for open ones.
    with filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as raw:
        stream = pa.PythonFile(raw, mode="r")
        codec = _codec(path, stream.read(_LONGEST_MAGIC))
        raw.seek(0)
        yield pa.CompressedInputStream(stream, codec) if codec else stream


def _codec(path: str, head: bytes) -> str | None:
    """How a file is compressed.

    Raises:
      errors.InputError: if its ending says that it is, and its first bytes say that it is not.
    """
    found = next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)
    named = _CODECS.get(path.rsplit(".", 1)[-1].lower()) if "." in posixpath.basename(path) else None
    if named and head and found != named:
        is_other = f"{found} data" if found else f"no compressed data (it begins with {head!r})"
        raise errors.InputError(f"{path}: named like {named}, but it is {is_other}; rename it")
    return found
