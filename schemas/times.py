"""Which times a log of behaviour can have: pure NumPy, for whoever reads times (windowing, clients, servers).

Times are milliseconds since 1970 in UTC. A number of another unit is far outside of the range: seconds read as
milliseconds are in 1970, milliseconds read as seconds after the year 50,000.
"""

import datetime
import time
from collections.abc import Callable
from typing import overload

import numpy as np

_Number = int | float | np.ndarray

DAY_MS, MINUTE_MS = 86_400_000, 60_000
# 1990-01-01: before, hardly anyone had written logs. Older ones say so (log.earliest).
EARLIEST_MS = 631_152_000_000
# A clock may be fast, and local times may be read as UTC.
MARGIN_MS = DAY_MS
# The first moment of the year 10000.
END_MS = 253_402_300_800_000
# How many of a unit are a millisecond, of the units that are taken for one another.
_UNITS = (
    ("seconds", "multiply by 1000", 1000.0),
    ("microseconds", "divide by 1000", 1e-3),
    ("nanoseconds", "divide by 1000000", 1e-6),
)


def now_ms() -> int:
    """This machine's clock."""
    return int(time.time() * 1000)


def latest_ms(now: int | None = None) -> int:
    """The latest plausible time: `now` (by default this machine's clock) and a day."""
    return (now_ms() if now is None else now) + MARGIN_MS


@overload
def plausible(ms: int | float, earliest: int = ..., latest: int | None = ...) -> bool: ...
@overload
def plausible(ms: np.ndarray, earliest: int = ..., latest: int | None = ...) -> np.ndarray: ...
def plausible(ms: _Number, earliest: int = EARLIEST_MS, latest: int | None = None) -> bool | np.ndarray:
    """Whether times lie in the range, both ends included.

    Args:
      ms: one time or `[N]` of them.
      earliest, latest: the range; by default from 1990 to now and a day.

    >>> plausible(1_700_000_000_000), plausible(1_700_000_000)
    (True, False)
    """
    latest = latest_ms() if latest is None else latest
    if isinstance(ms, np.ndarray):
        return (ms >= earliest) & (ms <= latest)
    return earliest <= ms <= latest


def implausible(ms: int | float, earliest: int = EARLIEST_MS, latest: int | None = None) -> str | None:
    """What is wrong with a time in ms, in words that follow its name; None if it is plausible.

    Returns:
      As `is 1970-01-20T16:13:20+00:00, before 1990-01-01; seconds? multiply by 1000`.
    """
    latest = latest_ms() if latest is None else latest
    if plausible(ms, earliest, latest):
        return None
    early = ms < earliest
    bound = f"before {day(earliest)}" if early else f"after {day(latest)}"
    found = f"is {moment(int(ms))}, {bound}"
    look = other_unit(ms, lambda other: bool(plausible(other, earliest, latest)))
    return f"{found}; {look or 'times are in ms since 1970'}"


def other_unit(ms: int | float, fits: Callable[[float], bool]) -> str | None:
    """The unit that makes a time of a number, and what to do, as in `these look like seconds, ...`.

    Args:
      ms: the number.
      fits: whether a time in ms is one.

    Returns:
      None if no unit does.
    """
    for unit, action, factor in _UNITS:
        if fits(ms * factor):
            return f"these look like {unit}, times are in ms: {action}"
    return None


def moment(ms: int | None) -> str | None:
    """A time in ms as ISO 8601 text (as a plain number where no calendar reaches).

    >>> moment(1_700_000_000_000)
    '2023-11-14T22:13:20+00:00'
    """
    if ms is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def day(ms: int) -> str:
    """The date of a time in ms, where its time of day is 0, else the moment.

    >>> day(EARLIEST_MS)
    '1990-01-01'
    """
    text = str(moment(ms))
    return text[:10] if ms % DAY_MS == 0 else text
