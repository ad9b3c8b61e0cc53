"""Reads logs into Arrow record batches, and sets bad rows aside with their reason.

A block is read, checked and converted as columns; Python touches single rows only where a
row is bad. Files are opened through Beam's filesystems, so a bucket works like a folder.
"""

import contextlib
import dataclasses
import json
import posixpath
import re
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from apache_beam.io import filesystem, filesystems
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from components.behavior_example_gen import fields, spec
from schemas import errors, names

# Rows are counted from 1 within a file, a header not counted; NO_ROW where it cannot be known.
ROW = "row"
FILE = "file"
TICKS = "ticks"  # the time at the log's own resolution, for sorting
NO_ROW = -1

_BLOCK_BYTES = 32 << 20
_BLOCK_ROWS = 1 << 19
_HEADER_BYTES = 1 << 20
_SAMPLE_CHARACTERS = 120
_LINE_BREAK = ord("\n")
# What no block of JSON lines can be without; other keys may be left out where there is no value.
_ALWAYS = (names.USER_ID, names.ITEM_ID, names.TIMESTAMP)
_LABEL = "label"  # beside the types of attributes
# The end of the year 9999: what lies further is of another unit.
_LAST_MS = 253_402_300_800_000
_TICKS_PER_MS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
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
_ISO_TIME = re.compile(
    r"(?P<date>\d{4}(-\d\d(-\d\d)?)?|\d{8})"
    r"([T ](?P<time>\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?)(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?$"
)
# Forms that only some versions of pandas take: a blank before the zone, its name, a comma before fractions.
_BLANK_ZONE = re.compile(r" +([+-]\d\d(:?\d\d)?|Z|UTC)$")
_CODECS = {"gz": "gzip", "gzip": "gzip", "zst": "zstd", "bz2": "bz2"}


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, or one row group of a Parquet file; `index` orders the files of a log."""

    path: str
    index: int
    format: str
    row_group: Optional[int] = None
    first_row: int = 1


@dataclasses.dataclass(frozen=True)
class Reject:
    """A bad row: where it stands, what is wrong with it, and how it starts."""

    file: str
    row: int
    reason: str
    value: str

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


@dataclasses.dataclass
class Block:
    """A piece of a log: the good rows as columns, and the bad ones.

    `batch` has `user_id item_id` (and behaviour, scene, categorical attributes) as binary, multi-valued
    attributes as lists of binary, numeric ones as float32 (NaN is missing), labels as int8 (1, 0 or
    `names.UNKNOWN_LABEL`), `timestamp` in ms, `ticks` and `row` as int64. `rows` counts good and bad rows.
    """

    source: Source
    batch: pa.RecordBatch
    rejects: List[Reject]
    rows: int


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


def find_sources(patterns: Sequence[str], log: spec.LogSpec) -> List[Source]:
    """The files that match, in the order of `patterns` and then of their names; Parquet by row group.

    Raises:
      errors.InputError: if no file matches, or the first block of one lacks a column.
    """
    paths = []
    for pattern in patterns:
        if pattern.endswith("/"):
            pattern += "*"
        matched = filesystems.FileSystems.match([pattern])[0].metadata_list
        paths.extend(sorted(m.path for m in matched if not posixpath.basename(m.path).startswith((".", "_"))))
    if not paths:
        raise errors.InputError(f"log.path: no file matches {', '.join(patterns)}")
    sources = []
    for index, path in enumerate(paths):
        kind = format_of(path, log)
        if kind != "parquet":
            sources.append(Source(path, index, kind))
            continue
        with _open(path) as stream:
            if not stream.read(1):
                sources.append(Source(path, index, kind))
                continue
            stream.seek(0)
            try:
                parquet = pyarrow.parquet.ParquetFile(stream)
            except pa.ArrowInvalid as error:
                raise errors.InputError(f"{path}: not a Parquet file ({error})") from error
            _check_columns(parquet.schema_arrow.names, log, path)
            row = 1
            for group in range(parquet.num_row_groups):
                sources.append(Source(path, index, kind, group, row))
                row += parquet.metadata.row_group(group).num_rows
    return sources


def header(path: str, log: spec.LogSpec) -> List[str]:
    """The columns of a file; empty for a file without rows.

    Raises:
      errors.InputError: if the file cannot be read as its format.
    """
    kind = format_of(path, log)
    if kind == "parquet":
        with _open(path) as stream:
            if not stream.read(1):
                return []
            stream.seek(0)
            return list(pyarrow.parquet.ParquetFile(stream).schema_arrow.names)
    with _open(path) as stream:
        if kind == "jsonl":
            # Of all lines, since one may leave out what it has no value of.
            found: Dict[str, None] = {}
            for line in stream.read(_HEADER_BYTES).splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    found.update(dict.fromkeys(record))
            return list(found)
        if log.column_names:
            return list(log.column_names)
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


def read(source: Source, log: spec.LogSpec) -> Iterator[Block]:
    """Reads one source block by block.

    Raises:
      errors.InputError: if a column is missing or the file is not of its format.
    """
    reader = {"csv": _read_csv, "tsv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}[
        source.format
    ]
    for table, rows, rejects in reader(source, log):
        yield _normalise(source, table, rows, rejects, log)


@contextlib.contextmanager
def _open(path: str) -> Iterator[pa.NativeFile]:
    """The bytes of a file, decompressed by its ending."""
    # Arrow decompresses, since it does not take Beam's own decompressing files for open ones.
    with filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as raw:
        codec = _CODECS.get(path.rsplit(".", 1)[-1].lower())
        stream = pa.PythonFile(raw, mode="r")
        yield pa.CompressedInputStream(stream, codec) if codec else stream


def _check_columns(found: Sequence[str], log: spec.LogSpec, path: str, only: Sequence[str] = ()) -> None:
    """Checks that the columns are there, once each; `only` those of these features, if any is named."""
    for feature, column in log.columns.wanted().items():
        if only and feature not in only:
            continue
        if found.count(column) > 1:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{_key(feature, log)}) is there {found.count(column)} "
                f"times; the file has {', '.join(found)}"
            )
        if column not in found:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{_key(feature, log)}) is missing; the file has "
                f"{', '.join(found)}"
            )


def _key(feature: str, log: spec.LogSpec) -> str:
    """Where `log.columns` names the column of a feature, as `item.color`."""
    for group in ("item", "user", "context", "label"):
        name = feature[len(group) + 1 :]
        if feature.startswith(f"{group}_") and name in getattr(log.columns, group):
            return f"{group}.{name}"
    return feature


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
            null_values=list(fields.MISSING),
        ),
    )


def _read_csv(source: Source, log: spec.LogSpec) -> Iterator[Tuple[pa.Table, np.ndarray, List[Reject]]]:
    invalid: List[Any] = []
    found = header(source.path, log)
    if not found:
        return
    _check_columns(found, log, source.path)
    with _open(source.path) as stream:
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
            skipped = [NO_ROW if row.number is None else row.number - header_rows for row in fresh]
            counted = np.arange(next_row, next_row + table.num_rows + len(fresh), dtype=np.int64)
            counted = counted[~np.isin(counted, skipped)][: table.num_rows]
            next_row += table.num_rows + len(fresh)
            torn = _torn(table)
            breaks = np.zeros(table.num_rows + 1, np.int64)
            for index, _, lines in torn:
                breaks[index + 1] += len(lines) - 1
            before = swallowed + np.cumsum(breaks)

            def row_of(number: int) -> int:
                return number if number == NO_ROW else number + int(before[np.searchsorted(counted, number)])

            rejects = [
                Reject(
                    source.path,
                    row_of(number),
                    f"wrong column count: {row.actual_columns} instead of {row.expected_columns}",
                    _sample(row.text),
                )
                for number, row in zip(skipped, fresh)
            ]
            for index, name, lines in torn:
                # What the value has swallowed were rows, too.
                reason = f"line break in a quoted value (column {name!r})"
                rejects += [
                    Reject(source.path, row_of(counted[index]) + after, reason, _sample(line))
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


def _unreadable(source: Source, error: pa.ArrowInvalid) -> errors.InputError:
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
        array = fields.whole(table.column(number))
        data = array.buffers()[2]
        if data is None or not (np.frombuffer(data, np.uint8) == _LINE_BREAK).any():
            continue
        torn = pc.match_substring(array, "\n").fill_null(False).to_numpy(zero_copy_only=False)
        for index in map(int, np.flatnonzero(torn)):
            lines = array[index].as_py().rstrip(b"\n").split(b"\n")
            if any(line.count(b",") >= table.num_columns - 1 for line in lines[1:]):
                found.setdefault(index, (index, name, lines))
    return [found[index] for index in sorted(found)]


def _read_parquet(source: Source, log: spec.LogSpec) -> Iterator[Tuple[pa.Table, np.ndarray, List[Reject]]]:
    if source.row_group is None:
        return
    row = source.first_row
    with _open(source.path) as stream:
        parquet = pyarrow.parquet.ParquetFile(stream)
        columns = list(dict.fromkeys(log.columns.wanted().values()))
        for batch in parquet.iter_batches(_BLOCK_ROWS, [source.row_group], columns, use_threads=False):
            yield pa.Table.from_batches([batch]), np.arange(row, row + batch.num_rows, dtype=np.int64), []
            row += batch.num_rows


def _read_jsonl(source: Source, log: spec.LogSpec) -> Iterator[Tuple[pa.Table, np.ndarray, List[Reject]]]:
    row = 1
    with _open(source.path) as stream:
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
                _check_columns(table.column_names, log, source.path, _ALWAYS)
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
    # Arrow takes texts that look like times for times: right for the time, but an id is the text that it is.
    texts = [
        pa.field(name, pa.string())
        for feature, name in log.columns.wanted().items()
        if feature != names.TIMESTAMP
        and name in table.column_names
        and pa.types.is_timestamp(table.schema.field(name).type)
    ]
    return read_as(pa.schema(texts)) if texts else table


def _text(value: Any) -> str:
    """A JSON value as text, as Arrow makes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_lines(
    source: Source, text: bytes, row: int, log: spec.LogSpec
) -> Tuple[pa.Table, np.ndarray, List[Reject]]:
    """The slow way, for a block of JSON lines that Arrow refuses as a whole."""
    wanted = list(dict.fromkeys(log.columns.wanted().values()))
    separators = {
        attribute.column: attribute.separator
        for attribute in log.columns.attributes().values()
        if attribute.type == spec.MULTI
    }
    values: Dict[str, List[Any]] = {name: [] for name in wanted}
    rows, rejects, found = [], [], {}
    for number, line in enumerate(text.splitlines(), row):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            reason = "invalid UTF-8" if isinstance(error, UnicodeDecodeError) else "not JSON"
            rejects.append(Reject(source.path, number, reason, _sample(line)))
            continue
        if not isinstance(record, dict):
            rejects.append(Reject(source.path, number, "not a JSON object", _sample(line)))
            continue
        found.update(dict.fromkeys(record))
        rows.append(number)
        for name in wanted:
            value = record.get(name)
            if value is None or value in fields.MISSING:
                values[name].append(None)
            elif name not in separators:
                values[name].append(_text(value))
            elif isinstance(value, list):
                values[name].append([None if part is None else _text(part) for part in value])
            else:
                values[name].append(_text(value).split(separators[name]))
    if rows:
        _check_columns(list(found), log, source.path, _ALWAYS)
    table = pa.table(
        {
            name: pa.array(column, pa.list_(pa.string()) if name in separators else pa.string())
            for name, column in values.items()
        }
    )
    return table, np.asarray(rows, np.int64), rejects


