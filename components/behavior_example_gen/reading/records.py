"""From text to whole records: which lines belong together, and which a stray quote would swallow.

A quoted value may run over several lines. A quote that nobody closes looks the same at first, and would swallow
all rows up to the next one; here its line alone is bad. Lines are looked at as bytes of an array; Python sees those
that begin, continue or end a quoted value of several lines.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from components.behavior_example_gen.reading import dialect

# A value of several lines that is longer is taken for a stray quote.
_LONGEST_VALUE = 1 << 20
_LF, _CR = 10, 13

# Whether a line looks like a row, by whether its end is within quotes and by its fields.
IsRow = Callable[[bool, Sequence[bytes]], bool]


@dataclasses.dataclass
class Records:
    """The records of a text.

    Attributes:
      text: the good ones, one after the other.
      numbers: of each good one, counted from 0 over good and bad ones.
      bad: number and line of the bad ones, whose quote is not closed.
      count: good and bad ones.
      rest: the end of the text, which may be the beginning of a longer record.
    """

    text: bytes
    numbers: np.ndarray
    bad: list[tuple[int, bytes]]
    count: int
    rest: bytes = b""


def last_break(text: bytes) -> int:
    """Behind the last line break of a text; 0 if it has none."""
    cut = text.rfind(b"\n") + 1
    # A file with the line ends of an old Macintosh; a `\n` may follow the last byte.
    return cut or text.rfind(b"\r", 0, max(0, len(text) - 1)) + 1


def is_plain(text: bytes, marks: dialect.Dialect, found: int) -> bool:
    """Whether each of the `found` records of a text is one line, so that no quote has swallowed a line break."""
    if _has_comments(text, marks):
        return False
    if not marks.quote or marks.quote not in text:
        return True
    # `bytes.count` stops at each of many.
    breaks = np.count_nonzero(np.frombuffer(text, np.uint8) == _LF)
    if found != breaks + (not text.endswith(b"\n")):
        return False
    if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
        return False
    # Of the last one the count does not tell.
    body = text[:-1] if text.endswith(b"\n") else text
    return not dialect.fields(body[body.rfind(b"\n") + 1 :], marks)[0]


def split(
    text: bytes,
    marks: dialect.Dialect,
    columns: int,
    is_row: IsRow,
    last: bool,
) -> Records:
    """Cuts a text into records.

    Args:
      text: whole lines; at the end of the file, the last one may lack its break.
      marks: with a delimiter of one byte.
      columns: how many fields a record has.
      is_row: whether a line looks like a row.
      last: whether the file ends here.
    """
    lines = _Lines(text, marks)
    starts: list[int] = []  # lines at which a record begins that has several
    sizes: list[int] = []
    bad: list[int] = []
    skipped = lines.empty | lines.comments
    rest, at = len(lines), 0
    opening = lines.open_ends()
    for first in opening:
        if first < at or skipped[first]:
            continue
        end = _end_of(lines, first, columns, is_row, last)
        if end is None:
            rest = first
            break
        if end == first:
            bad.append(first)
            at = first + 1
        else:
            starts.append(first)
            sizes.append(end - first)
            at = end
    kept = ~skipped
    kept[rest:] = False
    begins = kept.copy()
    for first, size in zip(starts, sizes):
        kept[first : first + size] = True  # an empty line, or one with a hash, is part of the value
        begins[first + 1 : first + size] = False
    number = np.cumsum(begins) - 1
    good = begins.copy()
    good[bad] = False
    kept[bad] = False
    return Records(
        lines.joined(kept),
        number[good],
        [(int(number[index]), lines[index]) for index in bad],
        int(begins.sum()),
        text[lines.begins[rest] :] if rest < len(lines) else b"",
    )


def _end_of(lines: "_Lines", first: int, columns: int, is_row: IsRow, last: bool) -> int | None:
    """The line behind the record that begins at `first`, whose end is within quotes.

    `first` itself where the quote is a stray one; None where more text has to tell.
    """
    marks, length = lines.marks, 0
    inside, fields = dialect.fields(lines[first], marks)
    parts, opened = len(fields), len(fields) - 1
    for index in range(first + 1, len(lines)):
        line = lines[index]
        length += len(line)
        if length > _LONGEST_VALUE:
            return first
        if marks.delimiter in line:
            is_open, fields = dialect.fields(line, marks)
            # The end of a value in the first column leaves as many fields as a row has.
            ends_first = opened == 0 and marks.quote in fields[0] and not fields[0].startswith(marks.quote)
            if is_row(is_open, fields) and not ends_first:
                return first
        if inside:
            end = dialect.closing(line, 0, marks)
            if 0 <= end < len(line) and not line.startswith(marks.delimiter, end):
                return first  # this quote does not end a value: it begins one of another row
        inside, fields = dialect.fields(line, marks, inside)
        parts += len(fields) - 1
        if not inside:
            return index + 1 if parts == columns else first
    return first if last else None


class _Lines:
    """The lines of a text, without their breaks."""

    def __init__(self, text: bytes, marks: dialect.Dialect):
        self._text, self.marks = text, marks
        self._data = data = np.frombuffer(text, np.uint8)
        breaks = data == _LF
        if b"\r" in text:
            breaks |= (data == _CR) & (np.append(data[1:], 0) != _LF)
        ends = np.flatnonzero(breaks)
        if not len(ends) or ends[-1] != len(data) - 1:
            ends = np.append(ends, len(data))
        self._ends = ends
        self.begins = np.concatenate([[0], ends[:-1] + 1])
        self.empty = ends == self.begins
        self.empty |= (ends == self.begins + 1) & (data[np.minimum(self.begins, len(data) - 1)] == _CR)
        self.comments = np.zeros(len(ends), bool)
        if marks.comment:
            self.comments = data[np.minimum(self.begins, len(data) - 1)] == marks.comment[0]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        return self._text[self.begins[index] : self._ends[index]].rstrip(b"\r")

    def joined(self, kept: np.ndarray) -> bytes:
        """The lines that are kept, with their breaks."""
        if kept.all():
            return self._text
        changes = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
        bounds = np.append(self.begins, len(self._text))
        return b"".join(self._text[bounds[a] : bounds[b]] for a, b in zip(changes[::2], changes[1::2]))

    def open_ends(self) -> list[int]:
        """The lines whose end is within quotes, each read as if a record began with it."""
        if not self.marks.quote:
            return []
        quote, delimiter = self.marks.quote[0], self.marks.delimiter[0]
        at = np.flatnonzero(self._data == quote)
        line = np.searchsorted(self._ends, at)
        in_line = np.arange(len(at)) - np.searchsorted(line, line)
        before = np.where(at == self.begins[line], delimiter, self._data[at - 1])
        after = self._data[np.minimum(at + 1, len(self._data) - 1)]
        after = np.where((at + 1 >= self._ends[line]) | (after == _CR), delimiter, after)
        beside = np.where(in_line % 2 == 0, before, after)
        # Quotes that open and close as they should need no second look.
        odd = np.bincount(line, minlength=len(self)) % 2 == 1
        doubtful = odd | (
            np.bincount(line, (beside != delimiter) & (beside != quote), minlength=len(self)) > 0
        )
        if self.marks.escape:
            # These may be none, so that the ones behind them are not what they look like.
            doubtful[line[(at > 0) & (self._data[at - 1] == self.marks.escape[0])]] = True
        return [i for i in map(int, np.flatnonzero(doubtful)) if dialect.fields(self[i], self.marks)[0]]


def _has_comments(text: bytes, marks: dialect.Dialect) -> bool:
    if not marks.comment or marks.comment not in text:
        return False
    return text.startswith(marks.comment) or any(b + marks.comment in text for b in (b"\n", b"\r"))
