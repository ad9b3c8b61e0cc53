"""The times of a log, in any of its units and forms, as ms; what is no time or implausible has its reason."""

import dataclasses
import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import text as text_lib
from components.behavior_example_gen.reading import time_formats, time_texts, values
from schemas import errors, names, times

ISO_8601 = "iso8601"
# What a time can be, beside a good one.
GOOD, MISSING, NO_TIME, EARLY, LATE = range(5)

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_DAY = times.DAY_MS
FIRST_MS = -62_135_596_800_000  # 0001-01-01
# Of each unit: ms = number * factor // divisor + the ms of its zero, and whether it reads a wall clock.
_UNITS = {
    "s": (1000, 1, 0, False),
    "ms": (1, 1, 0, False),
    "us": (1, 1000, 0, False),
    "ns": (1, 1_000_000, 0, False),
    "d": (_DAY, 1, 0, True),
    "excel": (_DAY, 1, -25_569 * _DAY, True),  # 1899-12-30
    "dotnet_ticks": (1, 10_000, FIRST_MS, True),
    "filetime": (1, 10_000, -11_644_473_600_000, False),  # 1601-01-01
    "webkit": (1, 1000, -11_644_473_600_000, False),
    "julian_day": (_DAY, 1, -210_866_760_000_000, False),  # noon of -4712-01-01
}
# Those that read a clock on a wall.
WALL_UNITS = tuple(unit for unit, (*_, wall) in _UNITS.items() if wall) + (ISO_8601,)
# As ns these are all in the year 1990, as .NET ticks between the years 2000 and 2100.
_TICKS = (630_822_816_000_000_000, 662_380_416_000_000_000)
_INTEGER = r"\s*[+-]?0{1,19}\s*"
DECIMAL = r"\s*[+-]?(0+[.]?0*|[.]0+)(e[+-]?0+)?\s*"


class NoTimes(errors.InputError):
    """A column that can hold no times."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """How the times of a column are read, and between which moments (ms, both included) they lie."""

    unit: str = "s"
    format: str | None = None
    zone: str | None = None
    earliest: int = times.EARLIEST_MS
    latest: int = dataclasses.field(default_factory=times.latest_ms)

    @classmethod
    def of(cls, log: spec.LogSpec) -> "Rule":
        latest = {"latest": _ms(log.latest)} if log.latest else {}
        earliest = _ms(log.earliest) if log.earliest else times.EARLIEST_MS
        return cls(log.timestamp_unit, log.timestamp_format, log.timezone, earliest, **latest)

    def written(self) -> str:
        """The setting that says how times are written."""
        if self.format is not None:
            return f"log.timestamp_format {self.format}"
        return f"log.timestamp_unit {self.unit}"

    def patterns(self) -> time_formats.Patterns | None:
        """Those of text; None of numbers."""
        if self.format is not None:
            return time_formats.compile_format(self.format)
        return time_formats.ISO_8601 if self.unit == ISO_8601 else None


@dataclasses.dataclass
class Times:
    """Times as ms since 1970 (UTC), `[N]` int64, ns beyond these, `[N]` int64, and what each is, `[N]` int8.

    Both numbers are 0 where a time is not `GOOD`.
    """

    ms: np.ndarray
    nanos: np.ndarray
    state: np.ndarray


def bounded(log: spec.LogSpec) -> spec.LogSpec:
    """The log with its range of times spelled out, so that all who read it go by one clock."""
    rule = Rule.of(log)
    return log.model_copy(update={"earliest": _moment(rule.earliest), "latest": _moment(rule.latest)})


def _ms(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)


def _moment(ms: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(milliseconds=ms)


def convert(column: pa.ChunkedArray, rule: Rule) -> Times:
    """Reads a column of any type that holds times.

    A typed time (a timestamp or a date) is what its type says, and `rule.unit` is not asked. Numbers are numbers
    whether they stand as text, integers or floats.

    Raises:
      NoTimes: if a type holds no times, or `rule.zone` is given for numbers that count from a moment.
    """
    array = values.whole(column)
    kind = array.type
    if pa.types.is_null(kind):
        array, kind = array.cast(pa.string()), pa.string()
    elif pa.types.is_decimal(kind):
        array, kind = text_lib.of(array).values, pa.binary()
    elif pa.types.is_float16(kind):
        array = pa.array(array.to_numpy(zero_copy_only=False).astype(np.float64), from_pandas=True)
    missing = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        ms, nanos, fine = _typed(array)
        if getattr(kind, "tz", None) is None:
            ms = _in_zone(ms, rule.zone)
    elif not (is_text(kind) or _is_number(kind)):
        raise NoTimes("times are timestamps, dates, numbers or text")
    elif rule.patterns() is not None:
        texts = time_texts.Texts.of(as_text(array))
        micros, fine = time_texts.parse(texts, len(array), rule.patterns(), rule.zone or "UTC")
        ms, nanos = micros // 1000, micros % 1000 * 1000
    else:
        wall = _UNITS[rule.unit][3]
        if rule.zone and not wall:
            raise NoTimes(
                f"log.timezone ({rule.zone}) is for times of a wall clock; log.timestamp_unit {rule.unit} counts "
                f"from a moment, the same everywhere: leave log.timezone out"
            )
        integers, floats, known = numbers_of(array)
        ms, nanos, fine = _from_numbers(integers, floats, rule.unit)
        fine &= known
        if rule.unit == "ns" and rule.earliest >= times.EARLIEST_MS:
            # Of a log with times of 1990 that says so, these are its times.
            fine &= (integers < _TICKS[0]) | (integers > _TICKS[1])
        ms = _in_zone(ms, rule.zone) if wall else ms
    if fine.all() and not missing.any() and _within(ms, rule):
        return Times(ms, nanos, np.full(len(ms), GOOD, np.int8))
    fine &= (ms >= FIRST_MS) & (ms < times.END_MS)
    state = np.where(ms < rule.earliest, EARLY, np.where(ms > rule.latest, LATE, GOOD)).astype(np.int8)
    state[~fine] = NO_TIME
    state[missing] = MISSING
    good = state == GOOD
    return Times(np.where(good, ms, 0), np.where(good, nanos, 0), state)


def is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _within(ms: np.ndarray, rule: Rule) -> bool:
    """Whether all times are plausible, as they usually are."""
    if not len(ms):
        return True
    earliest, latest = max(rule.earliest, FIRST_MS), min(rule.latest, times.END_MS - 1)
    return bool(ms.min() >= earliest and ms.max() <= latest)


def _in_zone(ms: np.ndarray, zone: str | None) -> np.ndarray:
    if zone is None:
        return ms
    inside = np.clip(ms, FIRST_MS, times.END_MS)
    return time_texts.to_utc(inside * 1000, zone) // 1000 + (ms - inside)


def _typed(array: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ms and ns of timestamps and dates, and which of them an int64 of ms can hold."""
    if pa.types.is_date32(array.type):
        unit, numbers = "d", array.cast(pa.int32()).cast(pa.int64())
    else:
        unit = "ms" if pa.types.is_date64(array.type) else array.type.unit
        numbers = array.cast(pa.int64())
    return _from_numbers(numbers.fill_null(0).to_numpy(zero_copy_only=False), None, unit)


