"""Numbers and times of a page as text."""

import datetime
import math
import os
from typing import Any

from schemas import figures
from schemas.figures import is_number


def count(value: Any) -> str:
    return f"{value:,.0f}" if is_number(value) else "–"


def value(value: Any) -> str:
    """A setting as a person would write it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def below(run_dir: str, uri: str) -> str:
    """A path in the run's folder without the folder."""
    for folder in (run_dir, os.path.abspath(run_dir)):
        if uri.startswith(folder.rstrip("/") + "/"):
            return uri[len(folder.rstrip("/")) + 1 :]
    return uri


def signed(value: Any) -> str:
    return figures.signed(value, figures.MINUS)


def percent(value: Any) -> str:
    if not is_number(value):
        return "–"
    return f"{value:.1%}" if value == 0 or value >= 0.001 else f"{value:.2%}"


def seconds(value: Any) -> str:
    if not is_number(value):
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def parse_time(value: Any) -> datetime.datetime | None:
    if is_number(value):
        return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    if not value:
        return None
    try:
        moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def moment(value: Any) -> str:
    moment = value if isinstance(value, datetime.datetime) else parse_time(value)
    if moment is None:
        return str(value) if value else "–"
    moment = moment.astimezone(datetime.timezone.utc)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def estimate(estimate: Any) -> str:
    """A `slice_results.Estimate` with its interval."""
    if math.isnan(estimate.value):
        return "no value"
    return figures.estimate(estimate.value, estimate.low, estimate.high)
