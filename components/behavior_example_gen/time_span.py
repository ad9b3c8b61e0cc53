"""When the events of a log are: a histogram that merges, and the span that no lonely event stretches."""

import dataclasses
import datetime
import zoneinfo
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from components.behavior_example_gen.reading import time_texts
from schemas import times as times_lib

_HISTOGRAM_BINS = 1 << 18
_GRID_BITS = 17
# Events that are few at an end of the log and far from all others are lonely: at most one of 1000, or one of 30 and
# three in all, behind a gap that is wider than five times the widest one between the others.
_LONELY_SHARE = 1000
_LONELY_FEW, _LONELY_FEW_SHARE = 3, 30
_LONELY_GAP = 5
# More distinct times than these would be the days of centuries.
_DAYS_MOST = 100_000
_US = 1000


class Bulk(NamedTuple):
    """The first and the last moment (ms) between which all events but lonely ones are."""

    first: int
    last: int


EVERYTHING = Bulk(-(2**62), 2**62)


@dataclasses.dataclass
class TimeHistogram:
    """How many events fall in each bin of `2 ** shift` ms; exact while there are few distinct times.

    The width depends on the times alone, not on the order in which parts are merged.

    Attributes:
      bins, counts: the bins that have events, rising, and how many.
      lows, highs: the first and the last time (ms) of each bin's events; where nobody has looked, those of the bin.
    """

    bins: np.ndarray
    counts: np.ndarray
    shift: int = 0
    lows: np.ndarray = None
    highs: np.ndarray = None

    def __post_init__(self) -> None:
        if self.lows is None:
            self.lows = self.bins << self.shift
        if self.highs is None:
            self.highs = ((self.bins + 1) << self.shift) - 1

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
        # Stable, which merges runs that are sorted already.
        order = np.argsort(bins, kind="stable")
        counts, lows, highs = (
            np.concatenate([getattr(p, name) for p in parts])[order] for name in ("counts", "lows", "highs")
        )
        bins, counts, lows, highs = _summed(bins[order], counts, lows, highs)
        return cls(bins, counts, shift, lows, highs)._narrowed()

    def _narrowed(self) -> "TimeHistogram":
        """With bins as wide as it takes for there to be few enough."""
        if len(self.bins) <= _HISTOGRAM_BINS:
            return self
        # Neighbours share a bin once all bits in which they differ are shifted out.
        differ = self.bins[1:] ^ self.bins[:-1]
        bits = np.where(differ < 0, 64, np.frexp(differ.astype(np.float64))[1])
        left = 1 + len(bits) - np.cumsum(np.bincount(bits, minlength=65))
        by = int(np.argmax(left <= _HISTOGRAM_BINS))
        self.bins, self.counts, self.lows, self.highs = _summed(
            self.bins >> by, self.counts, self.lows, self.highs
        )
        self.shift += by
        return self

    def quantile(self, share: float) -> int:
        """The first bin's start (ms) before which at least `share` of the events lie."""
        before = np.cumsum(self.counts)
        at = int(np.searchsorted(before, share * before[-1]))
        return int(self.bins[min(at + 1, len(self.bins) - 1)]) << self.shift

    def pause(self) -> int:
        """How long (ms, to the width of a bin) nothing happens at most, between two events of the bulk."""
        if not len(self.bins):
            return 0
        first, last = self._of_bulk()
        return int(np.diff(self.bins[first : last + 1] << self.shift).max(initial=0))

    def bulk(self) -> Bulk:
        """Between which moments the events are, but for a few lonely ones at the ends; they say nothing of the log."""
        if not len(self.bins):
            return EVERYTHING
        first, last = self._of_bulk()
        return Bulk(int(self.lows[first]), int(self.highs[last]))

    def end(self, zone: str | None) -> int:
        """The last moment (ms) that the bulk tells of: its last time, or of a log of days the end of the last one.

        Times are days where all are midnights; then all that was done on a day has its midnight for a time.

        Args:
          zone: `log.timezone`, whose midnights are meant; None is UTC.
        """
        bulk = self.bulk()
        moments = self.bins[(self.bins >= bulk.first) & (self.bins <= bulk.last)]
        if self.shift or not 0 < len(moments) <= _DAYS_MOST:
            return bulk.last
        # Clocks are ahead of UTC by whole minutes.
        if (moments % times_lib.MINUTE_MS).any():
            return bulk.last
        of = zoneinfo.ZoneInfo(zone or "UTC")
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        days = np.array(
            [
                (epoch + datetime.timedelta(milliseconds=ms)).astimezone(of).toordinal() - epoch.toordinal()
                for ms in moments.tolist()
            ]
        )
        # As the log was read: where a clock skips midnight, a day begins at one.
        begin = (
            time_texts.to_utc(np.append(days, days[-1] + 1) * times_lib.DAY_MS * _US, zone or "UTC") // _US
        )
        return bulk.last if (begin[:-1] != moments).any() else int(begin[-1]) - 1

    def _of_bulk(self) -> tuple[int, int]:
        """The first and the last bin of the bulk, by their places."""
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
        return int(first), int(last)


def _summed(
    bins: np.ndarray, counts: np.ndarray, lows: np.ndarray, highs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The counts of equal bins added up, with the first and last time of all; `bins` are sorted."""
    if not len(bins):
        return bins, counts, lows, highs
    starts = np.concatenate([[0], np.flatnonzero(bins[1:] != bins[:-1]) + 1])
    return (
        bins[starts],
        np.add.reduceat(counts, starts),
        np.minimum.reduceat(lows, starts),
        np.maximum.reduceat(highs, starts),
    )
