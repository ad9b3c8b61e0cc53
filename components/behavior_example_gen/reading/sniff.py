"""What a file looks like: its format, encoding, delimiter, quotes and header, from its first megabyte."""

import collections
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import dialect, failures, opening, utf8
from schemas import errors

_HEAD_BYTES = 1 << 20
_RECORDS = 300
_MOST = 0.8
# Of two that fit as well, the first.
_DELIMITERS = (", ", "; ", "\t", ",", ";", "|", "||", "::", "\x01", "^", "~", "¦", dialect.BLANKS)
_NAMES = {"\t": "tabs", dialect.BLANKS: "blanks", "\x01": "the control character \\x01"}
_NUMBER = re.compile(r"[-+]?[0-9]+([.,][0-9]+)*([eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}.*|.*[0-9]{1,2}:[0-9]{2}.*")
_BREAK = re.compile(rb"\r\n|\r|\n")
_SEPARATOR_LINE = re.compile(rb'"?sep=[^\r\n]*', re.IGNORECASE)
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV",
    b"ARROW1": "an Arrow (Feather) file: write it as Parquet",
    b"ORC": "an ORC file: write it as Parquet",
    b"Obj\x01": "an Avro file: write it as Parquet",
    b"SQLite format 3": "an SQLite data base: export a table as CSV",
    b"\x89HDF": "an HDF5 file: write it as Parquet",
    b"\x80\x04\x95": "a pickle of Python: write it as Parquet",
    b"\x1f\x9d": "compressed by `compress`: unpack it",
    b"\xfd7zXZ": "compressed as xz: unpack it, or use gzip or zstd",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
}


@dataclasses.dataclass(frozen=True)
class Sniffed:
    """What a file looks like.

    Attributes:
      settings: of `log`, where the defaults do not fit.
      seen: what they come from, in words.
      rows: the first records of separated values, as text; with the header, where there is one.
    """

    settings: dict[str, Any]
    seen: list[str]
    rows: list[list[str]]


def sniff(path: str, log: spec.LogSpec) -> Sniffed:
    """Looks at a file; what `log` says is taken for granted.

    Raises:
      errors.InputError: if it is of a format that Footfall does not read.
    """
    with failures.one_line(path):
        with opening.open_file(path) as stream:
            head = _read(stream)
    found: dict[str, Any] = {}
    seen: list[str] = []
    other = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), None)
    if other:
        raise errors.InputError(f"{path}: {other}; Footfall reads CSV, TSV, JSON lines and Parquet")
    ending = log.format or opening.ending_of(path)
    kind = "parquet" if head.startswith(b"PAR1") else None
    text = b""
    if not kind:
        encoding, why = (log.encoding, "") if log.encoding else _encoding(head)
        if why:
            found["encoding"] = encoding
            seen.append(why)
        text = utf8.Utf8(io.BytesIO(head), encoding).read(2 * _HEAD_BYTES)
        kind = _json_kind(path, text) if not log.delimiter else None
    if kind:
        if kind != ending:
            found["format"] = kind
            seen.append(
                f"it holds {'Parquet' if kind == 'parquet' else 'JSON lines'}, whatever its name ends with"
            )
        return Sniffed(found, seen, [])
    if not text.strip():
        return Sniffed({}, [], [])
    more, words, rows = _delimited(text, len(head) >= _HEAD_BYTES, ending, log)
    return Sniffed({**found, **more}, seen + words, rows)


def hint(path: str, log: spec.LogSpec) -> str:
    """What a file looks like whose settings do not fit, as the end of a message; empty if nothing is known."""
    plain = spec.LogSpec(path=log.path)
    try:
        found = sniff(path, plain)
    except errors.InputError as error:
        return f"; {str(error).removeprefix(f'{path}: ')}"
    settings = {k: v for k, v in found.settings.items() if v != getattr(log, k)}
    if not settings:
        return ""
    lines = ", ".join(
        f"log.{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()
    )
    return f"; {', '.join(found.seen)}: {lines}?"


def _read(stream: Any) -> bytes:
    head = b""
    while len(head) < _HEAD_BYTES:
        more = stream.read(_HEAD_BYTES - len(head))
        if not more:
            break
        head += more
    return head