def _sample(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value)[:_SAMPLE_CHARACTERS]


def _parse_ticks(column: pa.ChunkedArray, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    """The times as int64 at the log's resolution, which of them are valid, and their unit."""
    array = fields.whole(column)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(array.type):
        return _within(array.cast(pa.int64()), array.type.unit)
    if pa.types.is_uint64(array.type):
        known = pc.less(array, pa.scalar(2**63 - 1, array.type))
        array = pc.if_else(known, array, pa.scalar(None, array.type))
    if pa.types.is_integer(array.type):
        return _within(array.cast(pa.int64()), unit)
    if pa.types.is_floating(array.type):
        return _float_ticks(array.to_numpy(zero_copy_only=False).astype(np.float64), unit)
    text = array if pa.types.is_string(array.type) else array.cast(pa.binary())
    if unit == "iso8601":
        return _iso_ticks(text)
    try:
        return _within(text.cast(pa.string()).cast(pa.int64()), unit)
    except pa.ArrowInvalid:
        # Fractions, or a value that is no number at all.
        numbers = _coerce(text, float, np.nan)
        return _float_ticks(numbers, unit)


def _within(times: pa.Array, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    """Whole times, which of them there are and are not out of all bounds, and their unit."""
    unit = "ms" if unit == "iso8601" else unit
    factor, divisor = _TICKS_PER_MS[unit]
    ticks = times.fill_null(0).to_numpy(zero_copy_only=False)
    last = min(_LAST_MS * divisor // factor, 2**63 - 1)
    valid = times.is_valid().to_numpy(zero_copy_only=False) & (ticks <= last) & (ticks >= -last)
    return np.where(valid, ticks, 0), valid, unit


def _float_ticks(values: np.ndarray, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    factor, divisor = _TICKS_PER_MS["ms" if unit == "iso8601" else unit]
    ms = values * factor / divisor
    valid = np.isfinite(ms) & (np.abs(ms) < _LAST_MS)
    return np.where(valid, np.round(np.where(valid, ms, 0)), 0).astype(np.int64), valid, "ms"


def _iso_ticks(text: pa.Array) -> Tuple[np.ndarray, np.ndarray, str]:
    import pandas as pd

    strings = text.cast(pa.binary()).dictionary_encode()
    distinct = [v.as_py().decode("utf-8", "replace").strip() for v in strings.dictionary]
    # Pandas guesses at other orders of day and month, and before 2 it knows no name for these.
    iso = [_plain_iso(value) for value in distinct]
    form = {"format": "ISO8601"} if int(pd.__version__.split(".")[0]) >= 2 else {}
    parsed = pd.to_datetime(pd.Series(iso + [None], dtype=object), errors="coerce", utc=True, **form)
    micros = parsed.to_numpy(dtype="datetime64[us]")
    index = strings.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    valid = ~np.isnat(micros)
    return np.where(valid, micros.astype(np.int64), 0)[index], valid[index], "us"


def _plain_iso(value: str) -> Optional[str]:
    """A time in a form that all versions of pandas take, always with its zone; None if it is no ISO time.

    Pandas 2 gives times without a zone that of the one before.
    """
    value = _BLANK_ZONE.sub(r"\1", value).replace("UTC", "Z").replace(",", ".")
    found = _ISO_TIME.match(value)
    if not found:
        return None
    date, time, zone = found.group("date", "time", "zone")
    if len(date) == 8:
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    elif len(date) < 10:
        # A month is its first day, a year its first month.
        date += "-01" * ((10 - len(date)) // 3)
    return f"{date}T{time or '00:00:00'}{zone or 'Z'}"


def _coerce(text: pa.Array, convert: Any, missing: float) -> np.ndarray:
    encoded = text.cast(pa.binary()).dictionary_encode()
    values = np.full(len(encoded.dictionary) + 1, missing)
    for index, value in enumerate(encoded.dictionary):
        try:
            values[index] = convert(value.as_py())
        except ValueError:
            continue
    return values[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]


def _to_ms(ticks: np.ndarray, unit: str) -> np.ndarray:
    factor, divisor = _TICKS_PER_MS[unit]
    return ticks // divisor if factor == 1 else ticks * factor


def _normalise(
    source: Source, table: pa.Table, rows: np.ndarray, rejects: List[Reject], log: spec.LogSpec
) -> Block:
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
        feature: fields.whole(column(name)) for feature, name in columns.items() if feature != names.TIMESTAMP
    }
    arrays: Dict[str, pa.Array] = {}
    for feature, array in raw.items():
        kind = _kind(feature, attributes)
        if pa.types.is_nested(array.type) and not (kind == spec.MULTI and fields.is_list(array.type)):
            raise errors.InputError(
                f"{source.path}: column {columns[feature]!r} (log.columns.{_key(feature, log)}) holds "
                f"{array.type}; lists are for attributes of type multi"
            )
        if kind == spec.CATEGORICAL:
            arrays[feature] = fields.as_binary(array)
    for feature in (names.USER_ID, names.ITEM_ID):
        array = arrays[feature]
        missing = ~array.is_valid().to_numpy(zero_copy_only=False)
        length = pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        missing |= length == 0
        if source.format in ("jsonl", "parquet"):
            missing |= pc.is_in(array, value_set=pa.array(fields.MISSING[1:]).cast(pa.binary())).to_numpy(
                zero_copy_only=False
            )
        mark(missing, f"missing {feature} (column {columns[feature]!r})")
        mark(length > log.max_id_bytes, f"{feature} longer than {log.max_id_bytes} bytes")
        mark(_has_newline(array), f"line break in {feature}")
    for feature, array in raw.items():
        mark(~fields.valid_utf8(array), f"invalid UTF-8 in column {columns[feature]!r}")
    ticks, valid, unit = _parse_ticks(column(columns[names.TIMESTAMP]), log.timestamp_unit)
    mark(
        ~valid,
        f"unparsable time (column {columns[names.TIMESTAMP]!r}, log.timestamp_unit {log.timestamp_unit})",
    )
    for feature, array in raw.items():
        kind = _kind(feature, attributes)
        if kind == spec.NUMERIC:
            values, valid = fields.numbers(array)
            mark(~valid, f"not a finite number (column {columns[feature]!r})")
            arrays[feature] = pa.array(values)
        elif kind == _LABEL:
            values, valid = fields.labels(array)
            mark(~valid, f"no label, which is 1, 0, true, false or empty (column {columns[feature]!r})")
            arrays[feature] = pa.array(values)
        elif kind == spec.MULTI:
            arrays[feature] = fields.lists(array, attributes[feature].separator)

    bad = np.flatnonzero(reason)
    for index in bad:
        sample = ",".join(
            _sample(table.column(name)[int(index)].as_py())
            for name in columns.values()
            if name in table.column_names
        )
        rejects.append(Reject(source.path, int(rows[index]), reasons[reason[index]], _sample(sample)))
    batch = {
        feature: (array.fill_null(b"") if array.null_count else array) for feature, array in arrays.items()
    }
    batch[names.TIMESTAMP] = pa.array(_to_ms(ticks, unit))
    batch[TICKS] = pa.array(ticks)
    batch[ROW] = pa.array(rows)
    record_batch = pa.RecordBatch.from_arrays(list(batch.values()), list(batch))
    if len(bad):
        record_batch = record_batch.filter(pa.array(reason == 0))
    return Block(source, record_batch, rejects, record_batch.num_rows + len(rejects))


def _kind(feature: str, attributes: Dict[str, spec.AttributeSpec]) -> str:
    """How the column of a feature is read."""
    if feature in attributes:
        return attributes[feature].type
    return _LABEL if feature.startswith(names.LABEL_PREFIX) else spec.CATEGORICAL


def _has_newline(array: pa.Array) -> np.ndarray:
    """Vocabulary files hold one value a line."""
    return pc.match_substring_regex(array, r"[\r\n]").fill_null(False).to_numpy(zero_copy_only=False)


def read_all(patterns: Sequence[str], log: spec.LogSpec, max_rows: Optional[int] = None) -> Iterator[Block]:
    """The blocks of a whole log in its order, at most about `max_rows` rows of it."""
    total = 0
    for source in find_sources(patterns, log):
        for block in read(source, log):
            yield block
            total += block.rows
            if max_rows is not None and total >= max_rows:
                return
