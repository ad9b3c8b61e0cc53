"""Reads logs into Arrow record batches, and sets bad rows aside with their reason.

A block is read, checked and converted as columns; Python touches single rows only where a
row is bad. What is of one format is in `reading`. Whatever Arrow or the operating system says against a file
is an `errors.InputError` of one line.
"""

from collections.abc import Iterator, Sequence

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import (
    blocks,
    columns,
    delimited,
    failures,
    files,
    json_lines,
    normalise,
    parquet,
)

_FORMATS = {"csv": delimited, "tsv": delimited, "jsonl": json_lines, "parquet": parquet}


def sources(paths: Sequence[str], log: spec.LogSpec) -> list[files.Source]:
    """The files of a log; Parquet by row group.

    Raises:
      errors.InputError: if one cannot be read, or lacks a column, or they are of several formats.
    """
    found: list[files.Source] = []
    for index, (path, kind) in enumerate(zip(paths, files.check_formats(paths, log))):
        if kind == "parquet":
            with failures.one_line(path, kind):
                found.extend(parquet.sources(path, index, log))
        else:
            found.append(files.Source(path, index, kind))
    return found


def header(path: str, log: spec.LogSpec) -> list[str]:
    """The columns of a file; empty for a file without rows.

    Raises:
      errors.InputError: if the file cannot be read as its format.
    """
    kind = files.format_of(path, log)
    with failures.one_line(path, kind):
        return _FORMATS[kind].header(path, log)


def needed(source: files.Source) -> Sequence[str]:
    """The features whose columns the first rows of a file cannot be without; empty: all of them."""
    return columns.ALWAYS if source.format == "jsonl" else ()


def read(source: files.Source, log: spec.LogSpec) -> Iterator[blocks.Block]:
    """Reads one source block by block.

    Raises:
      errors.InputError: if a column is missing, or of a type that does not suit what it is for, or the file
        cannot be read as its format.
    """
    with failures.one_line(source.path, source.format):
        for table, numbers, rejects in _FORMATS[source.format].read(source, log):
            yield normalise.block(source, table, numbers, rejects, log)


def read_all(paths: Sequence[str], log: spec.LogSpec, max_rows: int | None = None) -> Iterator[blocks.Block]:
    """The blocks of a log's files in their order, at most about `max_rows` rows of them."""
    total = 0
    for source in sources(paths, log):
        for block in read(source, log):
            yield block
            total += block.rows
            if max_rows is not None and total >= max_rows:
                return