def _encoding(head: bytes) -> tuple[str | None, str]:
    """The encoding of text without a byte order mark, and why, where it is not UTF-8."""
    if utf8.Utf8(io.BytesIO(head)).marked:
        return None, ""
    if head.count(b"\x00") > len(head) // 4:
        order = "be" if head[::2].count(b"\x00") > head[1::2].count(b"\x00") else "le"
        return f"utf-16-{order}", f"every other byte is zero, as in UTF-16 ({order.upper()})"
    good = bad = letters = 0
    for line in head.split(b"\n")[:-1] or [head]:
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
            letters += bool(
                re.search(rb"[A-Za-z][\x8a\x8c\x8e\x91-\x97\x9a\x9c\x9e\x9f\xbf-\xf6\xf8-\xfd]", line)
            )
    if bad <= good or not letters:
        return None, ""
    encoding = "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", head) else "cp1252"
    return encoding, f"{bad:,} of the first lines are no UTF-8; read as {encoding}, unless you know better"


def _json_kind(path: str, text: bytes) -> str | None:
    first = next((line for line in text.split(b"\n") if line.strip()), b"").strip()
    if first.startswith(b"["):
        body = text.lstrip()[1:].lstrip()
        if body.startswith((b"{", b"[")):
            raise errors.InputError(
                f"{path}: one JSON array; Footfall reads JSON lines, one object per line, as "
                f"`jq -c '.[]' FILE` writes them"
            )
    if not first.startswith(b"{"):
        return None
    try:
        return "jsonl" if isinstance(json.loads(first), dict) else None
    except ValueError:
        pass
    if first == b"{" or re.match(rb'\{\s*"[^"]*"\s*:\s*[\[{]?\s*$', first):
        raise errors.InputError(
            f"{path}: JSON over several lines; Footfall reads JSON lines, one object per line, as `jq -c . FILE` "
            f"writes them"
        )
    return "jsonl" if re.match(rb'\{\s*"', first) else None


def _delimited(
    text: bytes, cut: bool, ending: str | None, log: spec.LogSpec
) -> tuple[dict[str, Any], list[str], list[list[str]]]:
    found: dict[str, Any] = {}
    seen: list[str] = []
    lines = [line for line in _BREAK.split(text) if line.strip()]
    if cut and len(lines) > 1:
        lines.pop()
    says_separator = bool(_SEPARATOR_LINE.fullmatch(lines[0]))
    if says_separator:
        separator = lines.pop(0).strip(b'"')[4:].strip(b'"').decode("utf-8", "replace")
    comments = []
    mark = (log.comment or "#").encode()
    while len(lines) > 1 and lines[0].startswith(mark):
        comments.append(lines.pop(0))
    default = ("\t" if ending == "tsv" else ",") if ending in ("csv", "tsv") else None
    if says_separator and not log.delimiter:
        given: str | None = separator
    else:
        given = log.delimiter
    marks, records = _best(lines, given, default, log)
    delimiter = marks.delimiter.decode()
    if ending not in ("csv", "tsv"):
        found["format"] = "tsv" if delimiter == "\t" and not marks.quote else "csv"
        seen.append(f"values separated by {_NAMES.get(delimiter, repr(delimiter))}")
        default = "\t" if found["format"] == "tsv" else ","
    elif delimiter != default and not given:
        seen.append(f"looks like {_NAMES.get(delimiter, repr(delimiter))} between the values")
    if delimiter != default and not says_separator and not log.delimiter:
        found["delimiter"] = delimiter
    kind = found.get("format", ending)
    quote = marks.quote.decode()
    if log.quote is None and quote != ("" if kind == "tsv" else '"'):
        found["quote"] = quote
        seen.append(f"values in {quote} quotes" if quote else "no quotes around values")
    if marks.escape and not log.escape:
        found["escape"] = marks.escape.decode()
        seen.append("quotes within values behind a backslash")
    if comments and not log.comment:
        names = _fields(comments[-1].lstrip(mark), marks)
        if records and _is_header(records[0]):
            names = []
        if comments[-1].startswith(mark) and len(comments) == 1 and not names and not records:
            comments = []
        found["comment"] = mark.decode()
        seen.append(f"{len(comments)} line(s) that begin with {mark.decode()}")
        if records and len(names) == len(records[0]) and _is_header(names) and not log.column_names:
            found["column_names"] = names
            seen.append("the last of them names the columns")
            return found, seen, [names, *records]
    if records and log.header is None and not log.column_names and not _is_header(records[0]):
        found["header"] = False
        seen.append(f"no header: the first row is {', '.join(records[0])}")
    return found, seen, records


