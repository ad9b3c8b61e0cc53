"""Cuts the sorted events of many users into windows of kind `period`, columns in, columns out."""

import dataclasses
from collections.abc import Hashable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches, shards, slices, splits
from components.behavior_example_gen.cutting import exposure, grids, outcomes, tallies
from components.behavior_example_gen.cutting import seen as first_meetings
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import names

# What is counted of all splits beside the windows: those whose future was longer than `max_future`.
FUTURE_CUT = "future_cut"
# What is told of the target, besides its being the first of the future.
_OF_TARGET = (names.ITEM_ID, names.BEHAVIOR, names.SCENE, names.TIMESTAMP)
_MS = 1000


def cut(
    events: shards.Events, window: PeriodWindow, context: kind.Context
) -> Iterator[tuple[str, pa.RecordBatch | None, dict[Hashable, int]]]:
    """Cuts the windows of all splits.

    Yields:
      The split, a record batch of lists (a scalar is a list of one) with the features of `schemas.names` or
      None, and what is to be counted: `dropped` moments of users with a future, where there were too few
      events on either side, FUTURE_CUT, and what `tallies` counts of labels.
    """
    cutter = _Cutter(events, window, context.popularity)
    yield names.TRAIN, None, cutter.values()
    for split, grid in grids.of_shard(events, window, context.cuts, context.end).items():
        yield from cutter.windows(split, grid, _known_until(split, context))


def _known_until(split: str, context: kind.Context) -> int:
    """The first moment (ms) that a split knows nothing of."""
    if context.cuts is None:
        return context.end + 1
    return exposure.knowledge(context.cuts, context.end)[split]


def met(events: shards.Events, window: PeriodWindow, cuts: splits.Cuts | None, end: int) -> np.ndarray:
    """How many items the windows of `eval` and `test` of each user list, which it has met: int64 `[U]`.

    Each moment has all of its user's, so that they are these times the moments.
    """
    placing, meetings = _Placing(events, window), first_meetings.FirstMeetings(events)
    counted = np.zeros(len(events.starts) - 1, np.int64)
    for split, grid in grids.of_shard(events, window, cuts, end).items():
        if split != names.TRAIN:
            found, _ = placing.windows(grid)
            user = np.searchsorted(events.starts, found.user_start)
            np.add.at(counted, user, meetings.before(found.user_start, found.start).lengths)
    return counted


@dataclasses.dataclass(frozen=True)
class _Periods:
    """Where the history and the future of each window lie among the events: `[B]` each, ends excluded.

    Attributes:
      moments: T, in ms.
      user_start: the user's first event.
      begin: the first event of the history.
      start: the first event of the future, which is the target.
      end: behind the last event of the future.
    """

    moments: np.ndarray
    user_start: np.ndarray
    begin: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def take(self, which: np.ndarray) -> "_Periods":
        return _Periods(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))


