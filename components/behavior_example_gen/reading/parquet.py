"""Reads Parquet files, row group by row group."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, columns, failures, files, opening
from schemas import errors

_BLOCK_ROWS = 1 << 19


def sources(path: str, index: int, log: spec.LogSpec) -> list[files.Source]:
    """A source for each row group of a file.

    Raises:
      errors.InputError: if it is not a Parquet file, or lacks a column.
    """
    with opening.open_file(path) as stream:
        if not stream.read(1):
            return [files.Source(path, index, "parquet")]
        stream.seek(0)
        try:
            parquet = pyarrow.parquet.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise errors.InputError(f"{path}: not a Parquet file ({failures.reason(error)})") from error
        columns.check(parquet.schema_arrow.names, log, path)
        found, row = [], 1
        for group in range(parquet.num_row_groups):
            found.append(files.Source(path, index, "parquet", group, row))
            row += parquet.metadata.row_group(group).num_rows
        return found


def header(path: str, log: spec.LogSpec) -> list[str]:
    """The columns of a file; empty for an empty file."""
    del log  # of other formats
    with opening.open_file(path) as stream:
        if not stream.read(1):
            return []
        stream.seek(0)
        return list(pyarrow.parquet.ParquetFile(stream).schema_arrow.names)


def read(source: files.Source, log: spec.LogSpec) -> blocks.Pieces:
    """Reads a row group; see `blocks.Piece`.

    Raises:
      errors.InputError: if it cannot be read, with the columns that it is due to.
    """
    if source.row_group is None:
        return
    row = source.first_row
    with opening.open_file(source.path) as stream:
        parquet = pyarrow.parquet.ParquetFile(stream)
        columns = list(dict.fromkeys(log.columns.wanted().values()))
        batches = parquet.iter_batches(_BLOCK_ROWS, [source.row_group], columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise errors.InputError(
                    f"{source.path}: {_broken(parquet, source, columns)}not readable as parquet "
                    f"({failures.reason(error)}), in row group {source.row_group} (from row {source.first_row}); "
                    f"is the file whole?"
                ) from error
            if batch is None:
                return
            yield pa.Table.from_batches([batch]), np.arange(row, row + batch.num_rows, dtype=np.int64), []
            row += batch.num_rows


def _broken(parquet: pyarrow.parquet.ParquetFile, source: files.Source, columns: list[str]) -> str:
    """The columns of a row group that cannot be read, for a message; empty if each can be read alone."""
    found = []
    for name in columns:
        try:
            parquet.read_row_group(source.row_group, [name], use_threads=False)
        except (pa.ArrowException, OSError):
            found.append(repr(name))
    return f"column {', '.join(found)} " if found else ""
