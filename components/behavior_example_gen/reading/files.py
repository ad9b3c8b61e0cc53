"""The files of a log: which there are, their format, and how they are opened.

Files are opened through Beam's filesystems, so a bucket works like a folder.
"""

import contextlib
import dataclasses
import posixpath
from typing import Iterator, List, Optional, Sequence

from apache_beam.io import filesystem, filesystems
import pyarrow as pa

from components.behavior_example_gen import spec
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


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, or one row group of a Parquet file; `index` orders the files of a log."""

    path: str
    index: int
    format: str
    row_group: Optional[int] = None
    first_row: int = 1


def format_of(path: str, log: spec.LogSpec) -> str:
    """The format of a file, from `log.format` or the file's ending.

    Raises:
      errors.InputError: if neither tells.
    """
    if log.format:
        return log.format
    parts = posixpath.basename(path).lower().split(".")
    if parts[-1] in _CODECS:
        parts.pop()
    found = _ENDINGS.get(parts[-1]) if len(parts) > 1 else None
    if found is None:
        raise errors.InputError(
            f"{path}: log.format is not set and the ending tells none of csv, tsv, jsonl, parquet"
        )
    return found


def find(patterns: Sequence[str]) -> List[str]:
    """The files that match, in the order of `patterns` and then of their names.

    Raises:
      errors.InputError: if no file matches.
    """
    paths: List[str] = []
    for pattern in patterns:
        if pattern.endswith("/"):
            pattern += "*"
        matched = filesystems.FileSystems.match([pattern])[0].metadata_list
        paths.extend(sorted(m.path for m in matched if not posixpath.basename(m.path).startswith((".", "_"))))
    if not paths:
        raise errors.InputError(f"log.path: no file matches {', '.join(patterns)}")
    return paths


@contextlib.contextmanager
def open_file(path: str) -> Iterator[pa.NativeFile]:
    """The bytes of a file, decompressed by its ending."""
    # Arrow decompresses, since it does not take Beam's own decompressing files for open ones.
    with filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as raw:
        codec = _CODECS.get(path.rsplit(".", 1)[-1].lower())
        stream = pa.PythonFile(raw, mode="r")
        yield pa.CompressedInputStream(stream, codec) if codec else stream
