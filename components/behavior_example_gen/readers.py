"""Reads logs into Arrow record batches, and sets bad rows aside with their reason.

A block is read, checked and converted as columns; Python touches single rows only where a
row is bad. What is of one format is in `reading`.
"""

from typing import Dict, Iterator, List, Optional, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import (
    blocks,
    columns as columns_lib,
    delimited,
    files,
    json_lines,
    parquet,
    times,
    values as values_lib,
)
from schemas import errors, names

_FORMATS = {"csv": delimited, "tsv": delimited, "jsonl": json_lines, "parquet": parquet}


def find_sources(patterns: Sequence[str], log: spec.LogSpec) -> List[files.Source]:
    """The files that match, in the order of `patterns` and then of their names; Parquet by row group.

    Raises:
      errors.InputError: if no file matches, or the first block of one lacks a column.
    """
    sources = []
    for index, path in enumerate(files.find(patterns)):
        kind = files.format_of(path, log)
        if kind == "parquet":
            sources.extend(parquet.sources(path, index, log))
        else:
            sources.append(files.Source(path, index, kind))
    return sources


def header(path: str, log: spec.LogSpec) -> List[str]:
    """The columns of a file; empty for a file without rows.

    Raises:
      errors.InputError: if the file cannot be read as its format.
    """
    return _FORMATS[files.format_of(path, log)].header(path, log)


def read(source: files.Source, log: spec.LogSpec) -> Iterator[blocks.Block]:
    """Reads one source block by block.

    Raises:
      errors.InputError: if a column is missing or the file is not of its format.
    """
    for table, numbers, rejects in _FORMATS[source.format].read(source, log):
        yield _normalise(source, table, numbers, rejects, log)


def read_all(
    patterns: Sequence[str], log: spec.LogSpec, max_rows: Optional[int] = None
) -> Iterator[blocks.Block]:
    """The blocks of a whole log in its order, at most about `max_rows` rows of it."""
    total = 0
    for source in find_sources(patterns, log):
        for block in read(source, log):
            yield block
            total += block.rows
            if max_rows is not None and total >= max_rows:
                return


def _normalise(
    source: files.Source, table: pa.Table, rows: np.ndarray, rejects: List[blocks.Reject], log: spec.LogSpec
) -> blocks.Block:
    columns = log.columns.wanted()

    # A JSON file may lack a column in one block only: its values are missing there.
    def column(name: str) -> pa.ChunkedArray:
        if name in table.column_names:
            return table.column(name)
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])

    count = table.num_rows
    reason = np.zeros(count, np.int8)
    reasons = [""]

    def mark(bad: np.ndarray, text: str) -> None:
        if bad.any():
            reasons.append(text)
            reason[bad & (reason == 0)] = len(reasons) - 1

    attributes = log.columns.attributes()
    raw = {
        feature: values_lib.whole(column(name))
        for feature, name in columns.items()
        if feature != names.TIMESTAMP
    }
    arrays: Dict[str, pa.Array] = {}
    for feature, array in raw.items():
        kind = columns_lib.kind(feature, attributes)
        if pa.types.is_nested(array.type) and not (kind == spec.MULTI and values_lib.is_list(array.type)):
            raise errors.InputError(
                f"{source.path}: column {columns[feature]!r} (log.columns.{columns_lib.key(feature, log)}) holds "
                f"{array.type}; lists are for attributes of type multi"
            )
        if kind == spec.CATEGORICAL:
            arrays[feature] = values_lib.as_binary(array)
    for feature in (names.USER_ID, names.ITEM_ID):
        array = arrays[feature]
        missing = ~array.is_valid().to_numpy(zero_copy_only=False)
        length = pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        missing |= length == 0
        if source.format in ("jsonl", "parquet"):
            missing |= pc.is_in(array, value_set=pa.array(values_lib.MISSING[1:]).cast(pa.binary())).to_numpy(
                zero_copy_only=False
            )
        mark(missing, f"missing {feature} (column {columns[feature]!r})")
        mark(length > log.max_id_bytes, f"{feature} longer than {log.max_id_bytes} bytes")
        mark(_has_newline(array), f"line break in {feature}")
    for feature, array in raw.items():
        mark(~values_lib.valid_utf8(array), f"invalid UTF-8 in column {columns[feature]!r}")
    ticks, valid, unit = times.parse(column(columns[names.TIMESTAMP]), log.timestamp_unit)
    mark(
        ~valid,
        f"unparsable time (column {columns[names.TIMESTAMP]!r}, log.timestamp_unit {log.timestamp_unit})",
    )
    for feature, array in raw.items():
        kind = columns_lib.kind(feature, attributes)
        if kind == spec.NUMERIC:
            values, valid = values_lib.numbers(array)
            mark(~valid, f"not a finite number (column {columns[feature]!r})")
            arrays[feature] = pa.array(values)
        elif kind == columns_lib.LABEL:
            values, valid = values_lib.labels(array)
            mark(~valid, f"no label, which is 1, 0, true, false or empty (column {columns[feature]!r})")
            arrays[feature] = pa.array(values)
        elif kind == spec.MULTI:
            arrays[feature] = values_lib.lists(array, attributes[feature].separator)

    bad = np.flatnonzero(reason)
    for index in bad:
        sample = ",".join(
            blocks.sample(table.column(name)[int(index)].as_py())
            for name in columns.values()
            if name in table.column_names
        )
        rejects.append(
            blocks.Reject(source.path, int(rows[index]), reasons[reason[index]], blocks.sample(sample))
        )
    batch = {
        feature: (array.fill_null(b"") if array.null_count else array) for feature, array in arrays.items()
    }
    batch[names.TIMESTAMP] = pa.array(times.to_ms(ticks, unit))
    batch[blocks.TICKS] = pa.array(ticks)
    batch[blocks.ROW] = pa.array(rows)
    record_batch = pa.RecordBatch.from_arrays(list(batch.values()), list(batch))
    if len(bad):
        record_batch = record_batch.filter(pa.array(reason == 0))
    return blocks.Block(source, record_batch, rejects, record_batch.num_rows + len(rejects))


def _has_newline(array: pa.Array) -> np.ndarray:
    """Vocabulary files hold one value a line."""
    return pc.match_substring_regex(array, r"[\r\n]").fill_null(False).to_numpy(zero_copy_only=False)
