"""Logs that come in spans: what the marks of a path mean, and which files they stand for.

A span is one delivery of a log: a day, an hour, a batch. `{SPAN}` stands for its whole number, `{YYYY}`, `{MM}` and
`{DD}` together for its date, and `{VERSION}` for the number of a delivery that was made again. `{SPAN:4}` has
exactly four digits. These are the marks of TFX's ExampleGen.
"""

import datetime
import os
import posixpath
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas import errors

if TYPE_CHECKING:
    from apache_beam.io import filesystem

_DATE = ("YYYY", "MM", "DD")
_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}
_MARKS = ("SPAN", "VERSION", *_DATE)
_MARK = re.compile(r"\{(" + "|".join(_MARKS) + r")(?::([0-9]+))?\}")
# What looks like a mark: a name in braces, with or without a width.
_LOOKS_LIKE_ONE = re.compile(r"(?<!\[)\{([A-Za-z_%][\w%-]*)(?::([^{}/]*))?\}")
_DATE_LIKE = re.compile(r"(?<!\d)\d{4}([-_.]?)\d{2}([-_.]?)\d{2}(?!\d)")
_ALLOWED = (
    "{SPAN} is the whole number of a span (a day, an hour, a batch), {YYYY}, {MM} and {DD} together its date, "
    "{VERSION} the number of a delivery made again"
)
_EPOCH = datetime.date(1970, 1, 1)
# Beam has others, which need options that are only there within a pipeline, or packages that the lock lacks.
_SCHEMES = ("gs",)
# Stands for the number of the newest span.
NEWEST = "newest"


def has_marks(path: str) -> bool:
    """Whether a path stands for spans."""
    return bool(_MARK.search(path))


def without_marks(path: str) -> str:
    """A path, or a part of one, as if its marks stood for nothing."""
    return _MARK.sub("", path)


def check_path(path: str) -> None:
    """Checks that logs can be read from where a path is, and its marks.

    Raises:
      ValueError: if they cannot, a mark is unknown, or marks do not go together.
    """
    scheme, separator, _ = path.partition("://")
    if separator and scheme not in _SCHEMES:
        raise ValueError(
            f"takes a path of a disk or of a bucket of Google Cloud Storage, as gs://BUCKET/FOLDER; found {path}"
        )
    for found in _LOOKS_LIKE_ONE.finditer(path):
        name, width = found.groups()
        if name not in _MARKS:
            raise ValueError(
                f"unknown mark {found.group(0)}: {_ALLOWED}; a brace of a file's own name is written [{{]"
            )
        if width is not None and (name in _DATE or not re.fullmatch("[1-9][0-9]*", width)):
            raise ValueError(f"a width is a number of digits, as {{SPAN:4}}, found {found.group(0)}")
    marks = [name for name, _ in _MARK.findall(path)]
    twice = next((name for name in marks if marks.count(name) > 1), None)
    if twice:
        raise ValueError(f"{{{twice}}} stands in a path once, found it {marks.count(twice)} times in {path}")
    dates = [name for name in _DATE if name in marks]
    if dates and "SPAN" in marks:
        raise ValueError(f"a path has {{SPAN}} or a date, found both in {path}")
    if dates and len(dates) < len(_DATE):
        raise ValueError(
            f"a date needs {{YYYY}}, {{MM}} and {{DD}}, found only {', '.join(f'{{{name}}}' for name in dates)} in "
            f"{path}; for months or years alone write {{SPAN}} where the name has one number, as 202401"
        )
    if "VERSION" in marks and not dates and "SPAN" not in marks:
        raise ValueError(f"{{VERSION}} goes with {{SPAN}} or a date, found it alone in {path}")


def newest(path: str, last: int | None = None) -> int | None:
    """The number of the newest span, a date's being its days since 1970-01-01; None for a path without marks.

    Args:
      path: with marks or without.
      last: later spans are not looked at.

    Raises:
      errors.InputError: see `find`.
    """
    return max(_listed(path, last)) if has_marks(path) else None


