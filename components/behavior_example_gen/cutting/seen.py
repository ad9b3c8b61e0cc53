"""What a user met before a moment: the first meeting of each item."""

import numpy as np
import pyarrow as pa

from components.behavior_example_gen import batches, shards
from schemas import names


class FirstMeetings:
    """Each user's first event with each item, in the order of a shard."""

    def __init__(self, events: shards.Events):
        self._ids = events.column(names.ITEM_ID)
        items = self._ids.dictionary_encode()
        pair = events.user_of() * np.int64(len(items.dictionary)) + items.indices.to_numpy()
        # np.unique gives the first index of each value, and events are in order.
        self._first = np.sort(np.unique(pair, return_index=True)[1])

    def before(self, start: np.ndarray, targets: np.ndarray) -> batches.Ranges:
        """The meetings among the events `[start, targets)` of a user, `[B]` each; `start` is the user's first event."""
        begin = np.searchsorted(self._first, start)
        return batches.Ranges(begin, np.searchsorted(self._first, targets) - begin)

    def items(self, meetings: batches.Ranges) -> pa.Array:
        """The ids of the items that were met, of one range after the other."""
        return self._ids.take(pa.array(self._first[meetings.indices()]))
