"""Batches of windows of about the same length, so that little padding is computed on."""

from collections.abc import Sequence

import numpy as np

from schemas import names
from trainer import grouping

# Widths are multiples of it: kernels like them, and there are few to choose from.
_MULTIPLE = 8
# Each width has a graph (or an XLA program) of its own: unasked there are no more than these,
# and each saves at least this share of the places.
_MOST = 6
_WORTH = 0.05


def lengths(index: np.ndarray) -> np.ndarray:
    """How many places at the right of a window are not padding.

    Args:
      index: `[W, L]`, left-padded.

    Returns:
      `[W]` int64.
    """
    real = np.asarray(index) != names.PADDING_INDEX
    return np.where(real.any(axis=1), real.shape[1] - real.argmax(axis=1), 0)


def needed_places(real: np.ndarray, length: int, padding: int | None) -> np.ndarray:
    """How many places of each window a model needs.

    Args:
      real: `lengths` of the windows, `[W]`.
      length: L, the places that a window has.
      padding: `padding_needed` of the model.

    Returns:
      `[W]` int64, at most L.
    """
    return np.full_like(real, length) if padding is None else np.minimum(real + padding, length)


def widths(needed: np.ndarray, length: int, buckets: int | None = None) -> list[int]:
    """The widths that batches have: those with the fewest places, of all windows together.

    Args:
      needed: `[W]`, the places that each window needs, at most L.
      length: L, the places that it has.
      buckets: how many widths, fewer if there are not as many lengths; 1 is L alone. None takes
        another one as long as it saves a twentieth of the places.

    Returns:
      Rising; each the least multiple of 8, or L, that some window fits in.
    """
    if buckets == 1 or not len(needed):
        return [length]
    fitting = np.minimum(-(-np.maximum(needed, 1) // _MULTIPLE) * _MULTIPLE, length)
    candidates, counts = np.unique(fitting, return_counts=True)
    most = min(len(candidates), buckets or _MOST)
    plans = _cheapest(candidates, counts, most)
    if buckets:
        return plans[-1][1]
    least, chosen = plans[0]
    for places, plan in plans[1:]:
        if places > (1 - _WORTH) * least:
            break
        least, chosen = places, plan
    return chosen


def _cheapest(candidates: np.ndarray, counts: np.ndarray, most: int) -> list[tuple[float, list[int]]]:
    """The fewest places with 1, 2, ... `most` of the candidates, and which these are.

    Dynamic programming over the last width: of windows up to a candidate, the narrower ones are
    cut best on their own.
    """
    number, below = len(candidates), np.concatenate([[0], np.cumsum(counts)])
    # [j, i]: windows of candidates j to i, all as wide as i.
    among = (below[np.newaxis, 1:] - below[:-1, np.newaxis]) * candidates[np.newaxis, :]
    among = np.where(np.tri(number, k=-1, dtype=bool), np.inf, among)
    places, chosen = among[0], [[int(width)] for width in candidates]
    plans = [(float(places[-1]), chosen[-1])]
    for _ in range(1, most):
        # The first of the last part cannot be 0: something is left for the others.
        totals = places[:-1, np.newaxis] + among[1:]
        last = totals.argmin(axis=0)
        places = totals.min(axis=0)
        chosen = [[*chosen[j], int(candidates[i])] for i, j in enumerate(last)]
        plans.append((float(places[-1]), chosen[-1]))
    return plans


class LengthBatches:
    """Puts windows of about the same length into a batch, in another order each epoch.

    The windows are shuffled, then sorted by the width that they need, and cut into batches: those
    of a width meet by chance, and what does not fill a batch goes with the next wider ones. So
    there are as many batches as without widths, and each but one is full. The batches are shuffled
    in their turn, and the one that is not full may be any.

    Args:
      needed: `[W]`, the places that each window needs.
      choice: the widths; the last is enough for all windows.
      batch_size: windows of a batch.

    Raises:
      ValueError: if there is no window.
    """

    def __init__(self, needed: np.ndarray, choice: Sequence[int], batch_size: int):
        if not len(needed):
            raise ValueError("there is no window to train on, found 0")
        self._choice = np.asarray(choice, np.int64)
        # A small type is sorted in linear time.
        self._bucket = np.searchsorted(self._choice, needed).astype(np.uint16)
        self._batch_size = batch_size

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self._bucket) // self._batch_size)

    def order(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The windows of each batch of an epoch, which `seed` and `epoch` alone decide.

        Returns:
          `[batches, batch_size]` int64, rows of windows at the left and `grouping.NOTHING` after
          them; and the width of each batch, `[batches]` int64.
        """
        rng = np.random.default_rng([seed, epoch])
        total, batches = len(self._bucket), self.batches
        windows = rng.permutation(total)
        windows = windows[np.argsort(self._bucket[windows], kind="stable")]
        sizes = np.full(batches, self._batch_size)
        sizes[rng.integers(batches)] -= batches * self._batch_size - total
        ends = np.cumsum(sizes)
        turn = rng.permutation(batches)
        rows = np.full([batches, self._batch_size], grouping.NOTHING, np.int64)
        rows[np.repeat(turn, sizes), np.arange(total) - np.repeat(ends - sizes, sizes)] = windows
        wide = np.empty(batches, np.int64)
        wide[turn] = self._choice[self._bucket[windows[ends - 1]]]
        return rows, wide
