"""Text files as UTF-8, whatever their encoding."""

import codecs
import contextlib
from collections.abc import Iterator
from typing import Any

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import opening

# Longer ones first: that of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_MARK = 4
# No text in UTF-8 has this byte: what cannot be decoded stays a bad value of its row.
_NO_UTF8 = "\udcff"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _NO_UTF8, error.end


codecs.register_error("footfall.invalid", _replaced)


class Utf8:
    """A stream of bytes as UTF-8, without a byte order mark.

    A byte order mark tells the encoding, whatever the settings say. Bytes that are invalid in the encoding
    become bytes that are invalid in UTF-8, so that their row can be set aside.
    """

    def __init__(self, stream: Any, encoding: str | None = None):
        self._stream, self._decoder, self._head = stream, None, b""
        while len(self._head) < _LONGEST_MARK:
            more = stream.read(_LONGEST_MARK - len(self._head))
            if not more:
                break
            self._head += more
        mark, found = next(((m, e) for m, e in _MARKS if self._head.startswith(m)), (b"", None))
        self._head = self._head[len(mark) :]
        self.marked = found
        encoding = found or encoding or "utf-8"
        # Plain `utf-16` would take a missing mark for the machine's own order; so it does here.
        if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii"):
            self._decoder = codecs.getincrementaldecoder(encoding)("footfall.invalid")

    def read(self, size: int) -> bytes:
        """At most about `size` bytes; empty at the end alone."""
        while True:
            data, self._head = self._head + self._stream.read(max(1, size - len(self._head))), b""
            if self._decoder is None:
                return data
            text = self._decoder.decode(data, final=not data).encode("utf-8", "surrogateescape")
            if text or not data:
                return text


@contextlib.contextmanager
def open_text(path: str, log: spec.LogSpec) -> Iterator[Utf8]:
    """A text file of a log, decompressed, as UTF-8."""
    with opening.open_file(path) as stream:
        yield Utf8(stream, log.encoding)
