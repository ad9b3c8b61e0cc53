"""The labels of periods: what follows each moment, columns in, columns out."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import shards
from components.behavior_example_gen.cutting import tallies
from components.behavior_example_gen.windows import predicates
from schemas import names

_MS = 1000
# The first event in `[low, high)` at a moment or later: of `moments`, `low` and `high`, `[B]` each.
FirstFrom = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Outcomes:
    """Labels of the events of a shard.

    Args:
      events: of the shard.
      labels: by name.
      future: how far a label looks that does not say so, in seconds.
    """

    def __init__(self, events: shards.Events, labels: Mapping[str, predicates.LabelSpec], future: float):
        self._events, self._labels, self._future = events, labels, future
        self._matching = {name: self._matches(label.match) for name, label in labels.items()}
        # Of sums: what each event adds, `[E]` float64, NaN where it lacks a number.
        self._added = {
            name: np.where(self._matching[name], self._products(label.numbers), 0.0)
            for name, label in labels.items()
            if label.kind == "sum"
        }

    def values(self) -> dict[Hashable, int]:
        """How many events have the values that labels name; see `tallies.count_values`."""
        wanted: dict[str, list[str]] = {}
        for label in self._labels.values():
            for feature, values in label.match.items():
                wanted.setdefault(feature, []).extend(values)
        counted: dict[Hashable, int] = {}
        for feature, asked in wanted.items():
            counted.update(tallies.count_values(feature, self._events.column(feature), asked))
        return counted

    def of(
        self,
        moments: np.ndarray,
        start: np.ndarray,
        last: np.ndarray,
        known_until: int,
        first_from: FirstFrom,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The labels of windows, `[B, T]` int64: 1, 0 or UNKNOWN_LABEL; and which are sums that lack a number of some event.

        Nothing at `known_until` or later is looked at: a label whose horizon ends after it is unknown, whatever has
        happened by then, since what is known early is known of the positives alone. What lacks a number adds nothing to a
        sum, as a view of a log in which purchases alone have an amount.

        Args:
          moments: T of each window, ms.
          start: its first event at T or later.
          last: behind the last event of its user.
          known_until: the first moment (ms) that the split knows nothing of.
          first_from: see `FirstFrom`.
        """
        found = np.full([len(moments), len(self._labels)], names.UNKNOWN_LABEL, np.int64)
        lacking = np.zeros(found.shape, bool)
        for number, (name, label) in enumerate(self._labels.items()):
            until = moments + round((label.within or self._future) * _MS)
            known = np.flatnonzero(until <= known_until)
            end = first_from(until[known], start[known], last[known])
            found[known, number] = self._happened(name, label, start[known], end)
            if name in self._added:
                lacking[known, number] = _count(np.isnan(self._added[name]), start[known], end) > 0
        return found, lacking

    def _happened(
        self, name: str, label: predicates.LabelSpec, start: np.ndarray, end: np.ndarray
    ) -> np.ndarray:
        """Whether a label holds of the events in `[start, end)`, `[B]` bool."""
        matches = self._matching[name]
        if label.kind == "next":
            first = np.minimum(start, max(0, len(matches) - 1))
            return (start < end) & matches[first] if len(matches) else np.zeros(len(start), bool)
        if label.kind == "sum":
            return _more(np.nan_to_num(self._added[name]), label.over, start, end)
        count = _count(matches, start, end)
        if label.kind == "count":
            return count > label.over
        return (count > 0) == (label.kind == "any_of")

    def _products(self, numbers: Sequence[str]) -> np.ndarray:
        """The product of numbers of each event, `[E]` float64; NaN where one is missing."""
        values = np.ones(self._events.table.num_rows)
        for name in numbers:
            values = values * self._events.numbers(name)
        return values

    def _matches(self, match: predicates.Match) -> np.ndarray:
        """Which events have one of the values of each feature, `[E]` bool."""
        found = np.ones(self._events.table.num_rows, bool)
        for name, values in match.items():
            column = self._events.column(name)
            wanted = pa.array([value.encode("utf-8") for value in values], column.type)
            found &= pc.is_in(column, value_set=wanted).to_numpy(zero_copy_only=False)
        return found


def _count(which: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How many of each range `[start, end)` there are of `which` `[E]` bool: `[B]`."""
    before = np.concatenate([[0], np.cumsum(which)])
    return before[end] - before[start]


def _more(values: np.ndarray, over: float, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether the total of each range `[start, end)` is more than `over`, `[B]` bool."""
    # Ten times 49.95 is not more than 499.5: doubles round each value, each product and each sum.
    roundings = end - start + 2
    sizes = _totals(np.abs(values), start, end) + abs(over)
    return _totals(values, start, end) - over > roundings * sizes * np.finfo(np.float64).eps


def _totals(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The total of each range `[start, end)`, `[B]`. Each is added up by itself: other users must not show in its digits."""
    # Of an empty range `reduceat` gives the value at its start.
    edges = np.stack([start, end], axis=1).reshape(-1)
    totals = np.add.reduceat(np.append(values, 0.0), edges)[::2] if len(start) else np.zeros(0)
    return np.where(start < end, totals, 0.0)
