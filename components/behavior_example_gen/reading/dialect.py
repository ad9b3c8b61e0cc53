"""How a file of separated values is written: its delimiter, quotes, escapes, comments and header."""

import dataclasses
import re

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
_QUOTED_OR_BLANKS = re.compile(rb'((?:^|(?<=\s))"(?:[^"\r\n]|"")*")|[ \t]+')
# No text has them; what stands in place of a delimiter of several bytes, of which Arrow knows none.
_CONTROLS = tuple(bytes([code]) for code in (*range(28, 32), *range(1, 9), *range(14, 28)))


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The marks of a file, as UTF-8; empty where there is none.

    Attributes:
      delimiter: between values; `BLANKS` for any run of blanks.
      quote, escape, comment: a byte each, or empty.
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
                text = _QUOTED_OR_BLANKS.sub(lambda found: found.group(1) or control, text)
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
    found = Dialect(
        delimiter.encode(),
        (quote if log.quote is None else log.quote).encode(),
        (log.escape or "").encode(),
        (log.comment or "").encode(),
    )
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
        at = _find(line, marks.delimiter, at, marks.escape)
        if at < 0:
            found.append(line[begin:])
            return False, found
        found.append(line[begin:at])
        at += 1
        begin = at


def plain(field: bytes, marks: Dialect) -> bytes:
    """A field without blanks and quotes around it."""
    field = field.strip()
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
