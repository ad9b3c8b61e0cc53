"""What a log holds: counted shard by shard, merged, and summed up."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import notices, shards, slices, spec, splits, time_span
from schemas import names
from schemas.times import moment

_EXAMPLES = 3
_QUANTILES = (0, 25, 50, 75, 95, 100)
_EMPTY_ITEMS = pa.table(
    {"item": pa.array([], pa.binary()), "events": pa.array([], pa.int64()), "train": pa.array([], pa.int64())}
)


@dataclasses.dataclass
class Counts:
    """Mergeable counts of a shard (or of all of them).

    `items` has columns item, events, train; the `user_*` count users by their number of
    events, in the whole log and in training. `heaviest` is the user with the most events (the first by id
    of several), `duplicates` counts events that are equal to an earlier one. `start` and `end` are
    those of the log without lonely events; `until` is the last moment that it tells of, the end of the last day of a log of
    days (`time_span.TimeHistogram.end`). `lonely` is how many these are, and `examples` has the time and the user
    of some. `target_times` is when the training targets are: the training events but each user's first. `met` is how
    many items the windows of `eval` and `test` say their users have met, and `most_met` that of the user with most.
    """

    items: pa.Table
    user_events: dict[int, int]
    user_train: dict[int, int]
    events: int = 0
    ties: int = 0
    start: int | None = None
    end: int | None = None
    until: int | None = None
    lonely: int = 0
    examples: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    behaviors: dict[str, int] = dataclasses.field(default_factory=dict)
    scenes: dict[str, int] = dataclasses.field(default_factory=dict)
    heaviest: str | None = None
    duplicates: int = 0
    target_times: time_span.TimeHistogram | None = None
    met: int = 0
    most_met: tuple[int, str] | None = None


def count(
    events: shards.Events, bulk: time_span.Bulk = time_span.EVERYTHING, met: np.ndarray | None = None
) -> Counts:
    """Counts one shard.

    Args:
      bulk: when the events are that are not lonely.
      met: of each user, see `windows.kind.Kind.met`.
    """
    if not len(events.numbers(names.TIMESTAMP)):
        return Counts(_EMPTY_ITEMS, {}, {})
    ids = events.column(names.ITEM_ID).dictionary_encode()
    codes = ids.indices.to_numpy()
    training = events.numbers(shards.ROLE) == splits.TRAIN
    items = pa.table(
        {
            "item": ids.dictionary,
            "events": np.bincount(codes, minlength=len(ids.dictionary)).astype(np.int64),
            "train": np.bincount(codes[training], minlength=len(ids.dictionary)).astype(np.int64),
        }
    )
    per_user = np.diff(events.starts)
    trained = np.concatenate([[0], np.cumsum(training)])
    trained = trained[events.starts[1:]] - trained[events.starts[:-1]]
    times = events.numbers(names.TIMESTAMP)
    targets = training.copy()
    targets[events.starts[:-1]] = False
    inside = (times >= bulk.first) & (times <= bulk.last)
    lonely = np.flatnonzero(~inside)[:_EXAMPLES]
    users = events.column(names.USER_ID).take(pa.array(lonely)).to_pylist()
    same = np.append(times[1:] == times[:-1], False)
    same[events.starts[1:] - 1] = False
    return Counts(
        items,
        _histogram(per_user),
        _histogram(trained[trained > 0]),
        events=len(times),
        ties=int(same.sum()),
        start=int(times[inside].min()) if inside.any() else None,
        end=int(times[inside].max()) if inside.any() else None,
        lonely=int((~inside).sum()),
        examples=[(int(times[at]), user.decode("utf-8", "replace")) for at, user in zip(lonely, users)],
        behaviors=_values(events, names.BEHAVIOR),
        scenes=_values(events, names.SCENE),
        heaviest=_user(events, int(np.argmax(per_user))),
        duplicates=events.duplicates,
        target_times=time_span.TimeHistogram.on_grid(times[targets], bulk),
        met=0 if met is None else int(met.sum()),
        most_met=None if met is None else (int(met.max()), _user(events, int(np.argmax(met)))),
    )


def _user(events: shards.Events, user: int) -> str:
    return events.column(names.USER_ID)[int(events.starts[user])].as_py().decode("utf-8")


def _histogram(values: np.ndarray) -> dict[int, int]:
    distinct, of = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), of.tolist()))


def _values(events: shards.Events, name: str) -> dict[str, int]:
    if name not in events.table.schema.names:
        return {}
    counted = pc.value_counts(events.column(name))
    keys = [k.decode("utf-8") for k in counted.field("values").to_pylist()]
    return dict(zip(keys, counted.field("counts").to_pylist()))


def merge(parts: Iterable[Counts]) -> Counts:
    """Adds counts up."""
    parts = list(parts)
    items = pa.concat_tables([p.items for p in parts] or [_EMPTY_ITEMS])
    items = items.group_by("item").aggregate([("events", "sum"), ("train", "sum")])
    items = items.select(["item", "events_sum", "train_sum"]).rename_columns(["item", "events", "train"])

    def added(field: str) -> dict[Any, int]:
        total: collections.Counter = collections.Counter()
        for part in parts:
            total.update(getattr(part, field))
        return dict(total)

    starts = [p.start for p in parts if p.start is not None]
    ends = [p.end for p in parts if p.end is not None]
    return Counts(
        items,
        added("user_events"),
        added("user_train"),
        events=sum(p.events for p in parts),
        ties=sum(p.ties for p in parts),
        start=min(starts, default=None),
        end=max(ends, default=None),
        lonely=sum(p.lonely for p in parts),
        examples=sorted(example for p in parts for example in p.examples)[:_EXAMPLES],
        behaviors=added("behaviors"),
        scenes=added("scenes"),
        heaviest=min((p for p in parts if p.heaviest is not None), key=_by_heaviest).heaviest
        if any(p.heaviest is not None for p in parts)
        else None,
        duplicates=sum(p.duplicates for p in parts),
        target_times=time_span.TimeHistogram.merged(
            p.target_times for p in parts if p.target_times is not None and len(p.target_times.bins)
        ),
        met=sum(p.met for p in parts),
        most_met=max((p.most_met for p in parts if p.most_met is not None), default=None),
    )


def _by_heaviest(counts: Counts) -> tuple[int, str]:
    assert counts.heaviest is not None
    return -max(counts.user_events), counts.heaviest


def popularity(counts: Counts, recent_share: float = spec.RECENT_SHARE) -> slices.Popularity:
    """Who and what is in the head, by training events, and since when training targets are recent.

    Args:
      recent_share: see `windows.next.NextWindow`.
    """
    trained = counts.items.filter(pc.greater(counts.items.column("train"), 0))
    of_items, times = trained.column("train").to_numpy(), counts.target_times
    threshold = _threshold(_histogram(of_items))
    known = trained.column("item").combine_chunks()
    if isinstance(known, pa.ChunkedArray):
        known = pa.concat_arrays(known.chunks) if known.num_chunks else pa.array([], pa.binary())
    return slices.Popularity(
        head_items=known.filter(pa.array(of_items >= threshold)),
        known_items=known,
        user_threshold=_threshold(counts.user_train),
        user_thirds=slices.thirds(*_arrays(counts.user_train)),
        recent_from=times.quantile(1 - recent_share) if times is not None and len(times.bins) else None,
    )


def _threshold(histogram: dict[int, int]) -> int:
    return slices.head_threshold(*_arrays(histogram))


def _arrays(histogram: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct counts of a histogram, and how many have each."""
    return (
        np.fromiter(histogram, np.int64, len(histogram)),
        np.fromiter(histogram.values(), np.int64, len(histogram)),
    )