def number(text: str, path: str) -> int:
    """The number of a span that is written as one, or as a date where the path has dates.

    Raises:
      errors.InputError: if the text is neither, or the path has no marks.

    >>> number("7", "day-{SPAN}.csv"), number("1970-01-03", "{YYYY}/{MM}/{DD}.csv")
    (7, 2)
    """
    marks = [name for name, _ in _MARK.findall(path)]
    if not marks:
        raise errors.InputError(f"span: {path} has no {{SPAN}} and no date to choose by, found span {text}")
    if _DATE[0] in marks:
        try:
            return (datetime.date.fromisoformat(text) - _EPOCH).days
        except ValueError:
            raise errors.InputError(
                f"span: of {path} a span is a date, as 2024-05-31, found {text!r}"
            ) from None
    if not re.fullmatch("[0-9]+", text):
        raise errors.InputError(f"span: of {path} a span is a whole number, found {text!r}")
    return int(text)


def paths(path: str, most: int | None = None, newest: int | None = None) -> list[str]:
    """The paths of what `find` finds."""
    return [metadata.path for metadata in find(path, most, newest)]


def find(path: str, most: int | None = None, newest: int | None = None) -> "list[filesystem.FileMetadata]":
    """The files of the newest spans, each span in its newest version, oldest span first; listed once.

    Args:
      path: with marks or without: without, it is all files that match. A folder that it stands for is all files
        in it, as in `reading.files.match`.
      most: how many spans; None is all.
      newest: the last span to look at; None is the newest one. A date is its number of days since 1970-01-01.

    Raises:
      errors.InputError: if no file fits, or where a mark stands the name of one has something else.
    """
    # Beam takes seconds to import, and settings are checked without it.
    from components.behavior_example_gen.reading import files

    if not has_marks(path):
        return files.match(path)
    found = _listed(path, newest)
    chosen = sorted(found)[-most:] if most else sorted(found)
    return [file for span in chosen for file in sorted(found[span], key=lambda metadata: metadata.path)]


def stands_for(path: str, file: str, found: Sequence[str]) -> bool:
    """Whether a path stands for a file, or will once that is there.

    Args:
      path: with marks or without; see `find`.
      file: the path of a file, which need not be there.
      found: the files that the path stands for now.
    """
    # As in `find`.
    from components.behavior_example_gen.reading import files

    if file in found:
        return True
    is_local = "://" not in path and not has_marks(path)
    if is_local and os.path.isfile(path):
        return False
    pattern = _MARK.sub("*", path).rstrip("/")
    if files.is_hidden(file, pattern):
        return False
    if is_local and os.path.isdir(path):
        return file.startswith(f"{pattern}/")
    matching = re.compile(_glob(pattern), re.DOTALL)
    if matching.fullmatch(file):
        return True
    # Folders that a pattern matches are read where it matches no file.
    below = re.compile(_glob(pattern) + "/.*", re.DOTALL)
    return bool(below.fullmatch(file)) and not any(matching.fullmatch(one) for one in found)


def reads(path: str, found: Sequence[str], places: Sequence[str]) -> bool:
    """Whether a log is, or will be, read at one of some places: as it is listed, or where links lead to.

    Args:
      path: with marks or without; see `find`.
      found: the files that the path stands for now.
      places: paths of files, which need not be there, with links resolved.
    """
    known = [place for file in found for place in (file, real_place(file), real(file))]
    return any(stands_for(one, place, known) for one in (path, real(path)) for place in places)


def real(path: str) -> str:
    """A path without links; as it is if it is no local one."""
    return path if "://" in path else os.path.realpath(path)


def real_place(path: str) -> str:
    """Where a file is that may itself be a link: one that is written to is replaced."""
    folder, name = posixpath.split(path)
    return posixpath.join(real(folder), name)


