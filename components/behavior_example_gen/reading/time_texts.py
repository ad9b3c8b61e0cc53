"""Times from text: by the shape of a text its fields' places are known, and all rows of a shape are read at once."""

import dataclasses
import datetime
import re
import zoneinfo
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from components.behavior_example_gen.reading import time_formats

_DAY_US = 86_400_000_000
_QUARTER_US = 900_000_000
MAX_BYTES = 64  # longer text is no time, and would make many shapes
_TO_SHAPE = np.arange(256, dtype=np.uint8)
_TO_SHAPE[ord("0") : ord("9") + 1] = ord("0")
_MOST_DIGITS = 18  # that fit into an int64
_FRACTION_DIGITS = 6  # of microseconds; further ones are cut off
_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_US, _LAST_US = (
    (datetime.datetime(year, 1, 1) - _EPOCH) // datetime.timedelta(microseconds=1) for year in (1800, 9990)
)
# A year of two digits is of 1969 to 2068, as POSIX has it.
_PIVOT = 69


@dataclasses.dataclass
class Texts:
    """Texts by their shape, in which each digit is a 0.

    Attributes:
      data, starts: all bytes, and where each text begins in them: `[N]`.
      shapes: the distinct ones.
      rows: the numbers of the texts of each shape.
    """

    data: np.ndarray
    starts: np.ndarray
    shapes: list[str]
    rows: list[np.ndarray]

    @classmethod
    def of(cls, array: pa.Array) -> "Texts":
        """Splits binary text up; what is null or absurdly long is of no shape."""
        array = array.cast(pa.large_binary())
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        shape = pa.Array.from_buffers(
            pa.large_binary(),
            len(array),
            [None, pa.py_buffer(bounds.tobytes()), pa.py_buffer(_TO_SHAPE[raw].tobytes())],
        )
        lengths = np.diff(bounds)
        known = array.is_valid().to_numpy(zero_copy_only=False) & (lengths <= MAX_BYTES) & (lengths > 0)
        at = np.flatnonzero(known)
        encoded = (shape if len(at) == len(array) else shape.take(pa.array(at))).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        shapes = [value.as_py().decode("utf-8", "replace") for value in encoded.dictionary]
        if len(shapes) == 1:
            return cls(raw, bounds[:-1], shapes, [at])
        order = np.argsort(codes, kind="stable")
        if not shapes:
            return cls(raw, bounds[:-1], shapes, [])
        ends = np.cumsum(np.bincount(codes, minlength=len(shapes)))[:-1]
        return cls(raw, bounds[:-1], shapes, np.split(at[order], ends))

    def matching(self, patterns: time_formats.Patterns) -> Iterator[tuple[np.ndarray, "Fields"]]:
        """For each shape that a pattern fits, its rows and their fields."""
        for shape, rows in zip(self.shapes, self.rows):
            found = next((m for m in (p.fullmatch(shape) for p in patterns) if m), None)
            # Places are of bytes, and a time has no other characters than those of one.
            if found and shape.isascii():
                yield rows, Fields(self._digits(rows, len(shape)), found)

    def rows_like(self, pattern: str, but: str | None = None) -> Iterator[np.ndarray]:
        """The rows of each shape that a pattern fits and another one, if any, does not."""
        for shape, rows in zip(self.shapes, self.rows):
            if re.fullmatch(pattern, shape, re.IGNORECASE) and not (but and re.fullmatch(but, shape)):
                yield rows

    def _digits(self, rows: np.ndarray, length: int) -> np.ndarray:
        """The bytes of texts of one length, place by place, less that of 0: `[length, R]`."""
        first = self.starts[rows]
        if (
            len(rows)
            and first[-1] - first[0] == (len(rows) - 1) * length
            and (np.diff(first) == length).all()
        ):
            table = self.data[first[0] : first[0] + len(rows) * length].reshape(len(rows), length)
        else:
            table = self.data[first[:, None] + np.arange(length)]
        return np.ascontiguousarray(table.T) - np.uint8(ord("0"))


class Fields:
    """The fields of texts of one shape: the words that all have, and the numbers of each."""

    def __init__(self, digits: np.ndarray, match: "re.Match[str]"):
        self._digits, self._match = digits, match
        self.count = digits.shape[1]
        self._there = {name for name, text in match.groupdict().items() if text}

    def __contains__(self, name: str) -> bool:
        return name in self._there

    def named(self, prefix: str) -> list[str]:
        return [name for name in self._there if name.startswith(prefix)]

    def word(self, name: str) -> str:
        return self._match.group(name)

    def number(self, name: str, default: int = 0, most: int = _MOST_DIGITS) -> np.ndarray:
        """The number of each text, of its first `most` digits: `[R]` int64."""
        if name not in self:
            return np.full(self.count, default, np.int64)
        begin, end = self._match.span(name)
        kind: type[np.integer] = np.int32 if min(end - begin, most) < 10 else np.int64
        total = np.zeros(self.count, kind)
        for place in range(begin, min(end, begin + most)):
            total *= 10
            total += self._digits[place]
        return total.astype(np.int64)

    def size(self, name: str) -> int:
        """How many characters a field has."""
        begin, end = self._match.span(name)
        return end - begin