def _best(
    lines: Sequence[bytes], given: str | None, default: str | None, log: spec.LogSpec
) -> tuple[dialect.Dialect, list[list[str]]]:
    """The marks that cut lines into as many fields each, and the records that they make."""
    text = b"\n".join(lines)
    quotes = [log.quote] if log.quote is not None else ['"'] + (["'"] if b"'" in text else [])
    escapes = [log.escape] if log.escape else [""] + (["\\"] if b'\\"' in text or b"\\'" in text else [])
    best: tuple[Any, ...] = ()
    order = ([default] if default else []) + [d for d in _DELIMITERS if d != default]
    for place, delimiter in enumerate([given] if given else order):
        for quote in quotes:
            for escape in escapes:
                marks = dialect.Dialect(delimiter.encode(), quote.encode(), escape.encode())
                records = _records(lines[:_RECORDS], marks)
                sizes = collections.Counter(map(len, records))
                size, count = max(sizes.items(), key=lambda item: (item[1], item[0]))
                share = count / len(lines[:_RECORDS])
                fits = size > 1 and share >= _MOST
                quoted = _quoted(lines[:_RECORDS], marks)
                # A blank behind each delimiter belongs to it; that is only known where both fit as well.
                blank = delimiter[1:] == " " and delimiter[0] in ",;"
                rank = (
                    fits,
                    delimiter != dialect.BLANKS,
                    len(records[0]) == size,
                    round(share, 1),
                    size,
                    blank,
                    quoted if quote != '"' else 0.5,
                    not escape if quoted < 0.01 else bool(escape),
                    -place,
                )
                if not best or rank > best[0]:
                    best = (rank, marks, records, quoted)
    rank, marks, records, quoted = best
    if not rank[0] and not given:
        # Of one column, or of none that can be told.
        marks = dialect.Dialect((default or ",").encode())
        records = _records(lines[:_RECORDS], marks)
    if log.quote is None and marks.quote == b'"' and marks.delimiter == b"\t" and quoted < 0.1:
        marks = dataclasses.replace(marks, quote=b"", escape=b"")
        records = _records(lines[:_RECORDS], marks)
    return marks, records


def _records(lines: Sequence[bytes], marks: dialect.Dialect) -> list[list[str]]:
    found: list[list[str]] = []
    inside, whole = False, b""
    for line in lines:
        whole = whole + b"\n" + line if inside else line
        single, one = marks.single(whole)
        inside, fields = dialect.fields(single, one)
        if inside and len(whole) < 100 * max(map(len, lines)):
            continue
        inside = False
        found.append([dialect.plain(f, one).decode("utf-8", "replace") for f in fields])
    return found or [[""]]


def _fields(line: bytes, marks: dialect.Dialect) -> list[str]:
    single, one = marks.single(line.strip())
    return [dialect.plain(f, one).decode("utf-8", "replace") for f in dialect.fields(single, one)[1]]


def _quoted(lines: Sequence[bytes], marks: dialect.Dialect) -> float:
    """The share of the lines that have a value in quotes."""
    if not marks.quote:
        return 0.0
    count = 0
    for line in lines:
        if marks.quote in line:
            single, one = marks.single(line)
            fields = dialect.fields(single, one)[1]
            count += any(
                len(f) > 1 and f.startswith(one.quote) and f.endswith(one.quote)
                for f in map(bytes.strip, fields)
            )
    return count / len(lines)


def _is_header(row: Sequence[str]) -> bool:
    """Whether a first row names columns: each row of a log has a time, so it has a number or a date."""
    return any(row) and not any(_NUMBER.fullmatch(v) or _DATE.fullmatch(v) for v in row)
