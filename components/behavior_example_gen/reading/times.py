"""The times of a log, in any of its units, as ms."""

import re
from typing import Any, Optional, Tuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen.reading import values as values_lib

# The end of the year 9999: what lies further is of another unit.
_LAST_MS = 253_402_300_800_000
_TICKS_PER_MS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_ISO_TIME = re.compile(
    r"(?P<date>\d{4}(-\d\d(-\d\d)?)?|\d{8})"
    r"([T ](?P<time>\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?)(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?$"
)
# Forms that only some versions of pandas take: a blank before the zone, its name, a comma before fractions.
_BLANK_ZONE = re.compile(r" +([+-]\d\d(:?\d\d)?|Z|UTC)$")


def parse(column: pa.ChunkedArray, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    """The times as int64 at the log's resolution, which of them are valid, and their unit."""
    array = values_lib.whole(column)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(array.type):
        return _within(array.cast(pa.int64()), array.type.unit)
    if pa.types.is_uint64(array.type):
        known = pc.less(array, pa.scalar(2**63 - 1, array.type))
        array = pc.if_else(known, array, pa.scalar(None, array.type))
    if pa.types.is_integer(array.type):
        return _within(array.cast(pa.int64()), unit)
    if pa.types.is_floating(array.type):
        return _float_ticks(array.to_numpy(zero_copy_only=False).astype(np.float64), unit)
    text = array if pa.types.is_string(array.type) else array.cast(pa.binary())
    if unit == "iso8601":
        return _iso_ticks(text)
    try:
        return _within(text.cast(pa.string()).cast(pa.int64()), unit)
    except pa.ArrowInvalid:
        # Fractions, or a value that is no number at all.
        numbers = _coerce(text, float, np.nan)
        return _float_ticks(numbers, unit)


def _within(times: pa.Array, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    """Whole times, which of them there are and are not out of all bounds, and their unit."""
    unit = "ms" if unit == "iso8601" else unit
    factor, divisor = _TICKS_PER_MS[unit]
    ticks = times.fill_null(0).to_numpy(zero_copy_only=False)
    last = min(_LAST_MS * divisor // factor, 2**63 - 1)
    valid = times.is_valid().to_numpy(zero_copy_only=False) & (ticks <= last) & (ticks >= -last)
    return np.where(valid, ticks, 0), valid, unit


def _float_ticks(values: np.ndarray, unit: str) -> Tuple[np.ndarray, np.ndarray, str]:
    factor, divisor = _TICKS_PER_MS["ms" if unit == "iso8601" else unit]
    ms = values * factor / divisor
    valid = np.isfinite(ms) & (np.abs(ms) < _LAST_MS)
    return np.where(valid, np.round(np.where(valid, ms, 0)), 0).astype(np.int64), valid, "ms"


def _iso_ticks(text: pa.Array) -> Tuple[np.ndarray, np.ndarray, str]:
    import pandas as pd

    strings = text.cast(pa.binary()).dictionary_encode()
    distinct = [v.as_py().decode("utf-8", "replace").strip() for v in strings.dictionary]
    # Pandas guesses at other orders of day and month, and before 2 it knows no name for these.
    iso = [_plain_iso(value) for value in distinct]
    form = {"format": "ISO8601"} if int(pd.__version__.split(".")[0]) >= 2 else {}
    parsed = pd.to_datetime(pd.Series(iso + [None], dtype=object), errors="coerce", utc=True, **form)
    micros = parsed.to_numpy(dtype="datetime64[us]")
    index = strings.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    valid = ~np.isnat(micros)
    return np.where(valid, micros.astype(np.int64), 0)[index], valid[index], "us"


def _plain_iso(value: str) -> Optional[str]:
    """A time in a form that all versions of pandas take, always with its zone; None if it is no ISO time.

    Pandas 2 gives times without a zone that of the one before.
    """
    value = _BLANK_ZONE.sub(r"\1", value).replace("UTC", "Z").replace(",", ".")
    found = _ISO_TIME.match(value)
    if not found:
        return None
    date, time, zone = found.group("date", "time", "zone")
    if len(date) == 8:
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    elif len(date) < 10:
        # A month is its first day, a year its first month.
        date += "-01" * ((10 - len(date)) // 3)
    return f"{date}T{time or '00:00:00'}{zone or 'Z'}"


def _coerce(text: pa.Array, convert: Any, missing: float) -> np.ndarray:
    encoded = text.cast(pa.binary()).dictionary_encode()
    values = np.full(len(encoded.dictionary) + 1, missing)
    for index, value in enumerate(encoded.dictionary):
        try:
            values[index] = convert(value.as_py())
        except ValueError:
            continue
    return values[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]


def to_ms(ticks: np.ndarray, unit: str) -> np.ndarray:
    factor, divisor = _TICKS_PER_MS[unit]
    return ticks // divisor if factor == 1 else ticks * factor
