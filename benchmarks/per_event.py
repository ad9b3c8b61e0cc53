"""Windowing as Beam pipelines are mostly written: a dict an event, a Python call for each.

Kept to measure `components.behavior_example_gen` against. It sets the same bad rows aside, counts
the same and makes the same examples: of `next`, for splits of `leave_one_out` and sliding windows without
a stride of its own; of `period`, for splits in time.
"""

import bisect
import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.behavior_example_gen.windows.next import NextWindow
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import names

_NEEDED = (names.USER_ID, names.ITEM_ID, names.TIMESTAMP)
_NUMBERS = (
    names.HISTORY_TIMESTAMP,
    names.TARGET_TIMESTAMP,
    names.FUTURE_TIMESTAMP,
    names.RECENT_TARGETS,
    names.NEW_TARGETS,
    names.MOMENT,
)
_HEAD_SHARE = 0.2
_MAX_ID_BYTES = 256
_LAST_TIME = 253_402_300_799  # in s: the end of the year 9999
_LENGTH_GROUPS = ((50, "50+"), (20, "20-49"), (10, "10-19"), (5, "5-9"), (1, "1-4"))


def run(path: str, window: NextWindow, output: str, arguments: Sequence[str]) -> None:
    """Reads a Parquet log with `user_id`, `item_id` and `timestamp` (s), and writes windows.

    Args:
      path: of the log.
      window: its `length` is used.
      output: a folder; gzip TFRecords of tf.Examples go to `Split-<split>` below it.
      arguments: of Beam.
    """
    columns = {name: name for name in (names.USER_ID, names.ITEM_ID, names.TIMESTAMP)}
    _run(path, columns, _trained, _Cut(window.length), window.recent_share, output, arguments)


def run_periods(
    path: str,
    columns: dict[str, str],
    window: PeriodWindow,
    cuts: tuple[int, int],
    end: int,
    output: str,
    arguments: Sequence[str],
) -> None:
    """Reads a Parquet log of numbers, with times in ms, and writes its periods.

    Args:
      path, output, arguments: see `run`.
      columns: of user, item, time and scene, by Footfall's names.
      window: `past`, `future`, `length` and `max_future` of it are used.
      cuts: where `eval` and `test` begin, ms.
      end: the last moment of the log, ms.
    """
    trained = functools.partial(_before, cuts[0])
    cut = _CutPeriods(window, cuts, end)
    _run(path, columns, trained, cut, window.recent_share, output, arguments, 1)


def _run(
    path: str,
    columns: dict[str, str],
    trained: Callable[[Sequence[Any]], int],
    cut: beam.DoFn,
    recent_share: float,
    output: str,
    arguments: Sequence[str],
    seconds_ms: int = 1000,
) -> None:
    """Reads a log, counts, and cuts its windows user by user.

    Args:
      trained: how many of a user's events train.
      cut: the windows of a user, see `_Cut`.
      seconds_ms: how many ms a unit of its times has.
    """
    with beam.Pipeline(argv=list(arguments)) as pipeline:
        users = (
            pipeline
            | beam.io.ReadFromParquet(path, columns=list(columns.values()))
            | "Check" >> beam.ParDo(_Check(columns, seconds_ms)).with_outputs(_Check.REJECTED, main="good")
        )
        events, rejected = users["good"], users[_Check.REJECTED]
        rejected | "WriteRejected" >> beam.io.WriteToText(f"{output}/rejected", file_name_suffix=".jsonl")
        users = (
            events
            | beam.GroupByKey()
            | "Sort" >> beam.MapTuple(lambda user, events: (user, sorted(events, key=lambda event: event[0])))
        )
        times = users | "Times" >> beam.FlatMapTuple(lambda _, events: [event[0] for event in events])
        ties = users | "Ties" >> beam.MapTuple(
            lambda _, events: sum(after[0] == before[0] for before, after in zip(events, events[1:]))
        )
        profile = {
            "events": times | "CountEvents" >> beam.combiners.Count.Globally(),
            "users": users | "CountUsers" >> beam.combiners.Count.Globally(),
            "items": events
            | beam.MapTuple(lambda _, event: event[1])
            | beam.Distinct()
            | beam.combiners.Count.Globally(),
            "start": times | "Start" >> beam.CombineGlobally(lambda found: min(found, default=0)),
            "end": times | "End" >> beam.CombineGlobally(lambda found: max(found, default=0)),
            "ties": ties | "SumTies" >> beam.CombineGlobally(sum),
        }
        for name, found in profile.items():
            lines = found | f"Line-{name}" >> beam.Map(lambda value, name=name: json.dumps({name: value}))
            lines | f"Profile-{name}" >> beam.io.WriteToText(f"{output}/profile-{name}")
        item_counts = (
            users
            | "Trained"
            >> beam.FlatMapTuple(lambda _, events: [event[1] for event in events[: trained(events)]])
            | "CountItems" >> beam.combiners.Count.PerElement()
        )
        user_threshold = (
            users
            | "History" >> beam.MapTuple(lambda _, events: trained(events))
            | "Trains" >> beam.Filter(bool)
            | "UserCounts" >> beam.combiners.ToList()
            | "UserThreshold" >> beam.Map(_threshold)
        )
        user_thirds = (
            users
            | "TrainedEvents" >> beam.MapTuple(lambda _, events: trained(events))
            | "ThatTrain" >> beam.Filter(bool)
            | "AllUserCounts" >> beam.combiners.ToList()
            | "UserThirds" >> beam.Map(_thirds)
        )
        item_threshold = (
            item_counts
            | beam.Values()
            | "ItemCounts" >> beam.combiners.ToList()
            | "ItemThreshold" >> beam.Map(_threshold)
        )
        recent_from = (
            users
            | "Learnt"
            >> beam.FlatMapTuple(lambda _, events: [event[0] for event in events[1 : trained(events)]])
            | "LearntTimes" >> beam.combiners.ToList()
            | "RecentFrom" >> beam.Map(_recent_from, recent_share)
        )
        found = users | beam.ParDo(
            cut,
            beam.pvalue.AsDict(item_counts),
            beam.pvalue.AsSingleton(item_threshold),
            beam.pvalue.AsSingleton(user_threshold),
            beam.pvalue.AsSingleton(user_thirds),
            beam.pvalue.AsSingleton(recent_from),
        ).with_outputs(*names.SPLITS)
        for split in names.SPLITS:
            found[split] | f"Write-{split}" >> beam.io.WriteToTFRecord(
                f"{output}/Split-{split}/windows", file_name_suffix=".gz"
            )


