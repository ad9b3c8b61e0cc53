"""Reads JSON lines block by block.

Arrow reads a block whose values keep all that they say in the types that it finds: text, 64-bit integers,
truth values, and floats below 2^53. All other blocks are cut into pieces, and a piece that Arrow cannot read so
is read line by line. Both ways give the same: what a value is as text is the business of `text` alone.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, columns, files, utf8
from components.behavior_example_gen.reading import text as text_lib
from components.behavior_example_gen.reading import values as values_lib
from schemas import names

_BLOCK_BYTES = 8 << 20
_PIECE_BYTES = 1 << 20
# What Arrow refuses to read as one block.
_MOST_LINES = 100_000
_HEADER_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
# Arrow parses nested values on the stack: a line with more brackets than this is too much for it, and a line
# this long may have as many.
_MOST_BRACKETS, _LONG_LINE = 1000, 8192
_EXACT_FLOAT = 2.0**53


def header(path: str, log: spec.LogSpec) -> list[str]:
    """The keys of the first lines; empty for a file without any."""
    # Of all lines, since one may leave out what it has no value of.
    found: dict[str, None] = {}
    with utf8.open_text(path, log) as stream:
        for line in stream.read(_HEADER_BYTES).split(b"\n"):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                found.update(dict.fromkeys(record))
    return list(found)


def read(source: files.Source, log: spec.LogSpec) -> blocks.Pieces:
    """Reads a file; see `blocks.Piece`.

    Raises:
      errors.InputError: if a column that each event has is missing from the first block.
    """
    reader, row = _Reader(source, log), 1
    with utf8.open_text(source.path, log) as stream:
        rest = b""
        while True:
            data = stream.read(_BLOCK_BYTES)
            text, rest = rest + data, b""
            if not text:
                return
            if data:
                cut = text.rfind(b"\n") + 1
                if not cut:
                    rest = text
                    continue
                text, rest = text[:cut], text[cut:]
            yield from reader.pieces(text, row)
            if row == 1 and reader.found:
                columns.check(list(reader.found), log, source.path, columns.ALWAYS)
            row += _lines(text)


def _lines(text: bytes) -> int:
    # `bytes.count` stops at each of many.
    breaks = np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    return int(breaks) + (not text.endswith(b"\n"))


class _Reader:
    """Reads pieces of a file, and remembers the types that its columns had.

    `found` has the keys of the objects so far, of those that are wanted at least.
    """

    def __init__(self, source: files.Source, log: spec.LogSpec):
        self.found: dict[str, None] = {}
        self._source = source
        wanted, attributes = log.columns.wanted(), log.columns.attributes()
        self._columns = wanted
        self._wanted = list(dict.fromkeys(wanted.values()))
        kinds: dict[str, set] = {name: set() for name in self._wanted}
        for feature, name in wanted.items():
            kinds[name].add("time" if feature == names.TIMESTAMP else columns.kind(feature, attributes))
        # Of several values in a field, the separator; of numbers and labels, floats are what they are.
        self._separators = {
            attribute.column: attribute.separator
            for attribute in attributes.values()
            if kinds[attribute.column] == {spec.MULTI}
        }
        self._numbers = {name for name in self._wanted if kinds[name] <= {spec.NUMERIC, columns.LABEL}}
        self._time = wanted[names.TIMESTAMP]
        self._schema: pa.Schema | None = None

    def pieces(self, text: bytes, row: int) -> Iterator[blocks.Piece]:
        """The pieces of whole lines of which the first has the number `row`."""
        table = self._fast(text)
        if table is not None:
            yield table, np.arange(row, row + table.num_rows, dtype=np.int64), []
            return
        start = 0
        while start < len(text):
            end = text.find(b"\n", start + _PIECE_BYTES) + 1 or len(text)
            piece = text[start:end]
            # The whole has been tried.
            table = self._fast(piece) if len(piece) < len(text) else None
            if table is not None:
                yield table, np.arange(row, row + table.num_rows, dtype=np.int64), []
            else:
                yield self._slow(piece, row)
            row += _lines(piece)
            start = end

    def _fast(self, text: bytes) -> pa.Table | None:
        """Whole lines as Arrow reads them; None where something may be lost or bad."""
        lines = _lines(text)
        if lines >= _MOST_LINES or not _plain(text):
            return None
        if self._schema is None:
            sample = text[: text.find(b"\n", _SAMPLE_BYTES) + 1 or len(text)]
            self._remember(_arrow(sample, None))
        for schema in dict.fromkeys((self._schema, None)):
            table = self._as_texts(text, _arrow(text, schema))
            # A line is a row.
            if table is not None and table.num_rows == lines and self._lossless(table):
                if schema is None:
                    self._remember(table)
                self.found.update(dict.fromkeys(table.column_names))
                return table
        return None

    def _as_texts(self, text: bytes, table: pa.Table | None) -> pa.Table | None:
        """A table in which the texts that Arrow takes for times are texts."""
        if table is None:
            return None
        moments = [
            pa.field(name, _settled(table.schema.field(name).type))
            for name in self._wanted
            if table.schema.get_field_index(name) >= 0 and _moments(table.schema.field(name).type)
        ]
        return _arrow(text, pa.schema(moments), "infer") if moments else table

    def _remember(self, table: pa.Table | None) -> None:
        """Takes the types of a table for those of the file, if it has all columns and tells all types."""
        if table is None or not set(self._wanted) <= set(table.column_names):
            return
        fields = [pa.field(name, _settled(table.schema.field(name).type)) for name in self._wanted]
        if all(_known(field.type) for field in fields):
            self._schema = pa.schema(fields)

    def _lossless(self, table: pa.Table) -> bool:
        """Whether all wanted values are what they are in the text, and may be what they are for."""
        for name in self._wanted:
            if name not in table.column_names:
                continue
            column = table.column(name)
            if values_lib.is_list(column.type) and name in self._separators:
                column = pc.list_flatten(column)
            kind = column.type
            if pa.types.is_floating(kind):
                # Integers beyond, and those that fit no int64, have become floats.
                most = pc.max(pc.abs(column)).as_py()
                if name not in self._numbers and most is not None and most >= _EXACT_FLOAT:
                    return False
            elif not (
                pa.types.is_string(kind)
                or pa.types.is_int64(kind)
                or (pa.types.is_boolean(kind) and name != self._time)
                or pa.types.is_null(kind)
            ):
                return False
        return True

    def _slow(self, text: bytes, row: int) -> blocks.Piece:
        """Lines one by one: bad ones are set aside, and numbers keep all their digits."""
        texts: dict[str, list[Any]] = {name: [] for name in self._wanted}
        # A key that no object has leaves no column.
        keys = {self._columns[feature] for feature in columns.ALWAYS}
        floats: dict[str, list[tuple[int, float]]] = {name: [] for name in self._wanted}
        rows: list[int] = []
        rejects: list[blocks.Reject] = []
        for number, line in enumerate(text.split(b"\n"), row):
            if not line.strip():
                continue
            try:
                record = self._record(line)
            except _BadLine as bad:
                rejects.append(blocks.Reject(self._source.path, number, str(bad), blocks.sample(line)))
                continue
            keys |= record.keys()
            for name in self._wanted:
                value = record.get(name)
                if type(value) is _Float:
                    floats[name].append((len(rows), float(value)))
                texts[name].append(self._several(name, value) if name in self._separators else _text(value))
            rows.append(number)
        for name, found in floats.items():
            if found and name not in self._separators:
                written = _float_texts([value for _, value in found])
                for (index, value), digits in zip(found, written):
                    # As a float still, so that it is noted as one.
                    texts[name][index] = f"{digits}.0" if value.is_integer() and digits.isdigit() else digits
        table = pa.table(
            {
                name: pa.array(column, pa.list_(pa.string()) if name in self._separators else pa.string())
                for name, column in texts.items()
                if name in keys
            }
        )
        return table, np.asarray(rows, np.int64), rejects

    def _record(self, line: bytes) -> dict[str, Any]:
        """The object of a line, with numbers as they are written.

        Raises:
          _BadLine: with the reason.
        """
        try:
            record = _DECODER.decode(line.decode("utf-8"))
        except UnicodeDecodeError:
            raise _BadLine("invalid UTF-8") from None
        except ValueError:
            raise _BadLine("not JSON") from None
        except RecursionError:
            raise _BadLine("not JSON, or nested too deeply") from None
        if not isinstance(record, dict):
            raise _BadLine("not a JSON object")
        self.found.update(dict.fromkeys(record))
        for name in self._wanted:
            value = record.get(name)
            allowed = isinstance(value, list) and name in self._separators
            values = value if allowed else [value]
            if any(isinstance(part, (dict, list)) for part in values):
                raise _BadLine(f"an object or a list where one value belongs (column {name!r})")
            # An escape can name half a character.
            if b"\\u" in line and any(isinstance(part, str) and not _encodes(part) for part in values):
                raise _BadLine(f"invalid UTF-8 in column {name!r}")
        return record

    def _several(self, name: str, value: Any) -> list[str | None] | None:
        parts = [
            _float_texts([part])[0] if type(part) is _Float else _text(part)
            for part in (value if isinstance(value, list) else [value])
        ]
        if isinstance(value, list) or value is None:
            return parts
        return (parts[0] or "").split(self._separators[name])


class _BadLine(Exception):
    """A line that is no event; the message says why."""


class _Int(str):
    """A whole number as it is written."""


class _Float(str):
    """A number with a point or an exponent as it is written, or `NaN` or `Infinity`."""


_DECODER = json.JSONDecoder(parse_int=_Int, parse_float=_Float, parse_constant=_Float)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "0" if type(value) is _Int and value == "-0" else value


def _float_texts(values: list[Any]) -> list[str | None]:
    """The texts of floats, as of a column of them; infinite ones as a number too large for any type."""
    numbers = [float(value) for value in values]
    found = text_lib.of(pa.array(numbers, pa.float64())).values.cast(pa.string()).to_pylist()
    return [
        ("1e+999" if value > 0 else "-1e+999") if math.isinf(value) else text
        for value, text in zip(numbers, found)
    ]


def _encodes(value: str) -> bool:
    try:
        value.encode("utf-8")
        return True
    except UnicodeEncodeError:
        return False


def _plain(text: bytes) -> bool:
    """Whether each line is UTF-8 and may be one object, nested no more than Arrow bears."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not text.endswith(b"\n"):
        ends = np.append(ends, len(text))
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts
    if sizes.min() < 3:
        return False
    last = data[ends - 1]
    last = np.where(last == ord("\r"), data[ends - 2], last)
    if (data[starts] != ord("{")).any() or (last != ord("}")).any():
        return False
    for line in np.flatnonzero(sizes > _LONG_LINE):
        start, end = starts[line], ends[line]
        if text.count(b"[", start, end) + text.count(b"{", start, end) > _MOST_BRACKETS:
            return False
    return text.isascii() or _decodes(text)


def _decodes(text: bytes) -> bool:
    try:
        text.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def _arrow(text: bytes, schema: pa.Schema | None, others: str = "ignore") -> pa.Table | None:
    """Lines as Arrow reads them; None if one is not JSON, or values of a key are of different types."""
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else others
            ),
        )
    except pa.ArrowException:
        return None


def _moments(kind: pa.DataType) -> bool:
    """Whether Arrow takes texts for times, in lists, too."""
    return pa.types.is_timestamp(kind.value_type if values_lib.is_list(kind) else kind)


def _settled(kind: pa.DataType) -> pa.DataType:
    """A type with text in place of times."""
    if values_lib.is_list(kind):
        return pa.list_(_settled(kind.value_type))
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _known(kind: pa.DataType) -> bool:
    """Whether a type is more than that there has been no value yet."""
    return not pa.types.is_null(kind.value_type if values_lib.is_list(kind) else kind)