def _from_numbers(
    integers: np.ndarray, floats: np.ndarray | None, unit: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ms and ns of numbers of a unit, and which of these are near the calendar.

    Args:
      integers: `[N]` int64.
      floats: `[N]` float64, numbers with a fraction that count instead where they are not NaN; None is none.
    """
    factor, divisor, zero, _ = _UNITS[unit]
    bound = min(2 * times.END_MS * divisor // factor, 2**63 - 1)
    if len(integers) and integers.min() >= -bound and integers.max() <= bound:
        fine = np.ones(len(integers), bool)
    else:
        fine = (integers <= bound) & (integers >= -bound)
        integers = np.where(fine, integers, 0)
    if divisor == 1:
        ms, nanos = integers * factor, np.zeros(len(integers), np.int64)
    else:
        ms, rest = np.divmod(integers * factor, divisor)
        nanos = rest * (1_000_000 // divisor)
    if floats is not None:
        broken = np.flatnonzero(~np.isnan(floats))
        number = floats[broken]
        fine[broken] = np.abs(number) <= bound
        number = np.where(fine[broken], number, 0.0)
        # A float has the digits of microseconds, of a number of days those of milliseconds.
        step = 1 if factor == _DAY else 1000
        counted = np.rint(number * (factor * step / divisor)).astype(np.int64)
        ms[broken], nanos[broken] = counted // step, counted % step * (1_000_000 // step)
    return ms + zero if zero else ms, nanos, fine


def numbers_of(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The numbers of a column: as integers, as floats where they are none (else NaN), and which are any."""
    kind = array.type
    if pa.types.is_uint64(kind):
        beyond = pc.greater_equal(array, pa.scalar(2**63 - 1, kind)).fill_null(False)
        array = text_lib.without(array, beyond.to_numpy(zero_copy_only=False))
        kind = pa.int64()
    if pa.types.is_integer(kind):
        known = array.is_valid().to_numpy(zero_copy_only=False)
        return array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), None, known
    if pa.types.is_floating(kind):
        return _split(array.to_numpy(zero_copy_only=False).astype(np.float64))
    try:
        # The usual case, in one pass.
        integers = text_lib.as_strings(array).cast(pa.int64())
        known = integers.is_valid().to_numpy(zero_copy_only=False)
        return integers.fill_null(0).to_numpy(zero_copy_only=False), None, known
    except pa.ArrowInvalid:
        return _mixed_numbers(array)