def _trained(events: Sequence[Any]) -> int:
    return len(events) - 2 if len(events) >= 3 else len(events)


def _before(moment: int, events: Sequence[Any]) -> int:
    return sum(event[0] < moment for event in events)


def _threshold(counts: list[int]) -> int:
    """The least count that at most a fifth of all have or exceed."""
    ordered = sorted(counts)
    best = (ordered[-1] if ordered else 0) + 1
    for count in sorted(set(ordered), reverse=True):
        if len(ordered) - bisect.bisect_left(ordered, count) > _HEAD_SHARE * len(ordered):
            break
        best = count
    return best


def _thirds(counts: list[int]) -> tuple[int, int]:
    """The counts of the last user of the first third and of the second."""
    ordered = sorted(counts) or [0]
    one, two = (ordered[-(-part * len(ordered) // 3) - 1] for part in (1, 2))
    return one, two


def _group(count: int, thirds: tuple[int, int]) -> str:
    """The group of a user with so many events."""
    return names.USER_GROUPS[bisect.bisect_left(thirds, count)]


def _recent_from(times: list[int], share: float) -> int:
    """The moment from which training targets are recent: at most that share of all, in any case the last."""
    ordered = sorted(times)
    for time in sorted(set(times)):
        if len(ordered) - bisect.bisect_left(ordered, time) <= share * len(ordered):
            return time
    return ordered[-1]


class _Check(beam.DoFn):
    """Rows to `(user, (time, item, ...))`; bad ones to an output of their own, with the reason.

    Args:
      columns: those that are read, by Footfall's names; what is neither user, item nor time follows these.
      seconds_ms: how many ms a unit of the times has.
    """

    REJECTED = "rejected"

    def __init__(self, columns: dict[str, str], seconds_ms: int):
        self._columns = columns
        self._more = [column for name, column in columns.items() if name not in _NEEDED]
        self._last = _LAST_TIME * 1000 // seconds_ms

    def process(self, row: dict[str, Any]) -> Iterator[Any]:
        reason, row = None, dict(row)
        for name in (names.USER_ID, names.ITEM_ID):
            value = row[self._columns[name]]
            value = value if value is None or isinstance(value, str) else str(value)
            row[self._columns[name]] = value
            if value is None or not value:
                reason = f"{name} is missing"
            elif len(value.encode()) > _MAX_ID_BYTES:
                reason = f"{name} is too long"
        time = row[self._columns[names.TIMESTAMP]]
        if time is None or not math.isfinite(time):
            reason = "timestamp is missing"
        elif not 0 <= time <= self._last:
            reason = "timestamp is out of range"
        if reason:
            yield beam.pvalue.TaggedOutput(self.REJECTED, json.dumps({"reason": reason, "row": str(row)}))
        else:
            more = (str(row[column]) for column in self._more)
            yield row[self._columns[names.USER_ID]], (time, row[self._columns[names.ITEM_ID]], *more)


class _Cut(beam.DoFn):
    """Cuts the windows of one user."""

    def __init__(self, length: int):
        self._length = length

    def process(
        self,
        user_and_events: tuple[str, list[Any]],
        item_counts: dict[str, int],
        item_threshold: int,
        user_threshold: int,
        user_thirds: tuple[int, int],
        recent_from: int,
    ) -> Iterator[Any]:
        user, events = user_and_events
        trained = _trained(events)
        ends = [(names.TRAIN, end) for end in range(trained - 1, 0, -self._length)]
        if trained < len(events):
            ends += [(names.EVAL, trained), (names.TEST, trained + 1)]
        for split, end in ends:
            history, (time, item) = events[max(0, end - self._length) : end], events[end]
            count = item_counts.get(item, 0)
            values = {
                names.USER_ID: [user],
                names.HISTORY_ITEM_ID: [i for _, i in history],
                names.HISTORY_TIMESTAMP: [1000 * t for t, _ in history],
                names.TARGET_ITEM_ID: [item],
                names.TARGET_TIMESTAMP: [1000 * time],
                names.RECENT_TARGETS: [
                    sum(t >= recent_from for t, _ in events[max(0, end - self._length) + 1 : end + 1])
                    if split == names.TRAIN
                    else 0
                ],
                names.SEEN_ITEM_ID: []
                if split == names.TRAIN
                else list(dict.fromkeys(i for _, i in events[:end])),
                names.USER_FREQUENCY: [names.HEAD if trained >= user_threshold else names.TAIL],
                names.ITEM_FREQUENCY: [
                    names.NEW if not count else names.HEAD if count >= item_threshold else names.TAIL
                ],
                names.HISTORY_LENGTH: [next(name for least, name in _LENGTH_GROUPS if end >= least)],
                names.USER_STATUS: [names.EXISTING],
                names.USER_GROUP: [_group(trained, user_thirds)],
            }
            yield beam.pvalue.TaggedOutput(split, _example(values).SerializeToString())


class _CutPeriods(beam.DoFn):
    """Cuts the periods of one user; see `run_periods`."""

    def __init__(self, window: PeriodWindow, cuts: tuple[int, int], end: int):
        self._window, self._cuts, self._end = window, cuts, end

    def _moments(self, times: Sequence[int]) -> Iterator[tuple[str, int]]:
        """The moments of each split in the order of time, as far as the user has events."""
        future, (eval_from, test_from) = round(1000 * self._window.future), self._cuts
        moment = eval_from - future
        training = []
        while moment > times[0]:
            training.append((names.TRAIN, moment))
            moment -= future
        yield from reversed(training)
        for split, first, until in (
            (names.EVAL, eval_from, test_from),
            (names.TEST, test_from, self._end + 1),
        ):
            for moment in range(first, until - future + 1, future):
                yield split, moment

    def process(
        self,
        user_and_events: tuple[str, list[Any]],
        item_counts: dict[str, int],
        item_threshold: int,
        user_threshold: int,
        user_thirds: tuple[int, int],
        recent_from: int,
    ) -> Iterator[Any]:
        user, events = user_and_events
        times = [event[0] for event in events]
        trained = _before(self._cuts[0], events)
        told = 0
        for split, moment in self._moments(times):
            start = bisect.bisect_left(times, moment)
            begin = bisect.bisect_left(times, moment - round(1000 * self._window.past))
            stop = bisect.bisect_left(times, moment + round(1000 * self._window.future))
            if begin == start or stop == start or split == names.TRAIN and not trained:
                continue
            past = events[max(begin, start - self._window.length) : start]
            following = events[start : start + self._window.max_future][: stop - start]
            first_new = max(start - len(past) + 1, told) if split == names.TRAIN else start + len(following)
            new = events[first_new : start + len(following)]
            told = start + len(following)
            count = item_counts.get(following[0][1], 0)
            size = trained if trained else start - begin
            columns = zip(*past), zip(*following)
            (h_times, h_items, h_scenes), (f_times, f_items, f_scenes) = columns
            values = {
                names.USER_ID: [user],
                names.HISTORY_ITEM_ID: h_items,
                names.HISTORY_SCENE: h_scenes,
                names.HISTORY_TIMESTAMP: h_times,
                names.FUTURE_ITEM_ID: f_items,
                names.FUTURE_SCENE: f_scenes,
                names.FUTURE_TIMESTAMP: f_times,
                names.TARGET_ITEM_ID: f_items[:1],
                names.TARGET_SCENE: f_scenes[:1],
                names.TARGET_TIMESTAMP: f_times[:1],
                names.MOMENT: [moment],
                names.NEW_TARGETS: [len(new)],
                names.RECENT_TARGETS: [sum(event[0] >= recent_from for event in new)],
                names.SEEN_ITEM_ID: []
                if split == names.TRAIN
                else list(dict.fromkeys(event[1] for event in events[:start])),
                names.USER_FREQUENCY: [names.HEAD if size >= user_threshold else names.TAIL],
                names.ITEM_FREQUENCY: [
                    names.NEW if not count else names.HEAD if count >= item_threshold else names.TAIL
                ],
                names.HISTORY_LENGTH: [
                    next(name for least, name in _LENGTH_GROUPS if start - begin >= least)
                ],
                names.USER_STATUS: [names.EXISTING if trained else names.NEW],
                names.USER_GROUP: [_group(trained or start, user_thirds)],
            }
            yield beam.pvalue.TaggedOutput(split, _example(values).SerializeToString())


def _example(values: dict[str, list[Any]]) -> tf.train.Example:
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if name in _NUMBERS:
            feature.int64_list.value.extend(value)
        else:
            feature.bytes_list.value.extend(v.encode() for v in value)
    return example
