"""Profiles a log before a run, for `footfall data describe`: guesses its columns and the unit of its times."""

import collections
import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pydantic

from components.behavior_example_gen import (
    guess,
    notices,
    profile,
    readers,
    shards,
    spans,
    spec,
    splits,
    time_span,
    zones,
)
from components.behavior_example_gen.reading import blocks as blocks_lib
from components.behavior_example_gen.reading import columns as columns_lib
from components.behavior_example_gen.reading import (
    delimited,
    failures,
    files,
    opening,
    sniff,
    time_kinds,
    times,
    utf8,
)
from schemas import errors, names

_DESCRIBE_ROWS = 5_000_000
_SAMPLE_ROWS = 200_000
# Of bad rows, which are shown.
_EXAMPLES = 5
_SAMPLE_BYTES = 4 << 20


def _guess_times(path: str, column: pa.ChunkedArray, name: str, rule: times.Rule) -> dict[str, str]:
    """The settings that read the first times of a log.

    Raises:
      errors.InputError: if day and month can be either, or nothing reads them.
    """
    found = time_kinds.recognise(column, rule)
    if found.choices:
        raise errors.InputError(
            f"{path}: column {name!r} has {found.why}: "
            + " or ".join(
                f"--set 'log.{key}={value}'" for choice in found.choices for key, value in choice.items()
            )
        )
    if not found.settings and not found.why:
        raise errors.InputError(
            f"{path}: column {name!r} holds no times of one known kind: {'; '.join(found.problems)}. Name another "
            f"column (--columns timestamp=COLUMN), or how its times are written (--set log.timestamp_format=...)"
        )
    return found.settings


