"""The times that a model was trained on, and what a client makes of times that do not fit them.

A model tells them by a signature of its own, SIGNATURE, so that any server can be asked. Models without that
signature were exported before there was one: of times for them, only what no log has is named.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from schemas import times

SIGNATURE = "training_times"
FIRST, LAST = "first", "last"
# A log of a few days says little of how long its model can be used.
_LEAST_MARGIN_MS = 30 * times.DAY_MS


class TimeWarning(UserWarning):
    """A time that is far from those that the model was trained on, or that no log has."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The first and the last moment of training (ms since the epoch), both included."""

    first: int
    last: int

    @property
    def margin(self) -> int:
        """How far (ms) from the range a time is near: as long as the range is, and 30 days at least."""
        return max(self.last - self.first, _LEAST_MARGIN_MS)

    def near(self, ms: int | float | np.ndarray) -> bool | np.ndarray:
        """Whether times lie in the range or near it."""
        return times.plausible(ms, self.first - self.margin, self.last + self.margin)

    def __str__(self) -> str:
        return f"{str(times.moment(self.first))[:10]} to {str(times.moment(self.last))[:10]}"


def check(given: Sequence[tuple[str, int]], trained: Range | None) -> str | None:
    """Looks at the times of a request, with the place of each for messages.

    An error is a time that another unit explains (seconds in place of ms), and one before 1990 for a model whose
    training is not near it. All others that do not fit are worth a warning: those that are far from training, and
    those in the future; of a model whose training is not known, those before 1990 or in the future, since there
    are such logs.

    Args:
      given: pairs of a place and a time in ms.
      trained: of the model, if it is known.

    Returns:
      A warning that names the first such time; None if all fit.

    Raises:
      ValueError: naming the place, the time, and what is expected.
    """
    if not given:
        return None
    moments = np.array([time for _, time in given], np.int64)
    if trained is None:
        fits = times.plausible(moments)
    else:
        fits = trained.near(moments) & (moments <= max(times.latest_ms(), trained.last))
    odd = np.flatnonzero(~fits)
    for number in odd:
        place, time = given[number]
        problem = _mistaken(int(time), trained)
        if problem:
            raise ValueError(f"{place} {time} {problem}")
    if not len(odd):
        return None
    place, time = given[odd[0]]
    more = f" ({len(odd) - 1:,} more such times)" if len(odd) > 1 else ""
    return f"{place} {time} {_far(int(time), trained)}{more}"


def _mistaken(ms: int, trained: Range | None) -> str | None:
    """Why a number is no time in ms, if so."""
    if trained is None:
        look = times.other_unit(ms, times.plausible)
        return times.implausible(ms) if look else None
    # A date that logs have is a date, if another one than expected.
    if times.plausible(ms) or trained.near(ms):
        return None
    look = times.other_unit(ms, lambda other: times.plausible(other) or bool(trained.near(other)))
    if look is None and ms > times.EARLIEST_MS:
        return None
    return (
        f"is {times.moment(ms)}, and the model was trained on times from {trained}; "
        f"{look or 'times are in ms since 1970'}"
    )


def _far(ms: int, trained: Range | None) -> str:
    if trained is None or trained.near(ms):
        return str(times.implausible(ms))
    return f"is {times.moment(ms)}, far from the times that the model was trained on ({trained})"
