"""Moments that name no zone: they are in UTC, also where the times of the log are in another zone."""

import datetime
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas import settings

# Equal to UTC; its name stays with a moment that is copied or pickled, so that it can still be told of.
_UNNAMED = datetime.timezone(datetime.timedelta(0), "UTC, as no zone is named")


def in_utc(moment: datetime.datetime) -> datetime.datetime:
    """The moment, in UTC where it names no zone; `written` and `told` still know that it names none.

    >>> in_utc(datetime.datetime(2024, 3, 1)).isoformat()
    '2024-03-01T00:00:00+00:00'
    """
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=_UNNAMED)


def written(moment: datetime.datetime) -> str:
    """The moment in ISO 8601, without a zone where none was named.

    >>> written(in_utc(datetime.datetime(2024, 3, 1)))
    '2024-03-01T00:00:00'
    """
    return (moment.replace(tzinfo=None) if _is_unnamed(moment) else moment).isoformat()


def told(key: str, moments: Sequence[datetime.datetime], zone: str | None) -> list[str]:
    """What to tell of moments that are in UTC and may be meant in the zone of the log.

    Args:
      key: where the moments were given.
      moments: as of `in_utc`.
      zone: `log.timezone`; None is UTC.

    Returns:
      A sentence about the first such moment, or nothing.
    """
    if zone is None:
        return []
    place = zoneinfo.ZoneInfo(zone)
    # A clock may be that of UTC for a part of the year.
    odd = [moment for moment in moments if _is_unnamed(moment) and moment.replace(tzinfo=place).utcoffset()]
    if not odd:
        return []
    value, local = written(odd[0]), odd[0].replace(tzinfo=place).isoformat()
    names = f"(and {len(odd) - 1} more) name" if len(odd) > 1 else "names"
    is_ = "are" if len(odd) > 1 else "is"
    first = "it is" if len(odd) == 1 else "the first is"
    return [
        f"{key} {value} {names} no zone and {is_} in UTC; in log.timezone ({zone}) {first} {local}; "
        f"write that, or {value}Z for UTC"
    ]


def told_of(parts: Mapping[str, settings.Settings], zone: str | None) -> list[str]:
    """What to tell of the moments of an experiment, see `told`.

    Args:
      parts: its settings, by their keys.
      zone: `log.timezone`.
    """
    return [
        sentence
        for name, part in parts.items()
        for key, moments in _moments(name, part)
        for sentence in told(key, moments, zone)
    ]


def _moments(key: str, value: Any) -> Iterator[tuple[str, list[datetime.datetime]]]:
    """The moments of a setting and of those within it, by key: whichever kind of window has them."""
    if isinstance(value, settings.Settings):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _moments(f"{key}.{name}", part)
    values = value if isinstance(value, (list, tuple)) else [value]
    moments = [one for one in values if isinstance(one, datetime.datetime)]
    if moments:
        yield key, moments


def _is_unnamed(moment: datetime.datetime) -> bool:
    return moment.tzname() == _UNNAMED.tzname(None)
