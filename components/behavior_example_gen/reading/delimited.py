"""Reads files of separated values (CSV, TSV) block by block."""

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, columns, files, values
from schemas import errors

_BLOCK_BYTES = 32 << 20
_HEADER_BYTES = 1 << 20
_LINE_BREAK = ord("\n")


def header(path: str, log: spec.LogSpec) -> List[str]:
    """The columns of a file; empty for a file without rows.

    Raises:
      errors.InputError: if the file cannot be read as its format.
    """
    if log.column_names:
        return list(log.column_names)
    kind = files.format_of(path, log)
    with files.open_file(path) as stream:
        lines = (line for line in stream.read(_HEADER_BYTES).splitlines() if line.strip())
        first = next(lines, b"")
    if not first:
        return []
    try:
        # Without threads, which may be at work still when a command has ended.
        options = pyarrow.csv.ReadOptions(use_threads=False), _parse_options(kind, None)
        return pyarrow.csv.read_csv(pa.BufferReader(first + b"\n"), *options).column_names
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise errors.InputError(f"{path}: not readable as {kind} ({error})") from error


def read(source: files.Source, log: spec.LogSpec) -> blocks.Pieces:
    """Reads a file; see `blocks.Piece`.

    Raises:
      errors.InputError: if a column is missing or the file is not of its format.
    """
    invalid: List[Any] = []
    found = header(source.path, log)
    if not found:
        return
    columns.check(found, log, source.path)
    with files.open_file(source.path) as stream:
        try:
            reader = _open_csv(stream, source.format, log, found, invalid)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return
            raise _unreadable(source, error) from error
        header_rows = 0 if log.column_names else 1
        reported, next_row, batches = 0, 1, iter(reader)
        # Lines that were rows before, had a quote not swallowed them.
        swallowed = 0
        while True:
            try:
                batch = next(batches, None)
            except pa.ArrowInvalid as error:
                raise _unreadable(source, error) from error
            fresh, reported = invalid[reported:], len(invalid)
            table = reader.schema.empty_table() if batch is None else pa.Table.from_batches([batch])
            # Arrow gives no numbers to the rows it keeps: they are the ones it did not skip.
            skipped = [blocks.NO_ROW if row.number is None else row.number - header_rows for row in fresh]
            counted = np.arange(next_row, next_row + table.num_rows + len(fresh), dtype=np.int64)
            counted = counted[~np.isin(counted, skipped)][: table.num_rows]
            next_row += table.num_rows + len(fresh)
            torn = _torn(table)
            breaks = np.zeros(table.num_rows + 1, np.int64)
            for index, _, lines in torn:
                breaks[index + 1] += len(lines) - 1
            before = swallowed + np.cumsum(breaks)

            def row_of(number: int) -> int:
                return (
                    number
                    if number == blocks.NO_ROW
                    else number + int(before[np.searchsorted(counted, number)])
                )

            rejects = [
                blocks.Reject(
                    source.path,
                    row_of(number),
                    f"wrong column count: {row.actual_columns} instead of {row.expected_columns}",
                    blocks.sample(row.text),
                )
                for number, row in zip(skipped, fresh)
            ]
            for index, name, lines in torn:
                # What the value has swallowed were rows, too.
                reason = f"line break in a quoted value (column {name!r})"
                rejects += [
                    blocks.Reject(source.path, row_of(counted[index]) + after, reason, blocks.sample(line))
                    for after, line in enumerate(lines)
                ]
            whole = np.ones(table.num_rows, bool)
            whole[[index for index, _, _ in torn]] = False
            numbers = counted + before[:-1]
            if torn:
                table, numbers = table.filter(pa.array(whole)), numbers[whole]
            if table.num_rows or rejects:
                yield table, numbers, rejects
            if batch is None:
                return
            swallowed = int(before[-1])


def _parse_options(kind: str, skip: Any) -> pyarrow.csv.ParseOptions:
    # Tab-separated values know no quotes: one is a character like any other.
    delimiter, quote = ("\t", False) if kind == "tsv" else (",", '"')
    return pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=quote, invalid_row_handler=skip)


def _open_csv(
    stream: pa.NativeFile, kind: str, log: spec.LogSpec, found: Sequence[str], invalid: List[Any]
) -> pyarrow.csv.CSVStreamingReader:
    def skip(row: Any) -> str:
        invalid.append(row)
        return "skip"

    return pyarrow.csv.open_csv(
        stream,
        # One thread, so that Arrow knows the number of a row that it skips.
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            column_names=list(log.column_names) if log.column_names else None,
        ),
        parse_options=_parse_options(kind, skip),
        convert_options=pyarrow.csv.ConvertOptions(
            check_utf8=False,
            # All columns, since Arrow holds those of which it guesses a type to what their first block had.
            column_types={name: pa.binary() for name in found},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )


def _unreadable(source: files.Source, error: pa.ArrowInvalid) -> errors.InputError:
    hint = "; is there a quote that is not closed within its line?" if "out of sync" in str(error) else ""
    return errors.InputError(f"{source.path}: not readable as {source.format} ({error}){hint}")


def _torn(table: pa.Table) -> List[Tuple[int, str, List[bytes]]]:
    """The rows of which a value runs over line breaks and has swallowed other rows, by a stray quote.

    A text of several lines swallows nothing: none of its lines has as many fields as a row.

    Returns:
      Of each the row in the table, the first column with such a value, and that value's lines.
    """
    found: Dict[int, Tuple[int, str, List[bytes]]] = {}
    for number, name in enumerate(table.column_names):
        array = values.whole(table.column(number))
        data = array.buffers()[2]
        if data is None or not (np.frombuffer(data, np.uint8) == _LINE_BREAK).any():
            continue
        torn = pc.match_substring(array, "\n").fill_null(False).to_numpy(zero_copy_only=False)
        for index in map(int, np.flatnonzero(torn)):
            lines = array[index].as_py().rstrip(b"\n").split(b"\n")
            if any(line.count(b",") >= table.num_columns - 1 for line in lines[1:]):
                found.setdefault(index, (index, name, lines))
    return [found[index] for index in sorted(found)]
