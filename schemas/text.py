"""Text of a log made safe to show: on a terminal, in a page, in a message."""

import unicodedata
from typing import IO, Any

# Line and paragraph separators, controls, formats (bidirectional marks, zero-width characters), and halves of characters.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_CLIPPED = 500


def visible(text: str, keep: str = "") -> str:
    r"""A text in which no character acts on what shows it: such characters are written as in JSON.

    Controls (an ANSI escape would colour, move or clear a terminal), bidirectional marks (which turn what follows
    around), zero-width characters and the like become `\u001b`. Within JSON the text stays the same JSON.

    Args:
      text: any text.
      keep: characters to leave, as a line break where the text may have several lines.

    >>> visible("a\x1b[31mb\u202ec")
    'a\\u001b[31mb\\u202ec'
    """
    bare = text
    for kept in keep:
        bare = bare.replace(kept, "")
    # Almost all text, at the speed of C.
    if bare.isprintable():
        return text
    return "".join(c if c in keep or not _acts(c) else _escaped(c) for c in text)


def clipped(text: str, most: int = _CLIPPED) -> str:
    """The beginning of a long text, and how long it is.

    >>> clipped("a long title", most=6)
    'a long… (12 characters)'
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


class Stream:
    """A stream to a person, through which only visible text and line breaks pass.

    Args:
      stream: of text, as `sys.stdout`.
    """

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text as `visible` makes it; returns its length, as a stream does."""
        self._stream.write(visible(text, keep="\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
