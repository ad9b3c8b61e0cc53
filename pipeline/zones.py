"""Moments that name no zone: they are in UTC, whatever zone the times of the log are of."""

import datetime
import zoneinfo
from collections.abc import Iterator
from typing import Any

from components.behavior_example_gen import spec


def in_utc(what: str, moment: datetime.datetime, zone: str | None) -> tuple[datetime.datetime, str | None]:
    """A moment, in UTC where it names no zone, as all moments of an experiment.

    Args:
      what: names it, as a key of an experiment or an argument.
      moment: with a zone or without.
      zone: `log.timezone`, of which the times of the log are.

    Returns:
      With its zone, and what to tell where it could be meant as one of the log's.
    """
    if moment.tzinfo is not None:
        return moment, None
    found = moment.replace(tzinfo=datetime.timezone.utc)
    local = found if zone is None else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    if local == found:
        return found, None
    return found, (
        f"{what} {moment.isoformat()} names no zone and is in UTC; in log.timezone ({zone}) it is {local.isoformat()}"
    )


def notes(experiment: Any) -> list[str]:
    """What to tell of an experiment's moments that name no zone, where `log.timezone` is another one than UTC; a line each.

    Args:
      experiment: of `config.load`: what has been written and read since names a zone.
    """
    found = (
        in_utc(key, moment.replace(tzinfo=None), experiment.log.timezone)[1]
        for key, moment in _moments(experiment)
        if moment.tzinfo is spec.NOT_NAMED
    )
    return [note for note in found if note is not None]


def _moments(experiment: Any) -> Iterator[tuple[str, datetime.datetime]]:
    """All moments that an experiment has, by their keys."""
    for part, key in (("log", "earliest"), ("log", "latest"), ("split", "eval_from"), ("split", "test_from")):
        value = getattr(getattr(experiment, part), key)
        if isinstance(value, datetime.datetime):
            yield f"{part}.{key}", value
    for place, moment in enumerate(getattr(experiment.window, "at", None) or ()):
        yield f"window.at[{place}]", moment