def describe(path: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Profiles any log, whose settings it guesses from the first file's header and first rows.

    At most the first five million rows are read (`rows_read` tells). Columns that are named like steps of a
    chain and hold nothing but labels make it a log of exposures: `steps` has the share of each. `notices` are
    sentences on what was seen, and what looks odd.

    Args:
      path: a file, a folder or a pattern, or one with marks of spans, see `spans`.
      settings: of `log`, which are not guessed: plain values, as in YAML.

    Raises:
      errors.InputError: if no column looks like a user, an item or a time; it says how to name one. If a column that is
        named by hand is misspelt, as far as `columns.check_all` tells.
    """
    log, seen = _guess_log(path, settings or {})
    blocks, rows, rejected = [], 0, 0
    examples: list[blocks_lib.Reject] = []
    notes: Counter[tuple[str, str]] = collections.Counter()
    for block in readers.read_all(_paths(log), log, _DESCRIBE_ROWS):
        batch = pa.Table.from_batches([block.batch])
        file = pa.array(np.full(batch.num_rows, block.source.index, np.int32))
        blocks.append(batch.append_column(blocks_lib.FILE, file))
        # Of a wrong unit of times each row is one.
        examples += block.rejects[: _EXAMPLES - len(examples)]
        rejected += len(block.rejects)
        rows += block.rows
        notes.update(block.notes)
    if not sum(b.num_rows for b in blocks):
        first = f"; the first bad one: row {examples[0].row}, {examples[0].reason}" if examples else ""
        raise errors.InputError(f"{path}: no usable row among {rows}{first}")
    everything = spec.SplitSpec(by=("time",), eval_from=0.5, test_from=0.6)
    never = splits.Cuts(2**62, 2**62)
    table = pa.concat_tables(blocks)
    # It may have ended just there.
    whole = rows < _DESCRIBE_ROWS
    if whole:
        headers = (readers.header(file, log) for file in _paths(log))
        columns_lib.check_all(headers, notes, rows, log)
    events = shards.sort_events(table, everything, never)
    bulk = time_span.TimeHistogram.of(events.numbers(names.TIMESTAMP)).bulk()
    found = profile.summary(profile.count(events, bulk))
    pairs = table.group_by([names.USER_ID, names.ITEM_ID]).aggregate([(names.TIMESTAMP, "count")])
    found["repeat_share"] = 1 - pairs.num_rows / table.num_rows
    seen += _of_users(table)
    used = set(log.columns.wanted().values())
    found.update(
        path=path,
        steps=_shares(log.columns.label, blocks),
        unused_columns=[column for column in _header(log) if column not in used],
        rows_read=rows,
        rejected=rejected,
        notices=[
            *seen,
            *zones.told_of({"log": log}, log.timezone),
            *notices.of_times(found, log),
            *notices.of_columns(notes, log, None if whole else rows),
            *notices.of_values(notes, log),
            *notices.of_duplicates(found["duplicates"], found["events"], log),
            *notices.of_user(found["implausible_user"], log),
        ],
        rejected_examples=[dataclasses.asdict(r) for r in examples],
        log=log.model_dump(mode="json", exclude_defaults=True),
    )
    return found


def _shares(steps: Iterable[str], blocks: Sequence[pa.Table]) -> dict[str, float | None]:
    """How often each step has happened, where that is known; None if it never is."""
    found: dict[str, float | None] = {}
    for step in steps:
        labels = np.concatenate([block.column(names.LABEL_PREFIX + step).to_numpy() for block in blocks])
        labels = labels[labels != names.UNKNOWN_LABEL]
        found[step] = float(labels.mean()) if len(labels) else None
    return found


def _header(log: spec.LogSpec) -> list[str]:
    return next((h for h in (readers.header(p, log) for p in _paths(log)) if h), [])


def _paths(log: spec.LogSpec) -> list[str]:
    """The files, as a run of the newest span takes them."""
    return spans.paths(log.path, log.spans)


def _of_users(table: pa.Table) -> list[str]:
    """What is odd about how many events users have."""
    counted = table.group_by(names.USER_ID).aggregate([(names.TIMESTAMP, "count")])
    events = counted.column(f"{names.TIMESTAMP}_count").to_numpy()
    if len(events) == 1:
        return [
            "All events are of one user: is this the column of users? Name another: --columns user_id=COLUMN"
        ]
    if events.max() == 1:
        return [
            "Every user has one event: nothing can be learnt of who does what next. Is this the column of users? "
            "Name another: --columns user_id=COLUMN"
        ]
    return []


def _guess_log(path: str, given: dict[str, Any]) -> tuple[spec.LogSpec, list[str]]:
    """The settings that read a log, and what they come from."""
    given = {**given, "path": path}
    headerless = given.get("header") is False and not given.get("column_names")
    base = _log({k: v for k, v in given.items() if not (headerless and k == "header")})
    paths = _paths(base)
    first, seen = "", None
    for first in paths:
        seen = sniff.sniff(first, base)
        if seen.rows or seen.settings or readers.header(first, base):
            break
    assert seen is not None
    settings, notes = {**seen.settings, **given}, list(seen.seen)
    if settings.get("header") is False and not settings.get("column_names"):
        if not seen.rows:
            raise errors.InputError(f"{path}: no rows")
        settings["column_names"] = guess.names_of(path, seen.rows)
        del settings["header"]
        notes.append(
            "the names in log.column_names are guessed from the values, the first column of ids as the user's: check them"
        )
    columns = dict(settings.pop("columns", {}))
    log = _log(settings)
    files.check_formats(paths, log)
    header = readers.header(first, log)
    if not header:
        raise errors.InputError(f"{path}: no rows")
    for role, column in columns.items():
        if isinstance(column, str) and column not in header:
            raise errors.InputError(
                f"{path}: no column {column!r} (--columns {role}={column}); the file has {', '.join(header)}"
            )
    # A file of a partition without rows says nothing.
    samples = (_sample(path, log) for path in paths[paths.index(first) :])
    table = next((sample for sample in samples if sample is not None), None)
    if table is None:
        separated = (
            "; is log.delimiter what separates the values?"
            if files.format_of(first, log) in ("csv", "tsv")
            else ""
        )
        raise errors.InputError(f"{path}: no usable row{separated}")
    found = guess.columns(table)
    named = {role: column for role, column in columns.items() if isinstance(column, str)}
    columns.update(guess.roles(path, header, found, named))
    notes += _doubts(columns, found)
    settings["columns"] = columns
    if "timestamp_unit" not in given and "timestamp_format" not in given:
        name = columns["timestamp"]
        settings.update(_guess_times(path, table.column(name), name, times.Rule.of(log)))
    log = _log(settings)
    if "label" in columns:
        return log, notes
    steps = _steps(log, settings, header, found, notes)
    return (_log({**settings, "columns": {**columns, "label": steps}}) if steps else log), notes


def _doubts(columns: dict[str, Any], found: dict[str, guess.Column]) -> list[str]:
    """What is odd about the columns that were chosen for want of others."""
    notes = []
    for role in ("user_id", "item_id"):
        column = found.get(columns[role])
        if column and (column.is_constant or role == "user_id" and column.is_unique):
            what = "one value" if column.is_constant else "another value in almost each row"
            notes.append(f"column {column.name!r} has {what}; name another: --columns {role}=COLUMN")
    return notes


def _steps(
    log: spec.LogSpec,
    settings: dict[str, Any],
    header: Sequence[str],
    found: dict[str, guess.Column],
    notes: list[str],
) -> dict[str, str]:
    """The columns that are named like steps of a chain and hold labels."""
    steps: dict[str, str] = {}
    used = set(log.columns.wanted().values())
    named = {
        step: [c for c in columns if c not in used]
        for step, columns in guess.named_like(guess.STEPS, header).items()
    }
    if log.columns.behavior:
        # Where an event has a kind, a column `click` is more likely to count something.
        others = [c for columns in named.values() for c in columns]
        if others:
            like = notices.of_each([*map(repr, others)], "is named like a step", "are named like steps")
            unused = "it is not used" if len(others) == 1 else "they are not used"
            notes.append(f"{like}, but events have a kind ({log.columns.behavior}): {unused}")
        return {}
    bad = _first_rejects(log)
    for step, columns in named.items():
        for column in columns[:1]:
            tried = _log({**settings, "columns": {**settings["columns"], "label": {step: column}}})
            if _first_rejects(tried) == bad:
                steps[step] = column
            else:
                shown = ", ".join(found[column].examples) if column in found else "lists"
                notes.append(
                    f"column {column!r} is named like a step, but holds no labels ({shown}): it is not used"
                )
    if steps:
        hold = notices.of_each([*map(repr, steps.values())], "holds labels", "hold labels")
        notes.append(f"{hold}: each row is an exposure with what followed")
    return steps


def _log(settings: dict[str, Any]) -> spec.LogSpec:
    try:
        return spec.LogSpec.from_values(settings)
    except pydantic.ValidationError as error:
        said = "; ".join(
            f"{'.'.join(['log', *map(str, e['loc'])])}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        )
        raise errors.InputError(said) from error


def _sample(path: str, log: spec.LogSpec) -> pa.Table | None:
    """The first rows of a file, with all columns; None of one without any."""
    kind = files.format_of(path, log)
    with failures.one_line(path, kind):
        if kind == "parquet":
            with opening.open_file(path) as stream:
                batches = pyarrow.parquet.ParquetFile(stream).iter_batches(_SAMPLE_ROWS, use_threads=False)
                batch = next(batches, None)
                return pa.Table.from_batches([batch]) if batch is not None and batch.num_rows else None
        if kind == "jsonl":
            return _sample_of_json(path, log)
        pieces = delimited.read(files.Source(path, 0, kind), log, everything=True)
        table = next((table for table, _, _ in pieces if table.num_rows), None)
    return None if table is None else table.slice(0, _SAMPLE_ROWS)


def _sample_of_json(path: str, log: spec.LogSpec) -> pa.Table | None:
    rows: list[dict[str, Any]] = []
    with utf8.open_text(path, log) as stream:
        for line in stream.read(_SAMPLE_BYTES).split(b"\n"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    if not rows:
        return None
    header = dict.fromkeys(key for row in rows for key in row)
    return pa.table({key: _json_column([row.get(key) for row in rows]) for key in header})


def _json_column(values: list[Any]) -> pa.Array:
    """Values of a key as text; as a struct, which plays no role, where most are lists or objects."""
    nested = sum(isinstance(value, (list, dict)) for value in values)
    if 2 * nested > sum(value is not None for value in values):
        return pa.nulls(len(values), pa.struct([]))
    # A list or an object among plain values makes a bad row, not another column.
    return pa.array(
        [
            None if isinstance(v, (list, dict, type(None))) else v if isinstance(v, str) else json.dumps(v)
            for v in values
        ],
        pa.string(),
    )


def _first_rejects(log: spec.LogSpec) -> int:
    """How many of the first rows are bad."""
    return next((len(block.rejects) for block in readers.read_all(_paths(log), log)), 0)
