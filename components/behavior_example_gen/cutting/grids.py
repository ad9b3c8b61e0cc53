"""The moments of windows of kind `period`: on a grid or named, which of them each split has, and who has windows there."""

import dataclasses

import numpy as np
import pyarrow as pa

from components.behavior_example_gen import shards, splits
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import hashing, names

_MS = 1000
_MOST = 2**62


@dataclasses.dataclass(frozen=True)
class Grid:
    """Moments `anchor + k * stride` for whole numbers k with `first <= k <= last`, and who has them.

    Attributes:
      users: which users of the shard have windows at them, `[U]` bool.
    """

    anchor: int
    stride: int
    first: int
    last: int
    users: np.ndarray

    def at(self, k: np.ndarray) -> np.ndarray:
        """The moments of numbers k, ms."""
        return self.anchor + k * self.stride

    def last_before(self, times: np.ndarray) -> np.ndarray:
        """The number of the last moment at each time or before it, whether it is one of the grid's or not."""
        return (times - self.anchor) // self.stride

    def overlapping(self, future: int) -> int:
        """In the futures of how many moments an event can be."""
        return -(-future // self.stride)


@dataclasses.dataclass(frozen=True)
class Named:
    """Moments that are named, by their numbers; see `Grid`.

    Attributes:
      moments: `[K]`, rising.
    """

    moments: np.ndarray
    users: np.ndarray
    first: int = 0

    @property
    def last(self) -> int:
        return len(self.moments) - 1

    def at(self, k: np.ndarray) -> np.ndarray:
        """See `Grid`; of numbers out of range, any moment."""
        return self.moments[np.clip(k, 0, self.last)]

    def last_before(self, times: np.ndarray) -> np.ndarray:
        """See `Grid`."""
        return np.searchsorted(self.moments, times, side="right") - 1

    def overlapping(self, future: int) -> int:
        """See `Grid`."""
        ends = np.searchsorted(self.moments, self.moments + future, side="left")
        return int((ends - np.arange(len(ends))).max())


def of_shard(
    events: shards.Events, window: PeriodWindow, cuts: splits.Cuts | None, log_end: int
) -> dict[str, Grid | Named]:
    """The moments of each split, and which users of a shard have them: a moment's whole future is what its split may know.

    Args:
      cuts: in time; None where the split has none.
      log_end: the last moment that the log tells of, ms.
    """
    return _grids(window, cuts, log_end, _users(events, cuts))


def short_moments(
    window: PeriodWindow, cuts: splits.Cuts | None, log_start: int, log_end: int
) -> dict[str, tuple[int, int]]:
    """At how many moments of each split the log is younger than `window.past`, and how many there are behind its first event.

    Args:
      cuts, log_end: see `of_shard`.
      log_start: the first moment of the log, ms.
    """
    found, past = {}, round(window.past * _MS)
    nobody = dict.fromkeys(names.SPLITS, np.zeros(0, bool))
    for split, grid in _grids(window, cuts, log_end, nobody).items():
        # Numbers of the first moments that are late enough: behind an event at all, and behind a whole past.
        some, whole = (grid.last_before(np.array([log_start, log_start + past - 1])) + 1).tolist()
        first = max(grid.first, some)
        total = max(0, grid.last - first + 1)
        found[split] = (min(max(0, whole - first), total), total)
    return found


def _grids(
    window: PeriodWindow, cuts: splits.Cuts | None, log_end: int, users: dict[str, np.ndarray]
) -> dict[str, Grid | Named]:
    if window.at is not None:
        named = named_moments(window, cuts, log_end)
        return {split: Named(named[split], users[split]) for split in names.SPLITS if len(named[split])}
    future, stride = round(window.future * _MS), _stride(window)
    most = (window.moments or _MOST) - 1
    end = log_end + 1
    if cuts is None:
        return {split: Grid(end - future, stride, -most, 0, chosen) for split, chosen in users.items()}
    eval_from, test_from = cuts.eval_from, cuts.test_from
    last_of_eval = min(most, (min(test_from, end) - future - eval_from) // stride)
    last_of_test = min(most, (end - future - test_from) // stride)
    return {
        names.TRAIN: Grid(min(eval_from, end) - future, stride, -most, 0, users[names.TRAIN]),
        names.EVAL: Grid(eval_from, stride, 0, last_of_eval, users[names.EVAL]),
        names.TEST: Grid(test_from, stride, 0, last_of_test, users[names.TEST]),
    }


def _users(events: shards.Events, cuts: splits.Cuts | None) -> dict[str, np.ndarray]:
    """Which users of the shard each split has, `[U]` bool: by users alone they are divided, by time all have both."""
    trains = events.training_counts() > 0
    if cuts is not None:
        everybody = np.ones(len(trains), bool)
        return {names.TRAIN: trains, names.EVAL: everybody, names.TEST: everybody}
    users = events.column(names.USER_ID).take(pa.array(events.starts[:-1]))
    # Other bits than those that hold a user out.
    even = hashing.mix(shards.hash_ids(users)) % np.uint64(2) == 0
    return {names.TRAIN: trains, names.EVAL: ~trains & even, names.TEST: ~trains & ~even}


def named_moments(window: PeriodWindow, cuts: splits.Cuts | None, end: int) -> dict[str, np.ndarray]:
    """The moments of `window.at` (ms) that each split has: those whose whole future lies inside of it.

    Args:
      window: with `at`.
      cuts: in time; None: every split has all of them.
      end: the last moment that the log tells of, ms.
    """
    named = np.array(sorted(round(moment.timestamp() * _MS) for moment in window.at or ()), np.int64)
    until = named + round(window.future * _MS)
    if cuts is None:
        return {split: named[until <= end + 1] for split in names.SPLITS}
    return {
        names.TRAIN: named[until <= min(cuts.eval_from, end + 1)],
        names.EVAL: named[(named >= cuts.eval_from) & (until <= min(cuts.test_from, end + 1))],
        names.TEST: named[(named >= cuts.test_from) & (until <= end + 1)],
    }


def _stride(window: PeriodWindow) -> int:
    return round((window.stride or window.future) * _MS)
