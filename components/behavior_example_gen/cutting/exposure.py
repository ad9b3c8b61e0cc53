"""Cuts the sorted events of many users into windows of kind `exposure`, columns in, columns out."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches, shards, slices, splits
from components.behavior_example_gen.cutting import tallies
from components.behavior_example_gen.windows.exposure import ExposureWindow
from schemas import hashing, names

# What is counted of a split's exposures, beside the windows written and their labels.
EXPOSURES, CENSORED, INCONSISTENT, NEGATIVES_LEFT_OUT = (
    "exposures",
    "censored",
    "inconsistent",
    "negatives_left_out",
)
# And of a step: how many exposures have it at their moment, but before them in the log.
BEFORE = "before_at_same_moment"


def knowledge(cuts: splits.Cuts, end: int) -> dict[str, int]:
    """The first moment (ms) that the labels of each split know nothing of.

    Args:
      cuts: in time.
      end: the last moment that the log tells of (`time_span.TimeHistogram.end`).
    """
    return {
        names.TRAIN: min(cuts.eval_from, end + 1),
        names.EVAL: min(cuts.test_from, end + 1),
        names.TEST: end + 1,
    }


def cut(
    events: shards.Events,
    window: ExposureWindow,
    popularity: slices.Popularity,
    known_until: Mapping[str, int],
) -> Iterator[tuple[str, pa.RecordBatch | None, dict[Hashable, int]]]:
    """Cuts the exposures of all splits.

    A step has happened if the user's events hold it, with the same item, behind the exposure in their order
    (by time, ties as in the log; with `same_moment: all` at its moment already) and at most `window.horizon` later.
    Features look at events of an earlier time only: of two events at one moment, neither is in the history of the other.

    Args:
      known_until: see `knowledge`.

    Yields:
      The split, a record batch of lists (a scalar is a list of one) with the features of `schemas.names`
      or None, and what is to be counted; see `summary`.
    """
    cutter = _Cutter(events, window, popularity)
    for split in names.SPLITS:
        yield from cutter.windows(split, known_until[split])


def summary(counted: Mapping[Hashable, int], window: ExposureWindow) -> dict[str, Any]:
    """What `cut` counted, as plain values for the profile.

    Returns:
      How many `exposures` the splits have, and how many of these are `censored`, `inconsistent` or
      `negatives_left_out`; of each step, how many have it `before_at_same_moment`; and what `tallies.tell` tells.
    """
    result: dict[str, Any] = {
        what: sum(counted.get((split, what), 0) for split in names.SPLITS)
        for what in (EXPOSURES, CENSORED, INCONSISTENT, NEGATIVES_LEFT_OUT)
    }
    if window.exposure:
        result[BEFORE] = {
            step: sum(counted.get((split, BEFORE, step), 0) for split in names.SPLITS)
            for step in window.steps
        }
    return {**result, **tallies.tell(window.steps, counted)}


class _Cutter:
    def __init__(self, events: shards.Events, window: ExposureWindow, popularity: slices.Popularity):
        self._events, self._window = events, window
        self._slices = slices.Slices(events, popularity)
        self._user_of = events.user_of()
        self._times = events.numbers(names.TIMESTAMP)
        self._roles = events.numbers(shards.ROLE)
        self._items = events.column(names.ITEM_ID).dictionary_encode()
        self._is_exposure = np.ones(len(self._times), bool)
        if window.exposure:
            self._is_exposure = self._is_behavior(window.exposure)
            self._order_by_item()
        first = np.zeros(len(self._times), bool)
        first[events.starts[:-1]] = True
        first[1:] |= self._times[1:] != self._times[:-1]
        # Where the user's events of the same moment begin.
        self._moment = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
        others = (shards.ROLE, names.BEHAVIOR)
        self._features = [
            f
            for f in events.table.schema
            if f.name not in others and not f.name.startswith(names.LABEL_PREFIX)
        ]

    def _is_behavior(self, name: str) -> np.ndarray:
        behaviors = self._events.column(names.BEHAVIOR)
        return pc.equal(behaviors, pa.scalar(name.encode("utf-8"), behaviors.type)).to_numpy(
            zero_copy_only=False
        )

    def _order_by_item(self) -> None:
        """Numbers events so that those of a user with an item are neighbours, in their order."""
        count = max(1, len(self._times))
        pair = self._user_of * np.int64(len(self._items.dictionary)) + self._items.indices.to_numpy()
        # Dense numbers, so that the product below fits.
        pair = np.unique(pair, return_inverse=True)[1].astype(np.int64)
        self._number = pair * count + np.arange(len(pair))
        self._steps = [np.sort(self._number[self._is_behavior(step)]) for step in self._window.steps]
        self._exposures = np.sort(self._number[self._is_exposure])

    def windows(
        self, split: str, known_until: int
    ) -> Iterator[tuple[str, pa.RecordBatch | None, dict[Hashable, int]]]:
        targets = np.flatnonzero((self._roles == splits.ROLE_OF[split]) & self._is_exposure)
        if not len(targets):
            return
        counted: dict[Hashable, int] = {(split, EXPOSURES): len(targets)}
        kept = np.ones(len(targets), bool)
        if self._window.exposure:
            labels, before = self._outcomes(targets, known_until)
        else:
            labels = np.stack(
                [self._events.numbers(names.LABEL_PREFIX + s)[targets] for s in self._window.steps], axis=1
            )
        if self._window.horizon is not None:
            censored = self._times[targets] + self._horizon >= known_until
            counted[split, CENSORED] = int(censored.sum())
            if self._window.censored == "drop":
                kept &= ~censored
            else:
                labels[censored[:, None] & (labels == 0)] = names.UNKNOWN_LABEL
        inconsistent = self._repair(labels) if self._window.chain else np.zeros(len(labels), bool)
        counted[split, INCONSISTENT] = int((inconsistent & kept).sum())
        if self._window.inconsistent == "drop":
            kept &= ~inconsistent
        if split == names.TRAIN:
            left_out = kept & self._left_out(targets, labels)
            counted[split, NEGATIVES_LEFT_OUT] = int(left_out.sum())
            kept &= ~left_out
        if self._window.exposure:
            # Of what is written, as the steps that do count are.
            lost = before[kept].sum(axis=0).tolist()
            counted.update({(split, BEFORE, step): n for step, n in zip(self._window.steps, lost)})
        counted["dropped"] = int((~kept).sum())
        targets, labels = targets[kept], labels[kept]
        counted.update(tallies.count(split, self._window.steps, labels))
        yield split, None, counted
        history = self._moment[targets] - self._events.starts[:-1][self._user_of[targets]]
        length = np.minimum(history, self._window.history)
        for part in batches.pieces(len(self._features) + 3 * length) if len(targets) else ():
            yield split, self._batch(targets[part], labels[part], length[part], history[part]), {}

    @property
    def _horizon(self) -> int:
        return round(self._window.horizon * 1000)

    def _outcomes(self, targets: np.ndarray, known_until: int) -> tuple[np.ndarray, np.ndarray]:
        """Which steps followed, as far as known, `[B, T]` int8.

        And which stand at the moment of the exposure but before it in the log, where they do not count: `[B, T]` bool.
        Of several exposures of a moment the first one alone is asked, as a step may be what came of the one before.
        """
        last = np.minimum(self._times[targets] + self._horizon, known_until - 1)
        own = self._number[targets]
        # The number that an event of the pair would have in front of all others of the moment.
        moment = own - targets + self._moment[targets]
        at_all = np.stack([self._follows(step, moment, last) for step in self._steps], axis=1)
        if self._window.same_moment == "all":
            return at_all.astype(np.int8), np.zeros_like(at_all)
        behind = np.stack([self._follows(step, own, last) for step in self._steps], axis=1)
        first = self._exposures[np.searchsorted(self._exposures, moment)] == own
        return behind.astype(np.int8), first[:, None] & at_all & ~behind

    def _follows(self, step: np.ndarray, numbers: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Whether a step of the same pair has that number or a later one, and happens at `last` at the latest: `[B]` bool."""
        if not len(step):
            return np.zeros(len(numbers), bool)
        count = len(self._times)
        at = np.searchsorted(step, numbers)
        # The first such event is the earliest: if it is too late, so are the others.
        following = step[np.minimum(at, len(step) - 1)]
        same = (at < len(step)) & (following // count == numbers // count)
        return same & (self._times[following % count] <= last)

    def _repair(self, labels: np.ndarray) -> np.ndarray:
        """Which rows have a step without an earlier one, `[B]` bool; with `fill`, `labels` are mended.

        An unknown label is neither had nor missed, and stays unknown.
        """
        later = np.zeros(len(labels), bool)
        found = np.zeros(len(labels), bool)
        for number in range(labels.shape[1] - 1, -1, -1):
            missed = later & (labels[:, number] == 0)
            found |= missed
            later |= labels[:, number] == 1
            if self._window.inconsistent == "fill":
                labels[missed, number] = 1
        return found

    def _left_out(self, targets: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Which exposures without any step `keep_negatives` leaves out: `[B]` bool.

        By a hash of the user, the item and the time: neither shards nor the order of files matter.
        """
        # Of an exposure of which nothing is known it is not known whether it is negative.
        negative = (labels == 0).any(axis=1) & ~(labels == 1).any(axis=1)
        users = self._events.column(names.USER_ID).take(pa.array(self._events.starts[:-1]))
        user_hash = shards.hash_ids(users)[self._user_of[targets]]
        item_hash = shards.hash_ids(self._items.dictionary)[self._items.indices.to_numpy()[targets]]
        time_hash = hashing.mix(self._times[targets].astype(np.uint64))
        hashed = hashing.mix(user_hash ^ hashing.mix(item_hash ^ time_hash))
        return negative & ~splits.share_of(hashed, self._window.keep_negatives)

    def _batch(
        self, targets: np.ndarray, labels: np.ndarray, length: np.ndarray, history: np.ndarray
    ) -> pa.RecordBatch:
        events, at = self._events, pa.array(targets)
        columns: dict[str, pa.Array] = {}
        for feature in self._features:
            values = events.column(feature.name).take(at)
            if pa.types.is_list(feature.type):
                columns[feature.name] = values
            elif pa.types.is_floating(feature.type):
                numbers = values.to_numpy()
                present = ~np.isnan(numbers)
                offsets = np.concatenate([[0], np.cumsum(present)])
                columns[feature.name] = batches.lists(offsets, pa.array(numbers[present]))
            else:
                columns[feature.name] = batches.scalars(values)
        for number, step in enumerate(self._window.steps):
            columns[names.LABEL_PREFIX + step] = batches.scalars(pa.array(labels[:, number].astype(np.int64)))
        if self._window.history:
            past = batches.Ranges(self._moment[targets] - length, length)
            index = pa.array(past.indices())
            for name in names.HISTORY:
                feature = name.removeprefix(names.HISTORY_PREFIX)
                if feature in events.table.schema.names:
                    columns[name] = batches.lists(past.offsets, events.column(feature).take(index))
        columns.update(self._slices.columns(targets, history))
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
