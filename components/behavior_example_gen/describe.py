"""Profiles a log before a run, for `footfall data describe`: guesses its columns and the unit of its times."""

import collections
import dataclasses
import re
from typing import Any, Counter, Dict, List, Optional, Sequence, Tuple

import numpy as np
import pyarrow as pa

from components.behavior_example_gen import notices, profile, readers, shards, spec, splits
from components.behavior_example_gen.reading import blocks as blocks_lib
from components.behavior_example_gen.reading import files, time_kinds
from schemas import errors, names

_DESCRIBE_ROWS = 5_000_000
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


def _guess_times(log: spec.LogSpec) -> Dict[str, str]:
    """The settings that read the first times of a log; none where they have none of them.

    Raises:
      errors.InputError: if day and month can be either.
    """
    for column in readers.raw(log, names.TIMESTAMP):
        found = time_kinds.recognise(column)
        if found.choices:
            raise errors.InputError(
                f"{log.path}: column {log.columns.timestamp!r} has {found.why}: {' or '.join(found.lines())}"
            )
        return found.settings
    return {}


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
    notes: Counter[Tuple[str, str]] = collections.Counter()
    for block in readers.read_all([path], log, _DESCRIBE_ROWS):
        batch = pa.Table.from_batches([block.batch])
        file = pa.array(np.full(batch.num_rows, block.source.index, np.int32))
        blocks.append(batch.append_column(blocks_lib.FILE, file))
        rejects.extend(block.rejects)
        rows += block.rows
        notes.update(block.notes)
    if not sum(b.num_rows for b in blocks):
        first = f"; the first bad one: row {rejects[0].row}, {rejects[0].reason}" if rejects else ""
        raise errors.InputError(f"{path}: no usable row among {rows}{first}")
    everything = spec.SplitSpec(by=("time",), eval_from=0.5, test_from=0.6)
    never = splits.Cuts(2**62, 2**62)
    table = pa.concat_tables(blocks)
    events = shards.sort_events(table, everything, never)
    found = profile.summary(profile.count(events))
    pairs = table.group_by([names.USER_ID, names.ITEM_ID]).aggregate([(names.TIMESTAMP, "count")])
    found["repeat_share"] = 1 - pairs.num_rows / table.num_rows
    used = set(log.columns.wanted().values())
    found.update(
        path=path,
        steps=_shares(log.columns.label, blocks),
        unused_columns=[column for column in _header(path, log) if column not in used],
        rows_read=rows,
        rejected=len(rejects),
        notices=[
            *notices.of_values(notes, log),
            *notices.of_duplicates(found["duplicates"], found["events"], log),
            *notices.of_user(found["implausible_user"], log),
        ],
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
    log = log.model_copy(update=_guess_times(log))
    # Where an event has a kind, a column `click` is more likely to count something.
    steps = {} if "behavior" in roles else guess_labels(header)
    if not steps:
        return log
    labelled = log.model_copy(update={"columns": spec.Columns(**roles, label=steps)})
    return labelled if _first_rejects(labelled) == _first_rejects(log) else log


def _first_rejects(log: spec.LogSpec) -> int:
    """How many of the first rows are bad."""
    return next((len(block.rejects) for block in readers.read_all([log.path], log)), 0)


def _sources_of_any_columns(path: str, log: spec.LogSpec) -> List[files.Source]:
    from apache_beam.io import filesystems

    pattern = path + "*" if path.endswith("/") else path
    found = sorted(m.path for m in filesystems.FileSystems.match([pattern])[0].metadata_list)
    if not found:
        raise errors.InputError(f"log.path: no file matches {path}")
    return [files.Source(p, i, files.format_of(p, log)) for i, p in enumerate(found)]
