"""Which items could be seen shortly before each moment, of the sorted events of a shard; columns in, columns out."""

import numpy as np
import pyarrow as pa

from components.behavior_example_gen import batches, shards
from components.behavior_example_gen.cutting import grids
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import names

_MS = 1000
SCHEMA = pa.schema([(names.MOMENT, pa.int64()), (names.ITEM_ID, pa.binary())])


def of_shard(events: shards.Events, window: PeriodWindow, context: kind.Context, within: float) -> pa.Table:
    """See `windows.kind.Kind.candidates`."""
    ids = events.column(names.ITEM_ID).dictionary_encode()
    codes, times = ids.indices.to_numpy().astype(np.int64), events.numbers(names.TIMESTAMP)
    reach, number, parts = round(within * _MS), len(ids.dictionary), [np.zeros([2, 0], np.int64)]
    for split, grid in grids.of_shard(events, window, context.cuts, context.end).items():
        # Nothing is ranked for the moments of training.
        if split != names.TRAIN:
            parts.append(_pairs(codes, times, grid, reach, number))
    of_each, items = np.concatenate(parts, axis=1)
    # Splits by users alone have the same moments.
    moments, place = np.unique(of_each, return_inverse=True)
    pairs = np.unique(place * number + items)
    known = ids.dictionary.take(pa.array(pairs % max(number, 1))).cast(pa.binary())
    return pa.table([pa.array(moments[pairs // max(number, 1)]), known], schema=SCHEMA)


def _pairs(
    codes: np.ndarray, times: np.ndarray, grid: grids.Grid | grids.Named, reach: int, items: int
) -> np.ndarray:
    """The moments of a grid and the items with an event in the `reach` ms before each, every pair once: `[2, P]`.

    Args:
      codes: of the events' items, `[E]`, below `items`.
      times: of the events, `[E]`, ms.
    """
    # An event at a moment is not before it: the first that follows is the next one.
    before = grid.last_before(times)
    first, last = np.maximum(before + 1, grid.first), np.minimum(grid.last_before(times + reach), grid.last)
    there = np.flatnonzero(first <= last)
    # Of the events of an item between two moments, the latest reaches as far as all of them.
    there = there[np.lexsort((last[there], codes[there], before[there]))]
    same = (before[there[1:]] == before[there[:-1]]) & (codes[there[1:]] == codes[there[:-1]])
    there = there[np.append(~same, True)[: len(there)]]
    count = last[there] - first[there] + 1
    number = batches.Ranges(first[there], count).indices()
    if not len(number):
        return np.zeros([2, 0], np.int64)
    lowest = int(number.min())
    pairs = np.unique((number - lowest) * items + np.repeat(codes[there], count))
    return np.stack([grid.at(lowest + pairs // items), pairs % items])
