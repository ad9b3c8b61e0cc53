"""Reads files of separated values (CSV, TSV and their relatives) block by block.

A block is cut at the end of a record, brought to one delimiter of one byte where it has another, and parsed by Arrow
as a whole. Where a quote may have swallowed a line break, `records` says first which lines are one record.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, columns, dialect, files, records, utf8
from schemas import errors

_BLOCK_BYTES = 32 << 20
_HEADER_BYTES = 1 << 16
# A file without a line break in so many bytes is none of rows.
_LONGEST_RECORD = 256 << 20
_OPEN_QUOTE = "a quote is not closed"
# What a time may be written with, however it is written; prose has more.
_TIME = re.compile(rb"(?=.*[0-9])[\w .,:/+-]{1,40}")
_EMPTY = re.compile(rb"[\r\n]*\Z")


def header(path: str, log: spec.LogSpec) -> list[str]:
    """The columns of a file; empty for a file without rows.

    Raises:
      errors.InputError: if the file cannot be read as its format.
    """
    with utf8.open_text(path, log) as stream:
        return _begin(stream, path, files.format_of(path, log), log)[1]


def read(source: files.Source, log: spec.LogSpec, everything: bool = False) -> blocks.Pieces:
    """Reads a file; see `blocks.Piece`.

    Args:
      source: the file.
      log: how it is read.
      everything: all columns, whether or not a setting names them; none has to be there.

    Raises:
      errors.InputError: if a column is missing or the file is not of its format.
    """
    with utf8.open_text(source.path, log) as stream:
        marks, found, rest = _begin(stream, source.path, source.format, log)
        if not found:
            return
        if everything:
            parse = _Parser(source, marks, found, list(range(len(found))), None)
        else:
            columns.check(found, log, source.path)
            wanted = [found.index(name) for name in dict.fromkeys(log.columns.wanted().values())]
            parse = _Parser(source, marks, found, wanted, _row_test(found, log))
        last = False
        while not last:
            data = stream.read(_BLOCK_BYTES)
            last = not data
            block, rest = rest + data, b""
            if not last:
                cut = records.last_break(block)
                block, rest = block[:cut], block[cut:]
            if not block and len(rest) > _LONGEST_RECORD:
                raise errors.InputError(
                    f"{source.path}: not readable as {source.format}: no line break in {len(rest) >> 20} MB"
                )
            if block:
                table, numbers, rejects, open_end = parse(block, last)
                rest = open_end + rest
                if table.num_rows or rejects:
                    yield table, numbers, rejects


def _begin(
    stream: utf8.Utf8, path: str, kind: str, log: spec.LogSpec
) -> tuple[dialect.Dialect, list[str], bytes]:
    """The marks of a file, its columns (none if it has no row), and what is read of it behind its header."""
    head, end = b"", False
    while True:
        more = stream.read(_HEADER_BYTES)
        head, end = head + more, not more
        marks, at = dialect.start(head, kind, log)
        after = _after_record(head, at, marks, end)
        if end or after is not None or len(head) > _LONGEST_RECORD:
            break
    if after is None or after == at:
        return marks, list(log.column_names or ()), b""
    line, single = marks.single(head[at:after].rstrip(b"\r\n"))
    try:
        first = [dialect.plain(field, single).decode() for field in dialect.fields(line, single)[1]]
    except UnicodeDecodeError as error:
        raise errors.InputError(
            f"{path}: not readable as {kind}: its first row is no UTF-8 ({error.reason}); is it in another "
            f"log.encoding, as cp1252 or utf-16?"
        ) from error
    named = list(log.column_names or ())
    # Names that stand in the file, too, are no row of it.
    has_header = (not named or first == named) if log.header is None else log.header
    return marks, named or first, head[after:] if has_header else head[at:]


def _after_record(head: bytes, at: int, marks: dialect.Dialect, end: bool) -> int | None:
    """Behind the first record, whose quoted values may hold line breaks; None if it is not whole."""
    inside, begin = False, at
    for found in re.finditer(rb"\r\n|\r|\n", head[at:]):
        if found.group() == b"\r" and at + found.end() == len(head) and not end:
            return None
        line, single = marks.single(head[begin : at + found.start()])
        inside = dialect.fields(line, single, inside)[0]
        begin = at + found.end()
        # A name of many lines is a stray quote.
        if not inside or begin - at > _HEADER_BYTES:
            return begin if not inside else at + re.search(rb"\r\n|\r|\n", head[at:]).end()
    return len(head) if end else None


def _row_test(found: Sequence[str], log: spec.LogSpec) -> records.IsRow:
    """Tells a row from a line of prose: by the number of its fields and by what stands where the time does."""
    time = list(found).index(log.columns.timestamp)
    ids = [list(found).index(name) for name in (log.columns.user_id, log.columns.item_id)]

    def is_row(is_open: bool, fields: Sequence[bytes]) -> bool:
        if len(fields) != len(found) and not (is_open and time < len(fields) - 1 < len(found)):
            return False
        return bool(_TIME.fullmatch(fields[time].strip(b" \"'"))) and all(
            fields[i].strip() for i in ids if i < len(fields)
        )

    return is_row


class _Parser:
    """Parses block after block of a file, and counts its rows."""

    def __init__(
        self,
        source: files.Source,
        marks: dialect.Dialect,
        found: Sequence[str],
        wanted: Sequence[int],
        is_row: records.IsRow | None,
    ):
        self._source, self._marks, self._found, self._wanted = source, marks, found, wanted
        self._is_row = is_row or (lambda is_open, fields: len(fields) == len(found) and not is_open)
        self._row = 1
        self._has_breaks = False  # within quoted values

    def __call__(self, block: bytes, last: bool) -> tuple[pa.Table, np.ndarray, list[blocks.Reject], bytes]:
        """The rows of a block, their numbers, bad rows, and what belongs to the next block."""
        single, marks = self._marks.single(block)
        if not self._has_breaks:
            table, invalid = self._arrow(single, marks)
            count = table.num_rows + len(invalid)
            found = records.Records(single, np.arange(count), [], count)
            self._has_breaks = not records.is_plain(single, marks, count)
        # Where one block has values of several lines, so have the next ones: they are not tried in vain.
        if self._has_breaks:
            found = records.split(single, marks, len(self._found), self._is_row, last)
            table, invalid = self._arrow(found.text, marks)
            if table.num_rows + len(invalid) != len(found.numbers):
                raise errors.InputError(
                    f"{self._source.path}: not readable as {self._source.format}: rows {self._row:,} to "
                    f"{self._row + found.count:,} are {len(found.numbers):,} records, but Arrow finds "
                    f"{table.num_rows + len(invalid):,}"
                )
        numbers = found.numbers + self._row
        skipped = np.array([row.number - 1 for row in invalid], np.int64)
        rejects = [
            self._reject(
                numbers[index],
                f"wrong column count: {row.actual_columns} instead of {row.expected_columns}",
                row.text.encode("utf-8", "surrogateescape"),
                marks,
            )
            for index, row in zip(skipped, invalid)
        ]
        rejects += [self._reject(n + self._row, _OPEN_QUOTE, line, marks) for n, line in found.bad]
        self._row += found.count
        rest = found.rest
        if marks != self._marks:
            table = _with_delimiters(table, marks.delimiter, self._marks.written)
            rest = rest.replace(marks.delimiter, self._marks.written)
        return table, np.delete(numbers, skipped), rejects, rest

    def _reject(self, row: int, reason: str, line: bytes, marks: dialect.Dialect) -> blocks.Reject:
        if marks != self._marks:
            line = line.replace(marks.delimiter, self._marks.written)
        return blocks.Reject(self._source.path, int(row), reason, blocks.sample(line))

    def _arrow(self, single: bytes, marks: dialect.Dialect) -> tuple[pa.Table, list[Any]]:
        """A text by Arrow, and the rows of it that have another number of fields."""
        single = dialect.unescaped(single, marks)
        # By number, since two columns that nobody asks for may have one name.
        keys = [str(number) for number in range(len(self._found))]
        invalid: list[Any] = []

        def skip(row: Any) -> str:
            invalid.append(row)
            return "skip"

        if _EMPTY.match(single):
            empty = {self._found[index]: pa.array([], pa.binary()) for index in self._wanted}
            return pa.table(empty), []
        try:
            # `read_csv` looks through all objects of the process at its end.
            reader = pyarrow.csv.open_csv(
                pa.BufferReader(single),
                # One thread and one block, so that Arrow knows the number of a row that it skips.
                pyarrow.csv.ReadOptions(use_threads=False, block_size=len(single) + 1, column_names=keys),
                pyarrow.csv.ParseOptions(
                    delimiter=marks.delimiter.decode(),
                    quote_char=marks.quote.decode() or False,
                    invalid_row_handler=skip,
                ),
                pyarrow.csv.ConvertOptions(
                    check_utf8=False,
                    include_columns=[keys[index] for index in self._wanted],
                    column_types=dict.fromkeys(keys, pa.binary()),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    null_values=[""],
                ),
            )
            table = reader.read_all()
        except pa.ArrowInvalid as error:
            raise errors.InputError(
                f"{self._source.path}: not readable as {self._source.format} ({error})"
            ) from error
        return table.rename_columns([self._found[index] for index in self._wanted]), invalid


def _with_delimiters(table: pa.Table, control: bytes, delimiter: bytes) -> pa.Table:
    """What stood for a delimiter within quotes is one again."""
    for number, name in enumerate(table.column_names):
        column = table.column(number)
        if pc.any(pc.match_substring(column, control.decode())).as_py():
            replaced = pc.replace_substring(column, control.decode(), delimiter.decode())
            table = table.set_column(number, name, replaced)
    return table
