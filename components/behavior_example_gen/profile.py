"""Profiles a log: within a run, shard by shard, and for `footfall data describe` before one."""

import collections
import dataclasses
import datetime
import re
from typing import Any, Dict, Iterable, List, Optional, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import readers, shards, slices, spec, splits
from schemas import errors, names

_DESCRIBE_ROWS = 5_000_000
_MANY_ITEMS_LOSS = {"name": "sampled_softmax", "negatives": 1024, "shared_negatives": True}
_QUANTILES = (0, 25, 50, 75, 95, 100)
_EMPTY_ITEMS = pa.table(
    {"item": pa.array([], pa.binary()), "events": pa.array([], pa.int64()), "train": pa.array([], pa.int64())}
)


@dataclasses.dataclass
class Counts:
    """Mergeable counts of a shard (or of all of them).

    `items` has columns item, events, train; the `user_*` count users by their number of
    events, in the whole log and in training.
    """

    items: pa.Table
    user_events: Dict[int, int]
    user_train: Dict[int, int]
    events: int = 0
    ties: int = 0
    start: Optional[int] = None
    end: Optional[int] = None
    behaviors: Dict[str, int] = dataclasses.field(default_factory=dict)
    scenes: Dict[str, int] = dataclasses.field(default_factory=dict)


def count(events: shards.Events) -> Counts:
    """Counts one shard."""
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
    same = np.append(times[1:] == times[:-1], False)
    same[events.starts[1:] - 1] = False
    return Counts(
        items,
        _histogram(per_user),
        _histogram(trained[trained > 0]),
        events=len(times),
        ties=int(same.sum()),
        start=int(times.min()),
        end=int(times.max()),
        behaviors=_values(events, names.BEHAVIOR),
        scenes=_values(events, names.SCENE),
    )


def _histogram(values: np.ndarray) -> Dict[int, int]:
    distinct, of = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), of.tolist()))


def _values(events: shards.Events, name: str) -> Dict[str, int]:
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

    def added(field: str) -> Dict[Any, int]:
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
        behaviors=added("behaviors"),
        scenes=added("scenes"),
    )


def popularity(counts: Counts) -> slices.Popularity:
    """Who and what is in the head, by training events."""
    trained = counts.items.filter(pc.greater(counts.items.column("train"), 0))
    of_items = trained.column("train").to_numpy()
    threshold = _threshold(_histogram(of_items))
    known = trained.column("item").combine_chunks()
    if isinstance(known, pa.ChunkedArray):
        known = pa.concat_arrays(known.chunks) if known.num_chunks else pa.array([], pa.binary())
    return slices.Popularity(
        head_items=known.filter(pa.array(of_items >= threshold)),
        known_items=known,
        user_threshold=_threshold(counts.user_train),
    )


def _threshold(histogram: Dict[int, int]) -> int:
    return slices.head_threshold(
        np.fromiter(histogram, np.int64, len(histogram)),
        np.fromiter(histogram.values(), np.int64, len(histogram)),
    )


def moment(ms: Optional[int]) -> Optional[str]:
    """A time in ms as ISO 8601 text (as plain number where no calendar reaches)."""
    if ms is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def summary(counts: Counts) -> Dict[str, Any]:
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
        "behaviors": dict(sorted(counts.behaviors.items(), key=lambda kv: -kv[1])),
        "scenes": dict(sorted(counts.scenes.items(), key=lambda kv: -kv[1])[:100]),
        "tail_share": float(sizes[sizes < threshold].sum() / max(1, counts.events)),
        "tie_share": counts.ties / max(1, counts.events),
        "history": {f"p{q}": float(np.percentile(sizes, q)) for q in _QUANTILES} if len(sizes) else {},
    }


# Of several patterns a later one counts where no column fits those before.
_ROLES = {
    "user_id": (
        r"^(user_?id|uid|user|visitor_?id|customer_?id|member_?id|reviewer_?id)$",
        r"^session_?id$",
    ),
    "item_id": (
        r"^(item_?id|iid|item|product_?id|movie_?id|article_?id|click_article_id|asin|sku|track_?id)$",
        r"^description$",
    ),
    "timestamp": (
        r"^(time_?stamp|time|ts|date|datetime|event_?time|click_timestamp|unix_?time|invoice_?date)$",
    ),
    "behavior": (r"^(behavio(u)?r(_type)?|event(_type)?|action(_type)?)$",),
    "scene": (r"^(scene|page|channel|tab|section|click_referrer_type|referrer_type)$",),
}