def _firsts(user: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Where another user or another moment begins, `[E]` bool."""
    first = np.ones(len(user), bool)
    first[1:] = (k[1:] != k[:-1]) | (user[1:] != user[:-1])
    return first


class _Placing:
    """Where the windows of users lie among the events of a shard."""

    def __init__(self, events: shards.Events, window: PeriodWindow):
        self._events, self._window = events, window
        self._user_of = events.user_of()
        self._times = events.numbers(names.TIMESTAMP)

    def windows(self, grid: grids.Grid | grids.Named) -> tuple[_Periods, int]:
        """Those with enough events on either side, and how many others there would be at the moments of users."""
        found = self._periods(grid)
        history, future = found.start - found.begin, found.end - found.start
        fine = (history >= self._window.min_history) & (future >= self._window.min_future)
        return found.take(fine), int((~fine).sum())

    def _periods(self, grid: grids.Grid | grids.Named) -> _Periods:
        """The moments of users, by user and moment: all with a future, or all with a history where no future is needed."""
        past, future = round(self._window.past * _MS), round(self._window.future * _MS)
        user, k = self._with_future(grid, future) if self._window.min_future else self._with_past(grid, past)
        moments = grid.at(k)
        low, high = self._events.starts[user], self._events.starts[user + 1]
        start = self.first_from(moments, low, high)
        return _Periods(
            moments,
            low,
            self.first_from(moments - past, low, start),
            start,
            self.first_from(moments + future, start, high),
        )

    def _with_past(self, grid: grids.Grid | grids.Named, past: int) -> tuple[np.ndarray, np.ndarray]:
        """The users, and the numbers of their moments, that have an event in the `past` ms before: `[B]` each."""
        # Each event has the moments behind it, until the next event has them or they are too late.
        until = self._times + past
        same = self._user_of[1:] == self._user_of[:-1]
        until[:-1] = np.where(same, np.minimum(until[:-1], self._times[1:]), until[:-1])
        first = np.maximum(grid.last_before(self._times) + 1, grid.first)
        last = np.minimum(grid.last_before(until), grid.last)
        count = np.where(grid.users[self._user_of], np.maximum(last - first + 1, 0), 0)
        return np.repeat(self._user_of, count), batches.Ranges(first, count).indices()

    def _with_future(self, grid: grids.Grid | grids.Named, future: int) -> tuple[np.ndarray, np.ndarray]:
        """The users, and the numbers of their moments, that have an event in the `future` ms from there: `[B]` each."""
        latest = grid.last_before(self._times)
        at, number = [], []
        # An event is in the future of the last moment before it, and of as many as futures overlap.
        for back in range(grid.overlapping(future)):
            k = latest - back
            inside = (self._times - grid.at(k) < future) & (k >= grid.first) & (k <= grid.last)
            where = np.flatnonzero(inside & grid.users[self._user_of])
            # Neighbours of a user and a moment are one period.
            k = k[where]
            first = _firsts(self._user_of[where], k)
            at.append(where[first])
            number.append(k[first])
        event, k = np.concatenate(at), np.concatenate(number)
        user = self._user_of[event]
        if len(at) > 1:
            # An event is the first that falls on a moment in several ways: one of each moment stays.
            order = np.lexsort((event, k, user))
            user, k = user[order], k[order]
            first = _firsts(user, k)
            user, k = user[first], k[first]
        return user, k

    def first_from(self, moments: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The first event in `[low, high)` at a moment or later, else `high`: `[B]`, by halving all at once."""
        low, high = low.copy(), high.copy()
        while len(open_ := np.flatnonzero(low < high)):
            middle = (low[open_] + high[open_]) // 2
            before = self._times[middle] < moments[open_]
            low[open_] = np.where(before, middle + 1, low[open_])
            high[open_] = np.where(before, high[open_], middle)
        return low


class _Cutter:
    def __init__(self, events: shards.Events, window: PeriodWindow, popularity: slices.Popularity):
        self._events, self._window = events, window
        self._slices = slices.Slices(events, popularity)
        self._met = first_meetings.FirstMeetings(events)
        self._placing = _Placing(events, window)
        times, since = events.numbers(names.TIMESTAMP), popularity.recent_from
        recent = np.zeros(len(times), bool) if since is None else times >= since
        self._recent_before = np.concatenate([[0], np.cumsum(recent)])
        named = [name for name in events.table.schema.names if name not in (shards.ROLE, names.USER_ID)]
        self._user_features = [name for name in named if name.startswith(names.USER_PREFIX)]
        self._features = [name for name in named if not name.startswith(names.USER_PREFIX)]
        self._outcomes = outcomes.Outcomes(events, window.labels, window.future)

    def values(self) -> dict[Hashable, int]:
        """See `outcomes.Outcomes.values`."""
        return self._outcomes.values()

    def windows(
        self, split: str, grid: grids.Grid | grids.Named, known_until: int
    ) -> Iterator[tuple[str, pa.RecordBatch | None, dict[Hashable, int]]]:
        found, dropped = self._placing.windows(grid)
        if not len(found.start) and not dropped:
            return
        history, future = found.start - found.begin, found.end - found.start
        last = self._events.starts[1:][np.searchsorted(self._events.starts, found.user_start)]
        labels, lacking = self._outcomes.of(
            found.moments, found.start, last, known_until, self._placing.first_from
        )
        counted: dict[Hashable, int] = {
            "dropped": dropped,
            FUTURE_CUT: int((future > self._window.max_future).sum()),
            **tallies.count(split, self._window.label_names, labels),
            **tallies.count_lacking(split, self._window.label_names, lacking),
        }
        yield split, None, counted
        if not len(found.start):
            return
        found = dataclasses.replace(
            found,
            begin=found.start - np.minimum(history, self._window.length),
            end=found.start + np.minimum(future, self._window.max_future),
        )
        new = self._new_targets(found) if split == names.TRAIN else np.zeros(len(history), np.int64)
        seen = batches.Ranges.none(len(history))
        if split != names.TRAIN:
            seen = self._met.before(found.user_start, found.start)
        for part in batches.pieces(found.end - found.begin + seen.lengths):
            yield (
                split,
                self._batch(found.take(part), history[part], new[part], seen.take(part), labels[part]),
                {},
            )

    def _new_targets(self, found: _Periods) -> np.ndarray:
        """How many events of each window (but its first), the last ones, no earlier window of the user has: `[B]`."""
        covered = np.zeros(len(found.end), np.int64)
        same = found.user_start[1:] == found.user_start[:-1]
        covered[1:] = np.where(same, found.end[:-1], 0)
        return np.maximum(found.end - np.maximum(found.begin + 1, covered), 0)

    def _batch(
        self,
        found: _Periods,
        history: np.ndarray,
        new: np.ndarray,
        seen: batches.Ranges,
        labels: np.ndarray,
    ) -> pa.RecordBatch:
        events, columns = self._events, {}
        past = batches.Ranges(found.begin, found.start - found.begin)
        future = batches.Ranges(found.start, found.end - found.start)
        # Of a window that nothing follows, what would be said of the target is missing.
        follows = found.end > found.start
        at = pa.array(np.where(follows, found.start, found.start - 1))
        columns[names.USER_ID] = batches.scalars(events.column(names.USER_ID).take(at))
        index = pa.array(past.indices())
        for name in self._features:
            columns[names.HISTORY_PREFIX + name] = batches.lists(
                past.offsets, events.column(name).take(index)
            )
        index = pa.array(future.indices())
        for name in self._features:
            values = events.column(name)
            columns[names.FUTURE_PREFIX + name] = batches.lists(future.offsets, values.take(index))
            if name in _OF_TARGET:
                missing = pa.array(found.moments) if name == names.TIMESTAMP else pa.scalar(b"", values.type)
                target = batches.scalars(pc.if_else(pa.array(follows), values.take(at), missing))
                columns[names.TARGET_PREFIX + name] = target
        for name in self._user_features:
            # As known at the last event of the history: the target's row may say what came later.
            columns[name] = batches.scalars(events.column(name).take(pa.array(found.start - 1)))
        for place, name in enumerate(self._window.label_names):
            columns[names.LABEL_PREFIX + name] = batches.scalars(pa.array(labels[:, place]))
        columns[names.SEEN_ITEM_ID] = batches.lists(seen.offsets, self._met.items(seen))
        columns[names.MOMENT] = batches.scalars(pa.array(found.moments))
        columns[names.NEW_TARGETS] = batches.scalars(pa.array(new))
        recent = self._recent_before[found.end] - self._recent_before[found.begin]
        columns[names.RECENT_TARGETS] = batches.scalars(pa.array(np.minimum(new, recent)))
        # Where a window may have no target, slices that look at it would know whether anything follows.
        about = found.start if self._window.has_targets else found.start - 1
        columns.update(self._slices.columns(about, history, found.start - found.user_start))
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