def _split(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Floats that are whole as the integers that they are."""
    known = np.isfinite(numbers)
    whole = known & (np.abs(numbers) < 2.0**62) & (numbers == np.floor(np.where(known, numbers, 0)))
    return np.where(whole, numbers, 0).astype(np.int64), np.where(whole | ~known, np.nan, numbers), known


def _mixed_numbers(text: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers among other texts: an integer is exact, whatever else stands in the column."""
    integers, floats = np.zeros(len(text), np.int64), np.full(len(text), np.nan)
    known = np.zeros(len(text), bool)
    text = text.cast(pa.large_binary())
    texts = time_texts.Texts.of(text)
    for rows, is_integer in (
        *((rows, True) for rows in texts.rows_like(_INTEGER)),
        *((rows, False) for rows in texts.rows_like(DECIMAL, but=_INTEGER)),
    ):
        found = pc.utf8_ltrim(
            pc.utf8_trim_whitespace(text.take(pa.array(rows)).cast(pa.large_string())), characters="+"
        )
        if is_integer:
            integers[rows], known[rows] = _integers(found)
        else:
            integers[rows], floats[rows], known[rows] = _split(np.asarray(found.to_pylist(), np.float64))
    return integers, floats, known


def _integers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Integers of up to 19 digits, and which of them an int64 holds."""
    try:
        found = text.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return found, np.ones(len(found), bool)
    except pa.ArrowInvalid:
        numbers = [int(value) for value in text.to_pylist()]
        fits = np.asarray([abs(number) < 2**63 for number in numbers])
        return np.asarray([number if fit else 0 for number, fit in zip(numbers, fits)], np.int64), fits


def as_text(array: pa.Array) -> pa.Array:
    """Any column as binary text; whole numbers without a point, as they would stand in a CSV file."""
    if pa.types.is_floating(array.type):
        integers, floats, known = _split(array.to_numpy(zero_copy_only=False).astype(np.float64))
        whole = pa.array(integers, mask=~(known & np.isnan(floats))).cast(pa.string())
        array = pc.coalesce(whole, array.cast(pa.string()))
    if not is_text(array.type):
        array = array.cast(pa.string())
    return array if pa.types.is_binary(array.type) else array.cast(pa.large_binary())


def read(column: pa.ChunkedArray, log: spec.LogSpec) -> tuple[Times, list[tuple[np.ndarray, str]]]:
    """Reads the times of a log's column.

    Returns:
      The times, and what is wrong with those that are not good: which rows, `[N]` bool, and the reason.

    Raises:
      NoTimes: if the column's type holds no times.
    """
    from components.behavior_example_gen.reading import time_kinds

    rule, name = Rule.of(log), log.columns.timestamp
    found = convert(column, rule)
    _find_missing(column, found, log.missing.of_column(names.TIMESTAMP))
    problems = []
    if (found.state == MISSING).any():
        problems.append((found.state == MISSING, f"missing time (column {name!r})"))
    bad = np.flatnonzero(found.state > MISSING)
    if not len(bad):
        return found, problems
    looks = time_kinds.explain(values.whole(column).take(pa.array(bad)), rule)
    for state, words in (
        (NO_TIME, "unparsable time"),
        (EARLY, f"time before {times.day(rule.earliest)}"),
        (LATE, f"time after {times.day(rule.latest)}"),
    ):
        of_state = found.state[bad] == state
        for number in np.unique(looks.of[of_state]):
            mask = np.zeros(len(found.state), bool)
            mask[bad[of_state & (looks.of == number)]] = True
            hint = looks.words[number]
            if not hint and state != NO_TIME:
                setting = "earliest" if state == EARLY else "latest"
                hint = f"; log.{setting} widens the range, log.timestamp_unit changes the unit"
            problems.append((mask, f"{words} (column {name!r}, {rule.written()}){hint}"))
    return found, problems


def _find_missing(column: pa.ChunkedArray, found: Times, words: tuple[str, ...]) -> None:
    """Marks texts that are words for no value."""
    bad = np.flatnonzero(found.state == NO_TIME)
    if len(bad) and is_text(column.type):
        texts = text_lib.of(values.whole(column).take(pa.array(bad))).values
        nothing = text_lib.is_in(texts, words) | texts.is_null().to_numpy(zero_copy_only=False)
        found.state[bad[nothing]] = MISSING
