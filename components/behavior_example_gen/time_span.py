"""When the events of a log are: a histogram that merges, and the span that no lonely event stretches."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_HISTOGRAM_BINS = 1 << 18
_GRID_BITS = 17
# Events that are few at an end of the log and far from all others are lonely: at most one of 1000, or one of 30 and
# three in all, behind a gap that is wider than five times the widest one between the others.
_LONELY_SHARE = 1000
_LONELY_FEW, _LONELY_FEW_SHARE = 3, 30
_LONELY_GAP = 5


class Bulk(NamedTuple):
    """The first and the last moment (ms) between which all events but lonely ones are."""

    first: int
    last: int


EVERYTHING = Bulk(-(2**62), 2**62)


@dataclasses.dataclass
class TimeHistogram:
    """How many events fall in each bin of `2 ** shift` ms; exact while there are few distinct times.

    The width depends on the times alone, not on the order in which parts are merged.
    """

    bins: np.ndarray
    counts: np.ndarray
    shift: int = 0

    @classmethod
    def of(cls, times: np.ndarray) -> "TimeHistogram":
        bins, counts = np.unique(times, return_counts=True)
        return cls(bins, counts)._narrowed()

    @classmethod
    def on_grid(cls, times: np.ndarray, bulk: Bulk = EVERYTHING) -> "TimeHistogram":
        """Counts in bins whose width follows from the bulk alone: quicker than `of`, as it sorts nothing.

        Args:
          times: in ms; those outside of the bulk count at its ends.
          bulk: of the whole log. Parts of one log fit together without loss.
        """
        if not len(times):
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        if bulk == EVERYTHING:
            bulk = Bulk(int(times.min()), int(times.max()))
        shift = max(0, (bulk.last - bulk.first).bit_length() - _GRID_BITS)
        low = bulk.first >> shift
        counts = np.bincount((np.clip(times, *bulk) >> shift) - low)
        bins = np.flatnonzero(counts)
        return cls(bins + low, counts[bins], shift)

    @classmethod
    def merged(cls, parts: Iterable["TimeHistogram"]) -> "TimeHistogram":
        parts = list(parts) or [cls(np.empty(0, np.int64), np.empty(0, np.int64))]
        shift = max(p.shift for p in parts)
        bins = np.concatenate([p.bins >> (shift - p.shift) for p in parts])
        counts = np.concatenate([p.counts for p in parts])
        # Stable, which merges runs that are sorted already.
        order = np.argsort(bins, kind="stable")
        return cls(*_summed(bins[order], counts[order]), shift)._narrowed()

    def _narrowed(self) -> "TimeHistogram":
        """With bins as wide as it takes for there to be few enough."""
        if len(self.bins) <= _HISTOGRAM_BINS:
            return self
        # Neighbours share a bin once all bits in which they differ are shifted out.
        differ = self.bins[1:] ^ self.bins[:-1]
        bits = np.where(differ < 0, 64, np.frexp(differ.astype(np.float64))[1])
        left = 1 + len(bits) - np.cumsum(np.bincount(bits, minlength=65))
        by = int(np.argmax(left <= _HISTOGRAM_BINS))
        self.bins, self.counts = _summed(self.bins >> by, self.counts)
        self.shift += by
        return self

    def quantile(self, share: float) -> int:
        """The first bin's start (ms) before which at least `share` of the events lie."""
        before = np.cumsum(self.counts)
        at = int(np.searchsorted(before, share * before[-1]))
        return int(self.bins[min(at + 1, len(self.bins) - 1)]) << self.shift

    def pause(self) -> int:
        """How long (ms, to the width of a bin) nothing happens at most, between two events of the bulk."""
        bulk, starts = self.bulk(), self.bins << self.shift
        inner = starts[(starts >= bulk.first) & (starts <= bulk.last)]
        return int(np.diff(inner).max(initial=0))

    def bulk(self) -> Bulk:
        """Between which moments the events are, but for a few lonely ones at the ends; they say nothing of the log."""
        if not len(self.bins):
            return EVERYTHING
        total = int(self.counts.sum())
        before = np.cumsum(self.counts)[:-1]
        after = total - before
        few = max(total // _LONELY_SHARE, min(_LONELY_FEW, total // _LONELY_FEW_SHARE))
        gaps = np.diff(self.bins)
        inner = gaps[(before > few) & (after > few)]
        first, last = 0, len(self.bins) - 1
        if few and len(inner):
            wide = gaps > _LONELY_GAP * inner.max()
            early, late = np.flatnonzero(wide & (before <= few)), np.flatnonzero(wide & (after <= few))
            first, last = early.max(initial=-1) + 1, late.min(initial=last)
        return Bulk(int(self.bins[first]) << self.shift, (int(self.bins[last] + 1) << self.shift) - 1)


def _summed(bins: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The counts of equal bins added up; `bins` are sorted."""
    if not len(bins):
        return bins, counts
    starts = np.concatenate([[0], np.flatnonzero(bins[1:] != bins[:-1]) + 1])
    return bins[starts], np.add.reduceat(counts, starts)
