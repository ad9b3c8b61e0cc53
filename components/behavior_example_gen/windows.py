"""Cuts the sorted events of many users into windows of kind `next`, columns in, columns out."""

import dataclasses
from typing import Dict, Iterator, Optional, Tuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import readers, spec, splits
from schemas import errors, names

ROLE = "role"
# More list values than this in one record batch are split, so that memory stays flat when a
# long history is the history of many targets.
_VALUES_PER_BATCH = 1 << 20
_LENGTH_GROUPS = ((1, "1-4"), (5, "5-9"), (10, "10-19"), (20, "20-49"), (50, "50+"))
_ROLE_OF = {names.TRAIN: splits.TRAIN, names.EVAL: splits.EVAL, names.TEST: splits.TEST}


@dataclasses.dataclass(frozen=True)
class Popularity:
    """What the slices need to know of the whole log, counted on training events only.

    Attributes:
      head_items, known_items: binary arrays of item ids.
      user_threshold: a user with at least so many events is in the head.
    """

    head_items: pa.Array
    known_items: pa.Array
    user_threshold: int


def hash_ids(ids: pa.Array) -> np.ndarray:
    """A stable hash of each id: `[N]` uint64, the same in every process and release.

    A weighted sum of the bytes with a random odd weight for each place, then mixed as in
    SplitMix64.
    """
    ids = ids.cast(pa.large_binary())
    _, offset_buffer, data_buffer = ids.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    lengths = np.diff(offsets)
    if not len(ids) or not lengths.any():
        return _mix(lengths.astype(np.uint64))
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    weights = np.random.Generator(np.random.PCG64(0x5EED)).integers(
        0, 2**64, size=int(lengths.max()), dtype=np.uint64
    ) | np.uint64(1)
    place = np.arange(len(data)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    sums = np.zeros(len(ids) + 1, np.uint64)
    weighted = np.concatenate([[np.uint64(0)], np.cumsum(data.astype(np.uint64) * weights[place])])
    sums = weighted[offsets[1:] - offsets[0]] - weighted[offsets[:-1] - offsets[0]]
    return _mix(sums + lengths.astype(np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclasses.dataclass
class Events:
    """The events of a shard, sorted by user and time, ties in the order of the log.

    `table` holds the columns of a block and `ROLE`; `starts` is `[U + 1]`.
    """

    table: pa.RecordBatch
    starts: np.ndarray

    def column(self, name: str) -> pa.Array:
        return self.table.column(self.table.schema.get_field_index(name))

    def numbers(self, name: str) -> np.ndarray:
        return self.column(name).to_numpy(zero_copy_only=False)


def sort_events(table: pa.Table, split: spec.SplitSpec, cuts: Optional[splits.Cuts]) -> Events:
    """Sorts a shard and gives every event its role.

    Args:
      table: the columns of `readers.Block`, and `readers.FILE`.

    Raises:
      errors.InputError: if targets are asked by behaviour of a log without behaviours.
    """
    table = table.combine_chunks()
    users = table.column(names.USER_ID)
    codes = _codes(users)
    order = np.lexsort(
        (
            table.column(readers.ROW).to_numpy(),
            table.column(readers.FILE).to_numpy(),
            table.column(readers.TICKS).to_numpy(),
            codes,
        )
    )
    sorted_codes = codes[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(sorted_codes)) + 1, [len(order)]]).astype(np.int64)
    table = table.drop([readers.ROW, readers.FILE, readers.TICKS]).take(pa.array(order)).combine_chunks()
    (batch,) = table.to_batches(max_chunksize=None) if table.num_rows else (_empty(table.schema),)
    user_hash = hash_ids(
        batch.column(batch.schema.get_field_index(names.USER_ID)).take(pa.array(starts[:-1]))
    )
    times = batch.column(batch.schema.get_field_index(names.TIMESTAMP)).to_numpy()
    roles = splits.assign_roles(starts, times, user_hash, split, cuts, _wanted(batch, split))
    columns = {field.name: batch.column(i) for i, field in enumerate(batch.schema)}
    columns[ROLE] = pa.array(roles)
    return Events(pa.RecordBatch.from_arrays(list(columns.values()), list(columns)), starts)


def _wanted(batch: pa.RecordBatch, split: spec.SplitSpec) -> Optional[np.ndarray]:
    """Which events may be targets of eval and test, `[N]` bool; None is all."""
    if split.target_behaviors is None:
        return None
    if names.BEHAVIOR not in batch.schema.names:
        raise errors.InputError(
            f"split.target_behaviors ({', '.join(split.target_behaviors)}) needs log.columns.behavior, "
            f"found none"
        )
    behaviors = batch.column(batch.schema.get_field_index(names.BEHAVIOR))
    values = pa.array([name.encode("utf-8") for name in split.target_behaviors], behaviors.type)
    return pc.is_in(behaviors, value_set=values).to_numpy(zero_copy_only=False)


def drop_rare(table: pa.Table, kept_items: pa.Array, min_user_events: int) -> Tuple[pa.Table, Dict[str, int]]:
    """Leaves out events of rare items, then those of users with few of what is left.

    Args:
      table: events of whole users, in any order.
      kept_items: binary ids of the items that stay.
      min_user_events: the least number of events of a user that stays.

    Returns:
      The rest of the table, and the numbers of `item_events`, `users` and `user_events` that
      were left out; `users` has those of whom the items left nothing.
    """
    users = pc.count_distinct(table.column(names.USER_ID)).as_py()
    rest = table.filter(pc.is_in(table.column(names.ITEM_ID), value_set=kept_items))
    counted = pc.value_counts(rest.column(names.USER_ID))
    enough = pc.greater_equal(counted.field("counts"), min_user_events)
    kept_users = counted.field("values").filter(enough)
    left = rest.filter(pc.is_in(rest.column(names.USER_ID), value_set=kept_users))
    return left, {
        "item_events": table.num_rows - rest.num_rows,
        "users": users - len(kept_users),
        "user_events": rest.num_rows - left.num_rows,
    }


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema.names)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], column.type)
    encoded = encoded.dictionary_encode()
    # By id, not by first appearance: the order of the files must not show in the output.
    rank = np.empty(len(encoded.dictionary), np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    return rank[encoded.indices.to_numpy()]


def head_threshold(counts: np.ndarray, of: np.ndarray) -> int:
    """The least count whose bearers are at most HEAD_SHARE of all.

    Args:
      counts: distinct counts.
      of: how many users (or items) have each of them.
    """
    order = np.argsort(counts)[::-1]
    share = np.cumsum(of[order]) / max(1, of.sum())
    fits = np.flatnonzero(share <= names.HEAD_SHARE)
    return int(counts[order[fits[-1]]]) if len(fits) else int(counts.max(initial=0)) + 1


def training_counts(events: Events) -> Tuple[pa.Array, np.ndarray, np.ndarray]:
    """Of a shard's training events: distinct items, their counts, and the count of each user with any."""
    training = events.numbers(ROLE) == splits.TRAIN
    items = pc.value_counts(events.column(names.ITEM_ID).filter(pa.array(training)))
    users = (
        np.add.reduceat(np.append(training, False).astype(np.int64), events.starts[:-1])
        if len(training)
        else np.empty(0, np.int64)
    )
    return items.field("values"), items.field("counts").to_numpy(), users[users > 0]


def cut(
    events: Events, window: spec.NextWindow, popularity: Popularity
) -> Iterator[Tuple[str, pa.RecordBatch, int]]:
    """Cuts the windows of all splits.

    Yields:
      The split, a record batch of lists (a scalar is a list of one) with the features of
      `schemas.names`, and how many targets had too short a history.
    """
    cutter = _Cutter(events, window, popularity)
    for split in names.SPLITS:
        yield from cutter.windows(split)


class _Cutter:
    def __init__(self, events: Events, window: spec.NextWindow, popularity: Popularity):
        self._events, self._window, self._popularity = events, window, popularity
        self._starts = events.starts
        counts = np.diff(self._starts)
        self._user_of = np.repeat(np.arange(len(counts)), counts)
        roles = events.numbers(ROLE)
        self._roles = roles
        training = np.concatenate([[0], np.cumsum(roles == splits.TRAIN)])
        self._train_counts = training[self._starts[1:]] - training[self._starts[:-1]]

        items = events.column(names.ITEM_ID)
        self._frequency = np.where(
            pc.is_in(items, value_set=popularity.head_items).to_numpy(zero_copy_only=False),
            names.HEAD,
            np.where(
                pc.is_in(items, value_set=popularity.known_items).to_numpy(zero_copy_only=False),
                names.TAIL,
                names.NEW,
            ),
        )
        self._features = [
            f.name for f in events.table.schema if f.name not in (ROLE,) and not _is_user_feature(f.name)
        ]
        self._user_features = [
            f.name for f in events.table.schema if _is_user_feature(f.name) and f.name != names.USER_ID
        ]

    def windows(self, split: str) -> Iterator[Tuple[str, pa.RecordBatch, int]]:
        targets = (
            self._train_targets() if split == names.TRAIN else np.flatnonzero(self._roles == _ROLE_OF[split])
        )
        start = self._starts[:-1][self._user_of[targets]]
        history = targets - start
        fine = history >= self._window.min_history
        dropped = int((~fine).sum())
        targets, history, start = targets[fine], history[fine], start[fine]
        if not len(targets):
            if dropped:
                yield split, None, dropped
            return
        seen = _Ranges.none(len(targets)) if split == names.TRAIN else self._seen(start, targets)
        length = np.minimum(history, self._window.length)
        volume = np.cumsum(length + seen.lengths)
        pieces = np.flatnonzero(np.diff(volume // _VALUES_PER_BATCH)) + 1
        for part in np.split(np.arange(len(targets)), pieces):
            yield (
                split,
                self._batch(split, targets[part], length[part], history[part], seen.take(part)),
                dropped,
            )
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
            back = _Ranges(np.zeros(len(steps), np.int64), steps)
            return np.repeat(last, steps) - back.indices() * stride
        last = self._starts[:-1] + self._train_counts - 1
        return last[steps > 0]

    def _seen(self, start: np.ndarray, targets: np.ndarray) -> "_Ranges":
        """For each target, the user's first meetings with an item before it."""
        items = self._events.column(names.ITEM_ID).dictionary_encode()
        pair = self._user_of * np.int64(len(items.dictionary)) + items.indices.to_numpy()
        # np.unique gives the first index of each value, and events are in order.
        self._first = np.sort(np.unique(pair, return_index=True)[1])
        begin = np.searchsorted(self._first, start)
        return _Ranges(begin, np.searchsorted(self._first, targets) - begin)

    def _batch(
        self, split: str, targets: np.ndarray, length: np.ndarray, history: np.ndarray, seen: "_Ranges"
    ) -> pa.RecordBatch:
        events, columns = self._events, {}
        window = _Ranges(targets - length, length)
        index, at = pa.array(window.indices()), pa.array(targets)
        user = self._user_of[targets]
        columns[names.USER_ID] = _scalars(events.column(names.USER_ID).take(at))
        for feature in self._features:
            columns[feature] = _lists(window.offsets, events.column(feature).take(index))
        for feature, target in (
            (names.ITEM_ID, names.TARGET_ITEM_ID),
            (names.BEHAVIOR, names.TARGET_BEHAVIOR),
            (names.SCENE, names.TARGET_SCENE),
            (names.TIMESTAMP, names.TARGET_TIMESTAMP),
        ):
            if feature in self._features:
                columns[target] = _scalars(events.column(feature).take(at))
        for feature in self._user_features:
            # As known at the last event of the history: the target's row may say what came later.
            columns[feature] = _scalars(events.column(feature).take(pa.array(targets - 1)))
        if split == names.TRAIN:
            columns[names.SEEN_ITEM_ID] = _lists(seen.offsets, pa.array([], pa.binary()))
        else:
            columns[names.SEEN_ITEM_ID] = _lists(
                seen.offsets, events.column(names.ITEM_ID).take(pa.array(self._first[seen.indices()]))
            )
        trained = self._train_counts[user]
        size = np.where(trained > 0, trained, history)
        columns[names.USER_FREQUENCY] = _labels(
            np.where(size >= self._popularity.user_threshold, names.HEAD, names.TAIL)
        )
        columns[names.ITEM_FREQUENCY] = _labels(self._frequency[targets])
        bounds = [low for low, _ in _LENGTH_GROUPS]
        groups = np.asarray([name for _, name in _LENGTH_GROUPS])
        columns[names.HISTORY_LENGTH] = _labels(groups[np.searchsorted(bounds, history, side="right") - 1])
        columns[names.USER_STATUS] = _labels(np.where(trained > 0, names.EXISTING, names.NEW))
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


class _Ranges:
    """Many index ranges `[begin, begin + length)`, one after the other."""

    def __init__(self, begin: np.ndarray, lengths: np.ndarray):
        self.begin, self.lengths = begin, lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @classmethod
    def none(cls, count: int) -> "_Ranges":
        return cls(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def take(self, which: np.ndarray) -> "_Ranges":
        return _Ranges(self.begin[which], self.lengths[which])

    def indices(self) -> np.ndarray:
        return np.arange(self.offsets[-1]) + np.repeat(self.begin - self.offsets[:-1], self.lengths)


def _is_user_feature(name: str) -> bool:
    return name.startswith(names.USER_PREFIX)


def _lists(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _scalars(values: pa.Array) -> pa.Array:
    return _lists(np.arange(len(values) + 1), values)


def _labels(values: np.ndarray) -> pa.Array:
    return _scalars(pa.array(values).cast(pa.binary()))