def summary(counts: Counts) -> dict[str, Any]:
    """The profile as plain values for JSON."""
    sizes = np.repeat(
        np.fromiter(counts.user_events, np.int64, len(counts.user_events)),
        np.fromiter(counts.user_events.values(), np.int64, len(counts.user_events)),
    )
    threshold = _threshold(counts.user_events)
    return {
        "users": int(len(sizes)),
        "items": counts.items.num_rows,
        "events": counts.events,
        "start": moment(counts.start),
        "end": moment(counts.end),
        "lonely": {"events": counts.lonely, "examples": [[moment(ms), user] for ms, user in counts.examples]},
        "behaviors": dict(sorted(counts.behaviors.items(), key=lambda kv: -kv[1])),
        "scenes": dict(sorted(counts.scenes.items(), key=lambda kv: -kv[1])[:100]),
        "tail_share": float(sizes[sizes < threshold].sum() / max(1, counts.events)),
        "tie_share": counts.ties / max(1, counts.events),
        "duplicates": counts.duplicates,
        "implausible_user": _implausible(counts),
        "history": {f"p{q}": float(np.percentile(sizes, q)) for q in _QUANTILES} if len(sizes) else {},
    }


def _implausible(counts: Counts) -> dict[str, Any] | None:
    """The user with the most events, if it may stand for nobody; see `notices.implausible_user`."""
    if counts.heaviest is None:
        return None
    return notices.implausible_user(counts.heaviest, max(counts.user_events), counts.user_events)
