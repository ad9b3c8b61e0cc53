"""What times look like: for a log that is described, and for times that the settings of a log do not fit."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.behavior_example_gen.reading import time_formats, time_texts, times, values
from schemas import times as times_lib

UNIT, FORMAT = "timestamp_unit", "timestamp_format"
_SAMPLE_ROWS = 20_000
_SAMPLE_SHAPES = 50
# From this share of a column on, a kind is what the column holds.
_MOST = 0.9
_MANY_KINDS = 4
# Numbers that are plausible as two kinds are of the first.
_NUMBERS: tuple[tuple[str, str, str], ...] = (
    (UNIT, "s", "seconds since 1970"),
    (UNIT, "ms", "milliseconds since 1970"),
    (UNIT, "us", "microseconds since 1970"),
    (UNIT, "ns", "nanoseconds since 1970"),
    (FORMAT, "%Y%m%d", "dates written as numbers"),
    (FORMAT, "%Y%m%d%H", "dates and hours written as numbers"),
    (FORMAT, "%Y%m%d%H%M", "dates and times written as numbers"),
    (FORMAT, "%Y%m%d%H%M%S", "dates and times written as numbers"),
    (FORMAT, "%Y%m%d%H%M%S%f", "dates and times written as numbers"),
    (UNIT, "excel", "Excel's days since 1899-12-30"),
    (UNIT, "dotnet_ticks", ".NET ticks"),
    (UNIT, "filetime", "Windows file times"),
    (UNIT, "webkit", "WebKit's microseconds since 1601"),
    (UNIT, "d", "days since 1970"),
    (UNIT, "julian_day", "Julian days"),
    (FORMAT, "%Y%m", "months written as numbers"),
    (FORMAT, "%Y", "years"),
)
_ISO = (UNIT, times.ISO_8601, "ISO 8601")
_STANDS_FOR_NONE = "; such a value often stands for no time"
# In ms since 1970, each the begin of a day that stands for no time: 1970-01-01, Excel's zero, and far away.
_NO_DAYS = np.asarray(
    [
        np.datetime64(day, "ms").astype(np.int64)
        for day in (
            "0001-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01", "1970-01-01",
            "1980-01-01", "2099-01-01", "2099-12-31", "2100-01-01", "9999-12-31",
        )
    ]
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recognised:
    """What the times of a column look like.

    Attributes:
      settings: of `log`, that read most of them: `timestamp_unit` or `timestamp_format`; empty where nothing
        fits, or where the user has to choose.
      why: what they look like, in words.
      choices: where day and month can be either, the settings to choose from.
      problems: what does not fit, a sentence each.
    """

    settings: dict[str, str]
    why: str = ""
    choices: tuple[dict[str, str], ...] = ()
    problems: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The lines of YAML to write below `log`, one to choose from where there are choices."""
        return [
            yaml_line(key, value)
            for found in self.choices or (self.settings,)
            for key, value in found.items()
        ]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Settings that fit some times; `others` fit the same ones: the order of day and month is not known."""

    key: str
    value: str
    why: str
    others: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        return [yaml_line(self.key, value) for value in (self.value, *self.others)]


@dataclasses.dataclass
class Explained:
    """Which of some words belong to each time, `[N]`; the first words are none."""

    of: np.ndarray
    words: list[str]


def yaml_line(key: str, value: str) -> str:
    return f'log.{key}: "{value}"' if key == FORMAT else f"log.{key}: {value}"


def recognise(column: pa.ChunkedArray, rule: times.Rule | None = None) -> Recognised:
    """Finds the settings that read the times of a column.

    Args:
      column: of any type; missing values say nothing.
      rule: the range of plausible times and the zone; by default from 1990 to now.

    Raises:
      times.NoTimes: if the column's type holds no times.
    """
    rule = rule or times.Rule()
    array = values.whole(column)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        times.convert(column, rule)
        return Recognised({}, f"a column of type {array.type}, which needs no unit")
    array = _sample(array.drop_null() if array.null_count else array)
    if not len(array):
        return Recognised({}, problems=("there is no time",))
    ranked = _kinds(array, rule)
    problems, count = [], len(array)
    first: _Kind | None = None
    for number, (kind, rows) in enumerate(ranked):
        if number == 0 and len(rows) >= _MOST * count:
            first = kind
        else:
            problems.append(f"{len(rows):,} of {count:,} look like {kind.why}, {' or '.join(kind.lines())}")
    left = np.setdiff1d(np.arange(count), np.concatenate([np.empty(0, np.int64), *(r for _, r in ranked)]))
    if len(left):
        shown = ", ".join(repr(_text(array[int(row)].as_py())) for row in left[:3])
        problems.append(f"{len(left):,} of {count:,} are no plausible times: {shown}")
    if first is None:
        return Recognised({}, problems=tuple(problems))
    found = tuple({first.key: value} for value in (first.value, *first.others))
    if first.others:
        return Recognised({}, first.why, found, tuple(problems))
    return Recognised(found[0], first.why, problems=tuple(problems))


def explain(array: pa.Array, rule: times.Rule) -> Explained:
    """What times look like that `rule` does not read, or reads as implausible ones."""
    explained = Explained(np.zeros(len(array), np.int64), [""])
    typed = pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)
    left = np.arange(len(array))
    none = _stand_for_none(array, rule)
    if none.any():
        explained.words.append(_STANDS_FOR_NONE)
        explained.of[none] = 1
        left = np.flatnonzero(~none)
    if typed or not len(left):
        return explained
    for kind, _ in _kinds(_sample(array.take(pa.array(left))), rule):
        rows = left[
            _fits(array.take(pa.array(left)), dataclasses.replace(rule, **_rule(kind.key, kind.value)))
        ]
        explained.of[rows] = len(explained.words)
        explained.words.append(f"; looks like {kind.why}, {' or '.join(kind.lines())}")
        left = np.setdiff1d(left, rows)
        if not len(left):
            break
    return explained


def _rule(key: str, value: str) -> dict[str, Any]:
    if key == FORMAT:
        return {"unit": "s", "format": value}
    # Of numbers that count from a moment there is no zone to say.
    return {"unit": value, "format": None, **({} if value in times.WALL_UNITS else {"zone": None})}


def _sample(array: pa.Array) -> pa.Array:
    """Rows from all over a column."""
    if len(array) <= _SAMPLE_ROWS:
        return array
    return array.take(pa.array(np.linspace(0, len(array) - 1, _SAMPLE_ROWS).astype(np.int64)))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fits(array: pa.Array, rule: times.Rule) -> np.ndarray:
    return times.convert(pa.chunked_array([array]), rule).state == times.GOOD


def _kinds(array: pa.Array, rule: times.Rule) -> list[tuple[_Kind, np.ndarray]]:
    """The kinds that together fit most of an array, each with the rows that it adds; the largest first."""
    fitting = [
        (key, value, why, _fits(array, dataclasses.replace(rule, **_rule(key, value))))
        for key, value, why in _candidates(array)
    ]
    left = np.ones(len(array), bool)
    found: list[tuple[_Kind, np.ndarray]] = []
    while fitting and left.any() and len(found) < _MANY_KINDS:
        sizes = [int((fits & left).sum()) for *_, fits in fitting]
        best = int(np.argmax(sizes))
        if not sizes[best]:
            break
        key, value, why, fits = fitting[best]
        mirrored = [
            (other, int((fits & ~of_other & left).sum()))
            for of_key, other, _, of_other in fitting
            if of_key == key == FORMAT and other != value and _mirror(other) == value
        ]
        others = tuple(other for other, missed in mirrored if not missed)
        if others:
            why += " in which day and month can be either (choose one)"
        elif mirrored:
            which = "day" if value.index("%d") < value.index("%m") else "month"
            why += f" with the {which} first (only so does each number fit)"
        found.append((_Kind(key, value, why, others), np.flatnonzero(fits & left)))
        left &= ~fits
    return found


def _mirror(form: str) -> str:
    """A format with day and month exchanged."""
    return re.sub("%[dm]", lambda found: "%d" if found.group() == "%m" else "%m", form)


def _candidates(array: pa.Array) -> Iterator[tuple[str, str, str]]:
    """Settings that may fit, each with what times of them look like."""
    if not times.is_text(array.type):
        yield from _NUMBERS
        return
    texts = time_texts.Texts.of(times.as_text(array))
    if any(True for _ in texts.rows_like(times.DECIMAL)):
        yield from _NUMBERS
    yield _ISO
    order = np.argsort([-len(rows) for rows in texts.rows], kind="stable")[:_SAMPLE_SHAPES]
    formats: dict[str, None] = {}
    for index in order:
        if len(texts.shapes[index]) <= time_texts.MAX_BYTES:
            formats.update(dict.fromkeys(formats_of(texts.shapes[index])))
    for form in formats:
        yield FORMAT, form, "dates" if "%H" not in form and "%I" not in form else "dates and times"


_TIME = re.compile(
    r"(?<!\d)\d{1,2}:\d{1,2}(?P<second>:\d{1,2}(?P<fraction>[.,]\d{1,9})?)?(?P<half>(?P<blank>\s*)[ap][.]?m[.]?(?![a-z]))?"
    r"(?P<zone>(?P<gap>\s*)[+-]\d{2}:?\d{2}(?!\d))?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"%T|\d+|[A-Za-z]+(?:/[A-Za-z_]+)*|\s+|.", re.ASCII)
# Words within times: "at" in some languages, a `T` before the clock, and what may be a zone, whose clock no one knows.
_LITERAL = re.compile("at|um|alle|T|[A-Z]{3,5}")
_MONTHS = re.compile(time_formats.MONTH, re.IGNORECASE)
_WEEKDAYS = re.compile(time_formats.WEEKDAY, re.IGNORECASE)


def formats_of(shape: str) -> list[str]:
    """The strptime formats that a text may have, by its shape; two where day and month can be either.

    `00/0/0000 0:00` has `%d/%m/%Y %H:%M` and `%m/%d/%Y %H:%M`.
    """
    shape = shape.strip().replace("%", "%%")
    clock = ""
    found = _TIME.search(shape)
    if found:
        clock = ("%I" if found["half"] else "%H") + ":%M" + (":%S" if found["second"] else "")
        clock += f"{found['fraction'][0]}%f" if found["fraction"] else ""
        clock += f"{found['blank']}%p" if found["half"] else ""
        clock += f"{found['gap']}%z" if found["zone"] else ""
        shape = f"{shape[: found.start()]}%T{shape[found.end() :]}"
    parts: list[str] = []
    numbers: list[int] = []
    for token in _TOKEN.findall(shape):
        if token == "%T":
            parts.append(clock)
        elif token[0].isdigit():
            numbers.append(len(parts))
            parts.append(token)
        elif _MONTHS.fullmatch(token):
            parts.append("%b")
        elif _WEEKDAYS.fullmatch(token):
            parts.append("%a")
        elif token.upper() in time_formats.ZONES and token.upper() != "Z" or "/" in token[1:]:
            parts.append("%Z")
        elif token.upper() == "Z":
            parts.append("%z")
        elif token[0].isalpha() and not _LITERAL.fullmatch(token):
            return []
        else:
            parts.append(token)
    if "T" in parts and parts[parts.index("T") + 1 : parts.index("T") + 2] != [clock]:
        return []
    result = []
    for fields in _orders([parts[at] for at in numbers], "%b" in parts):
        written = dict(zip(numbers, fields))
        form = "".join(written.get(at, part) for at, part in enumerate(parts))
        try:
            time_formats.compile_format(form)
        except ValueError:
            continue
        result.append(form)
    return result


def _orders(numbers: Sequence[str], has_month: bool) -> list[tuple[str, ...]]:
    """What the numbers of a date may be, beside the name of a month, if it has one."""
    sizes = tuple(len(number) for number in numbers)
    if sizes in ((8,), (14,), (12,)):
        return [("%Y%m%d%H%M%S"[: {8: 6, 12: 10, 14: 12}[sizes[0]]],)]
    if any(size not in (1, 2, 4) for size in sizes):
        return []
    years = [at for at, size in enumerate(sizes) if size == 4]
    if has_month:
        by_count: dict[int, list[tuple[str, ...]]] = {
            1: [("%Y",)] if years else [],
            2: [("%d", "%Y" if years else "%y")],
        }
        if len(sizes) == 2 and years == [0]:
            return [("%Y", "%d")]
        return by_count.get(len(sizes), [])
    if len(sizes) == 2 and len(years) == 1:
        return [("%Y", "%m") if years == [0] else ("%m", "%Y")]
    if len(sizes) != 3 or len(years) > 1 or years == [1]:
        return []
    if years == [0]:
        return [("%Y", "%m", "%d")]
    year = "%Y" if years else "%y"
    return [("%d", "%m", year), ("%m", "%d", year)]


def _stand_for_none(array: pa.Array, rule: times.Rule) -> np.ndarray:
    """Which of implausible times are 0, -1, or a day that many systems write for no time: `[N]` bool."""
    anywhere = dataclasses.replace(rule, earliest=times.FIRST_MS, latest=times_lib.END_MS)
    found = times.convert(pa.chunked_array([array]), anywhere)
    numbers = np.zeros(len(array), bool)
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        integers, floats, known = times.numbers_of(array)
        numbers = known & (integers >= -1) & (integers <= 0) & (True if floats is None else np.isnan(floats))
    begin = found.ms - found.ms % times_lib.DAY_MS
    # The last day is often written to its end.
    days = np.isin(begin, _NO_DAYS) & ((found.ms == begin) | (begin == _NO_DAYS[-1]))
    outside = (found.ms < rule.earliest) | (found.ms > rule.latest)
    return numbers | ((found.state == times.GOOD) & days & outside)