def parse(
    texts: Texts, count: int, patterns: time_formats.Patterns, zone: str
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the times of text.

    Args:
      count: N, how many texts there are.
      zone: of times that name none, as `Europe/Berlin`.

    Returns:
      Microseconds since 1970 (UTC), `[N]` int64, and which texts are times, `[N]` bool.
    """
    micros, valid = np.zeros(count, np.int64), np.zeros(count, bool)
    for rows, fields in texts.matching(patterns):
        local, fine = _local(fields)
        named = fields.word("zone_name") if "zone_name" in fields else zone
        if "sign" in fields:
            offset, known = _offset(fields)
            utc, fine = local - offset, fine & known
        elif "utc" in fields:
            utc = local
        elif "zone_name" in fields and named.upper() in time_formats.ZONES:
            utc = local - time_formats.ZONES[named.upper()] * 1_000_000
        elif _is_zone(named):
            utc = to_utc(np.where(fine, local, 0), named)
        else:
            continue
        micros[rows], valid[rows] = np.where(fine, utc, 0), fine
    return micros, valid


def _local(fields: Fields) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since 1970 on the clock that the text has read, and which of these are times."""
    year = fields.number("year", 1970)
    fine = year >= 1
    if "short_year" in fields:
        short = fields.number("short_year")
        year = short + np.where(short < _PIVOT, 2000, 1900)
    month, day = fields.number("month", 1), fields.number("day", 1)
    if "month_name" in fields:
        month[:] = time_formats.MONTHS.index(fields.word("month_name")[:3].lower()) + 1
    fine &= (month >= 1) & (month <= 12)
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    begin = first.astype("datetime64[D]").astype(np.int64)
    if "day_of_year" in fields:
        day = fields.number("day_of_year")
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        fine &= (day >= 1) & (day <= 365 + leap)
    else:
        # No month has fewer days than 28.
        days = (
            28 if day.max(initial=0) <= 28 else (first + 1).astype("datetime64[D]").astype(np.int64) - begin
        )
        fine &= (day >= 1) & (day <= days)
    for name in fields.named(time_formats.LITERAL):
        fine &= fields.number(name) == int(name.rsplit("_", 1)[1])
    micros, known = _time_of_day(fields)
    return (begin + day - 1) * _DAY_US + micros, fine & known & (fields.number("zero") == 0)


def _time_of_day(fields: Fields) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since midnight and which are a time of day, up to 24:00:00 and with leap seconds."""
    minute, second = fields.number("minute"), fields.number("second")
    fraction = fields.number("fraction", most=_FRACTION_DIGITS)
    if "fraction" in fields:
        fraction *= 10 ** max(0, _FRACTION_DIGITS - fields.size("fraction"))
    if "hour_12" in fields:
        hour = fields.number("hour_12")
        fine = (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if fields.word("half")[0] in "pP" else 0)
    else:
        hour = fields.number("hour")
        fine = (hour < 24) | ((hour == 24) & (minute + second + fraction == 0))
    # A leap second is the first second of the next minute, as on the clocks of computers.
    fine &= (minute < 60) & (second <= 60)
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction, fine


def _offset(fields: Fields) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds that clocks are ahead of UTC by their own word, and which of these can be."""
    hour, minute = fields.number("zone_hour"), fields.number("zone_minute")
    sign = -1 if fields.word("sign") == "-" else 1
    return sign * (hour * 60 + minute) * 60_000_000, (hour < 24) & (minute < 60)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def to_utc(local: np.ndarray, zone: str) -> np.ndarray:
    """Microseconds on the clock of a zone to UTC: `[N] int64 -> [N] int64`.

    A time that the clock shows twice is the first one; one that it skips counts from before the change (as with
    `fold=0` in Python): both keep the order of the times before.
    """
    if zone == "UTC":
        return local
    place = zoneinfo.ZoneInfo(zone)
    days, day_of = np.unique(local // _DAY_US, return_inverse=True)
    start, end = _offsets(days * _DAY_US, place), _offsets((days + 1) * _DAY_US, place)
    offset = start[day_of]
    # Only on days on which clocks change do the times of day matter; they change at a quarter of an hour.
    changing = np.flatnonzero((start != end)[day_of])
    quarters, quarter_of = np.unique(local[changing] // _QUARTER_US, return_inverse=True)
    offset[changing] = _offsets(quarters * _QUARTER_US, place)[quarter_of]
    return local - offset


def _offsets(micros: np.ndarray, place: zoneinfo.ZoneInfo) -> np.ndarray:
    """How far the clock of a place is ahead of UTC at moments of its own, in microseconds: `[N] -> [N]`."""
    # Within what Python's calendar holds, where no clock changes.
    moments = (
        _EPOCH + datetime.timedelta(microseconds=m) for m in np.clip(micros, _FIRST_US, _LAST_US).tolist()
    )
    found = [place.utcoffset(moment) // datetime.timedelta(microseconds=1) for moment in moments]
    return np.asarray(found, np.int64).reshape(len(micros))