def _listed(path: str, newest: int | None = None) -> "dict[int, list[filesystem.FileMetadata]]":
    """The files of each span in its newest version."""
    # As in `find`.
    from components.behavior_example_gen.reading import files

    pattern = _expression(path, "[0-9]")
    found: dict[int, tuple[int, list[filesystem.FileMetadata]]] = {}
    matched, hidden = files.matching(_MARK.sub("*", path))
    for metadata in matched:
        span, version = _numbers(metadata.path, path, pattern)
        if newest is not None and span > newest:
            continue
        held = found.get(span, (-1, []))
        if version > held[0]:
            found[span] = (version, [metadata])
        elif version == held[0]:
            held[1].append(metadata)
    if not found:
        raise errors.InputError(f"log.path: no file matches {path}{files.left_out(hidden)}; {_ALLOWED}")
    return {span: files_of for span, (_, files_of) in found.items()}


def _expression(path: str, character: str, strict: bool = True) -> "re.Pattern[str]":
    """A path as a regular expression with a group of such characters for each mark; `strict` keeps its width.

    What is below a path that is a folder's matches, too.
    """
    path, parts, at = path.rstrip("/"), [], 0
    for mark in _MARK.finditer(path):
        name, width = mark.group(1), _DIGITS.get(mark.group(1)) or mark.group(2)
        many = f"{{{width}}}" if strict and width else "+"
        parts.append(f"{_glob(path[at : mark.start()])}(?P<{name}>{character}{many})")
        at = mark.end()
    return re.compile("".join(parts) + _glob(path[at:]) + "(/.*)?$", re.DOTALL)


def _glob(text: str) -> str:
    """A piece of a pattern as a regular expression; a set of characters stays one."""
    pieces = re.split(r"(\*\*|\*|\?|\[[^\]]+\])", text)
    known = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(piece)
        or ("[" + piece[1:-1].replace("!", "^", 1) + "]" if _is_set(piece) else re.escape(piece))
        for piece in pieces
    )


def _is_set(piece: str) -> bool:
    return len(piece) > 2 and piece[0] == "[" and piece[-1] == "]"


def _numbers(file: str, path: str, pattern: "re.Pattern[str]") -> tuple[int, int]:
    """The span and the version of a file.

    Raises:
      errors.InputError: if it has none.
    """
    match = pattern.search(file)
    if not match:
        raise errors.InputError(_mismatch(file, path))
    named = match.groupdict()
    version = int(named.get("VERSION") or 0)
    if "SPAN" in named:
        return int(named["SPAN"]), version
    try:
        date = datetime.date(*(int(named[part]) for part in _DATE))
    except ValueError:
        text = "-".join(named[part] for part in _DATE)
        raise errors.InputError(f"log.path: {file}: {text} is not a date ({{YYYY}}-{{MM}}-{{DD}})") from None
    return (date - _EPOCH).days, version


def _mismatch(file: str, path: str) -> str:
    """What a file has where a mark should have a number."""
    match = _expression(path, "[^/]", strict=False).search(file)
    named = match.groupdict() if match else {}
    text = named.get("SPAN", "")
    date = _DATE_LIKE.search(text)
    if date:
        # Other numbers in the name are of this file alone.
        before, after = (re.sub(r"\d+", "*", part) for part in (text[: date.start()], text[date.end() :]))
        marks = f"{before}{{YYYY}}{date.group(1)}{{MM}}{date.group(2)}{{DD}}{after}"
        better = re.sub(r"\{SPAN(:\d+)?\}", lambda _: marks, path)
        return (
            f"log.path: {{SPAN}} stands for a whole number, found {text!r} in {file}; for dates in the name write "
            f"{{YYYY}}, {{MM}} and {{DD}}, as path: {better}"
        )
    wrong = f"{file} does not fit {path}"
    for name, width in _MARK.findall(path):
        digits = _DIGITS.get(name) or width
        value = named.get(name, "")
        if value and not re.fullmatch("[0-9]" + (f"{{{digits}}}" if digits else "+"), value):
            wrong = f"{{{name}}} stands for {f'{digits} digits' if digits else 'a whole number'}, found {value!r} in {file}"
            break
    return f"log.path: {wrong}; {_ALLOWED}"