# From this share of events on, a suggested experiment recommends what users have had.
_MANY_REPEATS = 0.05
# Steps of a chain, in its order.
_STEPS = {
    "click": (r"^(is_)?click(s|ed)?$",),
    "cart": (r"^(is_)?(add(ed)?_?to_?)?(cart|basket)(ed)?$",),
    "buy": (r"^(is_)?(buy|bought|purchased?|order(ed)?|conversion|converted)$",),
}


def guess_columns(header: Sequence[str]) -> Dict[str, str]:
    """Which column plays which role, by name; RecBole's `name:type` headers are understood."""
    return _named_like(_ROLES, header)


def guess_labels(header: Sequence[str]) -> Dict[str, str]:
    """The column of each step of a log of exposures, by name; in the order of the chain."""
    return _named_like(_STEPS, header)


def _named_like(roles: Dict[str, Sequence[str]], header: Sequence[str]) -> Dict[str, str]:
    """The first column that fits the first pattern of each role that any does, and no role before it."""
    bare = {c: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", c.split(":")[0].strip()).lower() for c in header}
    found: Dict[str, str] = {}
    for role, patterns in roles.items():
        fitting = (
            column
            for pattern in patterns
            for column in header
            if re.match(pattern, bare[column]) and column not in found.values()
        )
        column = next(fitting, None)
        if column is not None:
            found[role] = column
    return found


def _guess_unit(log: spec.LogSpec) -> str:
    """The unit of the times, by the size of the first ones."""
    # As the smallest unit, in which no number is out of bounds.
    for block in readers.read_all([log.path], log.model_copy(update={"timestamp_unit": "ns"})):
        times = block.batch.column(block.batch.schema.get_field_index(names.TIMESTAMP)).to_numpy()
        if not len(times):
            return "iso8601" if block.rejects else "s"
        size = float(np.median(np.abs(times))) * 1e6
        return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
    return "s"


def describe(path: str, log: Optional[spec.LogSpec] = None) -> Dict[str, Any]:
    """Profiles any log; without a spec, guesses one from the header and the first rows.

    At most the first five million rows are read (`rows_read` tells). Columns that are named like steps of a
    chain and hold nothing but labels make it a log of exposures: `steps` has the share of each.

    Raises:
      errors.InputError: if no column looks like a user, an item or a time.
    """
    if log is None:
        log = _guess_log(path)
    blocks, rejects, rows = [], [], 0
    for block in readers.read_all([path], log, _DESCRIBE_ROWS):
        batch = pa.Table.from_batches([block.batch])
        file = pa.array(np.full(batch.num_rows, block.source.index, np.int32))
        blocks.append(batch.append_column(readers.FILE, file))
        rejects.extend(block.rejects)
        rows += block.rows
    if not sum(b.num_rows for b in blocks):
        first = f"; the first bad one: row {rejects[0].row}, {rejects[0].reason}" if rejects else ""
        raise errors.InputError(f"{path}: no usable row among {rows}{first}")
    everything = spec.SplitSpec(by=("time",), eval_from=0.5, test_from=0.6)
    never = splits.Cuts(2**62, 2**62)
    table = pa.concat_tables(blocks)
    events = shards.sort_events(table, everything, never)
    found = summary(count(events))
    pairs = table.group_by([names.USER_ID, names.ITEM_ID]).aggregate([(names.TIMESTAMP, "count")])
    found["repeat_share"] = 1 - pairs.num_rows / table.num_rows
    used = set(log.columns.wanted().values())
    found.update(
        path=path,
        steps=_shares(log.columns.label, blocks),
        unused_columns=[column for column in _header(path, log) if column not in used],
        rows_read=rows,
        rejected=len(rejects),
        rejected_examples=[dataclasses.asdict(r) for r in rejects[:5]],
        log=log.model_dump(mode="json", exclude_defaults=True),
    )
    return found


def _shares(steps: Sequence[str], blocks: Sequence[pa.Table]) -> Dict[str, Optional[float]]:
    """How often each step has happened, where that is known; None if it never is."""
    found: Dict[str, Optional[float]] = {}
    for step in steps:
        labels = np.concatenate([block.column(names.LABEL_PREFIX + step).to_numpy() for block in blocks])
        labels = labels[labels != names.UNKNOWN_LABEL]
        found[step] = float(labels.mean()) if len(labels) else None
    return found


def _header(path: str, log: spec.LogSpec) -> List[str]:
    paths = [s.path for s in _sources_of_any_columns(path, log)]
    header = next((h for h in (readers.header(p, log) for p in paths) if h), None)
    if header is None:
        raise errors.InputError(f"{path}: no rows")
    return header


def _guess_log(path: str) -> spec.LogSpec:
    log = spec.LogSpec(path=path)
    header = _header(path, log)
    roles = guess_columns(header)
    for role in ("user_id", "item_id", "timestamp"):
        if role not in roles:
            raise errors.InputError(
                f"{path}: no column looks like {role} among {', '.join(header)}; name it in log.columns.{role}"
            )
    log = log.model_copy(update={"columns": spec.Columns(**roles)})
    log = log.model_copy(update={"timestamp_unit": _guess_unit(log)})
    # Where an event has a kind, a column `click` is more likely to count something.
    steps = {} if "behavior" in roles else guess_labels(header)
    if not steps:
        return log
    labelled = log.model_copy(update={"columns": spec.Columns(**roles, label=steps)})
    return labelled if _first_rejects(labelled) == _first_rejects(log) else log


def _first_rejects(log: spec.LogSpec) -> int:
    """How many of the first rows are bad."""
    return next((len(block.rejects) for block in readers.read_all([log.path], log)), 0)


def _sources_of_any_columns(path: str, log: spec.LogSpec) -> List[readers.Source]:
    from apache_beam.io import filesystems

    pattern = path + "*" if path.endswith("/") else path
    found = sorted(m.path for m in filesystems.FileSystems.match([pattern])[0].metadata_list)
    if not found:
        raise errors.InputError(f"log.path: no file matches {path}")
    return [readers.Source(p, i, readers.format_of(p, log)) for i, p in enumerate(found)]


def suggest_experiment(description: Dict[str, Any]) -> str:
    """An experiment file to start from, as YAML text, for a log that `describe` has seen."""
    import yaml

    median = description["history"].get("p50", 0)
    spread = description["start"] != description["end"]
    length = int(min(200, max(10, 10 * round(description["history"].get("p75", 50) / 10))))
    steps = list(description["steps"])
    if steps:
        window = {"kind": "exposure", "steps": steps, "history": 20}
        learnt = {
            "model": {"name": "bpcm", "dim": 16},
            "training": {"epochs": 20, "batch_size": 256, "patience": 3},
        }
    else:
        window = {"kind": "next", "length": length}
        loss = {"name": "softmax"} if description["items"] <= 20_000 else _MANY_ITEMS_LOSS
        learnt = {
            "model": {"name": "sasrec", "dim": 64},
            "loss": loss,
            "training": {"epochs": 50, "batch_size": 128},
        }
    experiment = {
        "name": re.sub(
            r"[^a-z0-9]+", "-", description["path"].rsplit("/", 1)[-1].split(".")[0].lower()
        ).strip("-")
        or "my-log",
        "log": description["log"],
        "window": window,
        # Without a spread in time a cut is impossible; exposures have no other split.
        "split": {"by": ["time"]} if spread or steps else {"by": ["leave_one_out"]},
        **learnt,
    }
    notes = []
    if description["repeat_share"] > _MANY_REPEATS and not steps:
        experiment["evaluation"] = {"exclude_seen": False}
        notes.append(
            f"# {description['repeat_share']:.0%} of the events are of an item that the user has had before: such items"
            " are recommended again (exclude_seen: false)."
        )
    if steps and description["unused_columns"]:
        notes.append(
            f"# Not used yet: {', '.join(description['unused_columns'])}. What tells something of the exposure, its"
            " item or its user becomes a feature in log.columns.context, .item or .user."
        )
    if median < 5 and not steps:
        notes.append(
            f"# Half of the users have at most {median:.0f} events: expect little from long windows."
        )
    if description["tie_share"] > 0.2:
        notes.append(
            f"# {description['tie_share']:.0%} of the times tie: keep the rows in the order they happened."
        )
    return "".join(f"{note}\n" for note in notes) + yaml.safe_dump(experiment, sort_keys=False)
