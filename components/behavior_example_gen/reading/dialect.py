"""How a file of separated values is written: its delimiter, quotes, escapes, comments and header."""

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np

from components.behavior_example_gen import spec
from schemas import errors

BLANKS = r"\s+"
_DEFAULTS = {"csv": (",", '"'), "tsv": ("\t", "")}
# As Excel writes and reads it.
_SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n"]{1,4})"?[ ;,\t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_EMPTY_LINE = re.compile(rb"[ \t]*(?:\r\n|\r|\n)")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_RUN_OF_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AROUND = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")
# No text has them; what stands in place of a delimiter of several bytes, of which Arrow knows none.
_CONTROLS = tuple(bytes([code]) for code in (*range(28, 32), *range(1, 9), *range(14, 28)))


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The marks of a file, as UTF-8; empty where there is none.

    Attributes:
      delimiter: between values; `BLANKS` for any run of blanks.
      quote, escape, comment: a byte each, or empty. The escape counts within quotes alone.
    """

    delimiter: bytes
    quote: bytes = b'"'
    escape: bytes = b""
    comment: bytes = b""

    def single(self, text: bytes) -> tuple[bytes, "Dialect"]:
        """The text with a delimiter of one byte, and the dialect that it has then.

        Raises:
          errors.InputError: if the text has every byte that could stand for a longer delimiter.
        """
        if len(self.delimiter) == 1:
            return text, self
        control = next((c for c in _CONTROLS if c not in text), None)
        if control is None:
            raise errors.InputError(
                f"log.delimiter: {self.delimiter.decode()!r} needs a control character that the file does not hold, "
                f"but it holds all of them: is it a text file?"
            )
        if self.delimiter != BLANKS.encode():
            text = text.replace(self.delimiter, control)
        else:
            text = _BLANKS_AROUND.sub(b"", text)
            if self.quote and self.quote in text:
                text = _quoted_or_blanks(self).sub(lambda found: found.group(1) or control, text)
            else:
                text = _RUN_OF_BLANKS.sub(control, text)
        return text, dataclasses.replace(self, delimiter=control)

    @property
    def written(self) -> bytes:
        """The delimiter as it stands in a file."""
        return b" " if self.delimiter == BLANKS.encode() else self.delimiter


def start(head: bytes, kind: str, log: spec.LogSpec) -> tuple[Dialect, int]:
    """The dialect of a file and where its first record begins, behind empty lines, comments and `sep=`."""
    delimiter, quote = _DEFAULTS[kind]
    at = _skip_empty(head, 0)
    line = _SEPARATOR_LINE.match(head, at)
    if line:
        delimiter, at = line.group(1).decode("utf-8", "replace"), line.end()
    if log.delimiter is not None:
        delimiter = log.delimiter
    quote = quote if log.quote is None else log.quote
    # A quote before a quote is what stands there without an escape.
    escape = "" if log.escape is None or log.escape == quote else log.escape
    found = Dialect(delimiter.encode(), quote.encode(), escape.encode(), (log.comment or "").encode())
    at = _skip_empty(head, at)
    while found.comment and head.startswith(found.comment, at):
        at = _skip_empty(head, _LINE.match(head, at).end())
    return found, at


def _skip_empty(text: bytes, at: int) -> int:
    line = _EMPTY_LINE.match(text, at)
    while line:
        at = line.end()
        line = _EMPTY_LINE.match(text, at)
    return at


def fields(line: bytes, marks: Dialect, inside: bool = False) -> tuple[bool, list[bytes]]:
    """The fields of a line as they stand there, and whether its end is within a quoted one.

    A quote is one at a field's start alone, as Arrow has it.

    Args:
      line: without its line break.
      marks: with a delimiter of one byte.
      inside: whether the line begins within a quoted field.
    """
    found: list[bytes] = []
    begin = at = 0
    while True:
        if marks.quote and (inside or line.startswith(marks.quote, at)):
            at = closing(line, at if inside else at + 1, marks)
            if at < 0:
                found.append(line[begin:])
                return True, found
            inside = False
        at = line.find(marks.delimiter, at)
        if at < 0:
            found.append(line[begin:])
            return False, found
        found.append(line[begin:at])
        at += 1
        begin = at


def plain(field: bytes, marks: Dialect) -> bytes:
    """A field without blanks and quotes around it."""
    field = unescaped(field.strip(), marks)
    quote = marks.quote
    if quote and len(field) > 1 and field.startswith(quote) and field.endswith(quote):
        field = field[1:-1].replace(2 * quote, quote).strip()
    return field


def closing(line: bytes, at: int, marks: Dialect) -> int:
    """Behind the quote that closes a field; -1 if none does."""
    while True:
        at = _find(line, marks.quote, at, marks.escape)
        if at < 0 or not line.startswith(marks.quote, at + 1):
            return at + 1 if at >= 0 else at
        at += 2


def _find(line: bytes, mark: bytes, at: int, escape: bytes) -> int:
    """Where a mark stands next that is not escaped; -1 if nowhere."""
    while True:
        at = line.find(mark, at)
        if at < 0 or not escape:
            return at
        before = line[:at]
        if (len(before) - len(before.rstrip(escape))) % 2 == 0:
            return at
        at += 1


def unescaped(text: bytes, marks: Dialect) -> bytes:
    r"""The same records without escapes: within quotes, a quote is doubled and a doubled escape is a single one.

    Arrow's own escapes would act outside of quotes, too, where `\N` is a word and a path has backslashes.

    Args:
      text: of records that are whole.
      marks: with a delimiter of one byte.

    >>> print(unescaped(rb'"a \"b\" \\ \t",C:\\x,\N', Dialect(b",", escape=b"\x5c")).decode())
    "a ""b"" \ \t",C:\\x,\N
    """
    pairs = {marks.escape + marks.quote: 2 * marks.quote, 2 * marks.escape: marks.escape}
    if not marks.escape or not marks.quote or not any(pair in text for pair in pairs):
        return text
    controls = [control for control in _CONTROLS if control not in text]
    found = _unescaped_at_once(text, marks, controls) if len(controls) >= 4 else None
    if found is not None:
        return found
    parts = _quoted(marks.delimiter, marks.quote, marks.escape).split(text)
    either = re.compile(b"|".join(map(re.escape, pairs)))
    parts[1::2] = [either.sub(lambda pair: pairs[pair.group()], field) for field in parts[1::2]]
    return b"".join(parts)


def _unescaped_at_once(text: bytes, marks: Dialect, controls: Sequence[bytes]) -> bytes | None:
    """As `unescaped`, by the bytes of an array; None if a quote stands elsewhere than around a field.

    Args:
      controls: four bytes that the text does not have.
    """
    quote, escape = marks.quote, marks.escape
    one, quotes, plain_one, plain_quotes = controls[:4]
    text = text.replace(2 * escape, one).replace(escape + quote, quotes)
    data = np.frombuffer(bytearray(text), np.uint8)
    at = np.flatnonzero(data == quote[0])
    # Before and behind a quote that opens or closes a field, or is one of two that stand for one.
    beside = np.zeros(256, bool)
    beside[list(marks.delimiter + quote + b"\r\n")] = True
    opening, closing_ = at[::2], at[1::2]
    if not (
        beside[data[np.maximum(opening - 1, 0)]].all()
        and beside[data[np.minimum(closing_ + 1, len(data) - 1)]].all()
    ):
        return None
    for inside, outside in ((one, plain_one), (quotes, plain_quotes)):
        pairs = np.flatnonzero(data == inside[0])
        data[pairs[np.searchsorted(at, pairs) % 2 == 0]] = outside[0]
    whole = {one: escape, quotes: 2 * quote, plain_one: 2 * escape, plain_quotes: escape + quote}
    text = data.tobytes()
    for control, pair in whole.items():
        text = text.replace(control, pair)
    return text


@functools.lru_cache
def _quoted(delimiter: bytes, quote: bytes, escape: bytes) -> "re.Pattern[bytes]":
    """A quoted field, as a group; one whose quote is never closed ends with the text, as Arrow has it."""
    d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
    return re.compile(
        b"(?<![^%b\\r\\n])(%b(?:[^%b%b]+|%b%b|%b(?:.|\\Z))*(?:%b|\\Z))" % (d, q, q, e, q, q, e, q), re.DOTALL
    )


def _quoted_or_blanks(marks: Dialect) -> "re.Pattern[bytes]":
    """A quoted field between blanks, as a group, or blanks."""
    q, e = re.escape(marks.quote), re.escape(marks.escape)
    escaped = b"|%b[^\\r\\n]" % e if e else b""
    return re.compile(b"((?:^|(?<=\\s))%b(?:[^%b%b\\r\\n]|%b%b%b)*%b)|[ \\t]+" % (q, q, e, q, q, escaped, q))
