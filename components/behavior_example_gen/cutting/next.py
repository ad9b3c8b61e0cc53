"""Cuts the sorted events of many users into windows of kind `next`, columns in, columns out."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from components.behavior_example_gen import batches, shards, slices, splits
from components.behavior_example_gen.cutting import seen as first_meetings
from components.behavior_example_gen.windows.next import NextWindow
from schemas import names


def cut(
    events: shards.Events, window: NextWindow, popularity: slices.Popularity
) -> Iterator[tuple[str, pa.RecordBatch | None, dict[str, int]]]:
    """Cuts the windows of all splits.

    Yields:
      The split, a record batch of lists (a scalar is a list of one) with the features of
      `schemas.names` or None, and what is to be counted: `dropped` targets, whose history was too short.
    """
    cutter = _Cutter(events, window, popularity)
    for split in names.SPLITS:
        yield from cutter.windows(split)


def met(events: shards.Events) -> np.ndarray:
    """How many items the windows of `eval` and `test` of each user list, which it has met: int64 `[U]`.

    Each target has all of its user's, so that a user of very many events has these times its targets.
    """
    user_of = events.user_of()
    targets = np.flatnonzero(np.isin(events.numbers(shards.ROLE), (splits.EVAL, splits.TEST)))
    found = first_meetings.FirstMeetings(events).before(events.starts[:-1][user_of[targets]], targets)
    counted = np.zeros(len(events.starts) - 1, np.int64)
    np.add.at(counted, user_of[targets], found.lengths)
    return counted


class _Cutter:
    def __init__(self, events: shards.Events, window: NextWindow, popularity: slices.Popularity):
        self._events, self._window = events, window
        self._slices = slices.Slices(events, popularity)
        self._starts = events.starts
        self._user_of = events.user_of()
        self._roles = events.numbers(shards.ROLE)
        self._train_counts = events.training_counts()
        self._met = first_meetings.FirstMeetings(events)
        times, since = events.numbers(names.TIMESTAMP), popularity.recent_from
        recent = np.zeros(len(times), bool) if since is None else times >= since
        self._recent_before = np.concatenate([[0], np.cumsum(recent)])
        self._features = [
            f.name for f in events.table.schema if f.name != shards.ROLE and not _is_user_feature(f.name)
        ]
        self._user_features = [
            f.name for f in events.table.schema if _is_user_feature(f.name) and f.name != names.USER_ID
        ]

    def windows(self, split: str) -> Iterator[tuple[str, pa.RecordBatch | None, dict[str, int]]]:
        targets = (
            self._train_targets()
            if split == names.TRAIN
            else np.flatnonzero(self._roles == splits.ROLE_OF[split])
        )
        start = self._starts[:-1][self._user_of[targets]]
        history = targets - start
        fine = history >= self._window.min_history
        dropped = int((~fine).sum())
        targets, history, start = targets[fine], history[fine], start[fine]
        if not len(targets):
            if dropped:
                yield split, None, {"dropped": dropped}
            return
        seen = batches.Ranges.none(len(targets)) if split == names.TRAIN else self._met.before(start, targets)
        length = np.minimum(history, self._window.length)
        for part in batches.pieces(length + seen.lengths):
            batch = self._batch(split, targets[part], length[part], history[part], seen.take(part))
            yield split, batch, {"dropped": dropped}
            dropped = 0

    def _train_targets(self) -> np.ndarray:
        """The last training event of each user, and every `stride`-th before it that has a history."""
        if self._window.train == "last":
            steps = np.minimum(self._train_counts, 1)
        else:
            stride = self._window.stride or self._window.length
            # The first event has no history: it is no target.
            steps = -(-np.maximum(self._train_counts - 1, 0) // stride)
            steps = np.where(self._train_counts == 1, 1, steps)
            last = self._starts[:-1] + self._train_counts - 1
            back = batches.Ranges(np.zeros(len(steps), np.int64), steps)
            return np.repeat(last, steps) - back.indices() * stride
        last = self._starts[:-1] + self._train_counts - 1
        return last[steps > 0]

    def _batch(
        self, split: str, targets: np.ndarray, length: np.ndarray, history: np.ndarray, seen: batches.Ranges
    ) -> pa.RecordBatch:
        events, columns = self._events, {}
        window = batches.Ranges(targets - length, length)
        index, at = pa.array(window.indices()), pa.array(targets)
        columns[names.USER_ID] = batches.scalars(events.column(names.USER_ID).take(at))
        for feature in self._features:
            columns[names.HISTORY_PREFIX + feature] = batches.lists(
                window.offsets, events.column(feature).take(index)
            )
        for feature, target in (
            (names.ITEM_ID, names.TARGET_ITEM_ID),
            (names.BEHAVIOR, names.TARGET_BEHAVIOR),
            (names.SCENE, names.TARGET_SCENE),
            (names.TIMESTAMP, names.TARGET_TIMESTAMP),
        ):
            if feature in self._features:
                columns[target] = batches.scalars(events.column(feature).take(at))
        for feature in self._user_features:
            # As known at the last event of the history: the target's row may say what came later.
            columns[feature] = batches.scalars(events.column(feature).take(pa.array(targets - 1)))
        if split == names.TRAIN:
            columns[names.SEEN_ITEM_ID] = batches.lists(seen.offsets, pa.array([], pa.binary()))
        else:
            columns[names.SEEN_ITEM_ID] = batches.lists(seen.offsets, self._met.items(seen))
        recent = self._recent(targets, length) if split == names.TRAIN else np.zeros(len(targets), np.int64)
        columns[names.RECENT_TARGETS] = batches.scalars(pa.array(recent))
        columns.update(self._slices.columns(targets, history))
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _recent(self, targets: np.ndarray, length: np.ndarray) -> np.ndarray:
        """How many of the events of each training window, its first one left out, are recent: `[B]`."""
        return self._recent_before[targets + 1] - self._recent_before[targets - length + 1]


def _is_user_feature(name: str) -> bool:
    return name.startswith(names.USER_PREFIX)
