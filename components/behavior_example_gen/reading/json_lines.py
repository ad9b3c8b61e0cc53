"""Reads JSON lines block by block."""

import json
from typing import Any, Dict, List, Optional

import numpy as np
import pyarrow as pa
import pyarrow.json

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, columns, files, values
from schemas import names

_BLOCK_BYTES = 32 << 20
_HEADER_BYTES = 1 << 20
# What no block of JSON lines can be without; other keys may be left out where there is no value.
_ALWAYS = (names.USER_ID, names.ITEM_ID, names.TIMESTAMP)


def header(path: str, log: spec.LogSpec) -> List[str]:
    """The keys of the first lines; empty for a file without any."""
    del log  # of other formats
    # Of all lines, since one may leave out what it has no value of.
    found: Dict[str, None] = {}
    with files.open_file(path) as stream:
        for line in stream.read(_HEADER_BYTES).splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.update(dict.fromkeys(record))
    return list(found)


def read(source: files.Source, log: spec.LogSpec) -> blocks.Pieces:
    """Reads a file; see `blocks.Piece`.

    Raises:
      errors.InputError: if a column that each event has is missing from a block.
    """
    row = 1
    with files.open_file(source.path) as stream:
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
            lines = text.count(b"\n") + (not text.endswith(b"\n"))
            try:
                table = _json_table(text, log)
                # Arrow leaves empty lines out, which would shift the numbers of the rows.
                whole = table.num_rows == lines
            except pa.ArrowInvalid:
                whole = False
            if whole:
                columns.check(table.column_names, log, source.path, _ALWAYS)
                yield table, np.arange(row, row + lines, dtype=np.int64), []
            else:
                yield _parse_lines(source, text, row, log)
            row += lines


def _json_table(text: bytes, log: spec.LogSpec) -> pa.Table:
    """A block of JSON lines.

    Raises:
      pa.ArrowInvalid: if a line is not JSON, or values of a key are of different types.
    """

    def read_as(schema: Optional[pa.Schema]) -> pa.Table:
        return pyarrow.json.read_json(
            pa.BufferReader(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema),
        )

    table = read_as(None)
    # Arrow takes texts that look like times for times. What they are log.timestamp_unit says, and ids are texts.
    texts = [
        pa.field(name, pa.string())
        for name in log.columns.wanted().values()
        if name in table.column_names
        and pa.types.is_timestamp(table.schema.field(name).type)
    ]
    return read_as(pa.schema(texts)) if texts else table


def _text(value: Any) -> str:
    """A JSON value as text, as Arrow makes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_lines(source: files.Source, text: bytes, row: int, log: spec.LogSpec) -> blocks.Piece:
    """The slow way, for a block of JSON lines that Arrow refuses as a whole."""
    wanted = list(dict.fromkeys(log.columns.wanted().values()))
    separators = {
        attribute.column: attribute.separator
        for attribute in log.columns.attributes().values()
        if attribute.type == spec.MULTI
    }
    texts: Dict[str, List[Any]] = {name: [] for name in wanted}
    rows: List[int] = []
    rejects: List[blocks.Reject] = []
    found: Dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), row):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            reason = "invalid UTF-8" if isinstance(error, UnicodeDecodeError) else "not JSON"
            rejects.append(blocks.Reject(source.path, number, reason, blocks.sample(line)))
            continue
        if not isinstance(record, dict):
            rejects.append(blocks.Reject(source.path, number, "not a JSON object", blocks.sample(line)))
            continue
        found.update(dict.fromkeys(record))
        rows.append(number)
        for name in wanted:
            value = record.get(name)
            if value is None or value in ("", "NaN", "nan", "NULL", "null"):
                texts[name].append(None)
            elif name not in separators:
                texts[name].append(_text(value))
            elif isinstance(value, list):
                texts[name].append([None if part is None else _text(part) for part in value])
            else:
                texts[name].append(_text(value).split(separators[name]))
    if rows:
        columns.check(list(found), log, source.path, _ALWAYS)
    table = pa.table(
        {
            name: pa.array(column, pa.list_(pa.string()) if name in separators else pa.string())
            for name, column in texts.items()
        }
    )
    return table, np.asarray(rows, np.int64), rejects
