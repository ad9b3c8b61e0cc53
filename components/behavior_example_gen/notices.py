"""What a person should know of a log that can be read, for a run, its report and `footfall data describe`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks
from components.behavior_example_gen.reading import columns as columns_lib
from schemas import errors, names

# A user is implausible with so large a share of the events, and so many times those of a user who is busy
# (99th percentile of the others). A word that often stands for nobody needs less.
_SHARE, _TIMES, _TIMES_OF_NOBODY = 0.01, 10, 3
_FEWEST_OTHERS = 5
_NOBODY = frozenset(
    (
        "0",
        "00",
        "-2",
        "-9",
        "-99",
        "-999",
        "99",
        "999",
        "9999",
        "99999",
        "999999",
        "999999999",
        "x",
        "xx",
        "?",
    )
    + ("no", "empty", "blank", "missing", "default", "test", "admin", "bot", "system", "visitor")
    + ("anon", "anonymous", "guest", "unknown", "none", "null", "nil", "na", "n/a", "undefined", "-", "-1")
)


def of_times(found: Mapping[str, Any], log: spec.LogSpec) -> list[str]:
    """What to say of times that are all equal, and of events that are alone in time.

    Args:
      found: `profile.summary` of the log.
    """
    said = []
    if found["lonely"]["events"]:
        shown = ", ".join(f"{moment} of user {user!r}" for moment, user in found["lonely"]["examples"])
        said.append(
            f"{found['lonely']['events']:,} event(s) lie far from all others ({shown}): they are kept, but the log is "
            f"taken to be from {found['start']} to {found['end']}, and labels know nothing of what comes after; "
            f"log.earliest and log.latest leave such events out"
        )
    if found["start"] == found["end"] and found["events"] > 1:
        said.append(
            f"all {found['events']:,} events have one time, {found['start']}, and so the order of the log: is "
            f"{log.columns.timestamp!r} (log.columns.timestamp) the time of an event, and do log.timestamp_unit or "
            f"log.timestamp_format read it as they should"
        )
    return said


def implausible_user(user: str, events: int, histogram: Mapping[int, int]) -> dict[str, Any] | None:
    """Whether one user has so many events that it may stand for nobody.

    Args:
      user, events: the user with the most events, and how many.
      histogram: how many users have how many events, this one with them.

    Returns:
      None, or `user`, `events`, `share` of all events, and `busy`: the events of a busy one of the others.
    """
    sizes = np.fromiter(histogram, np.int64, len(histogram))
    counts = np.fromiter(histogram.values(), np.int64, len(histogram))
    counts[sizes == events] -= 1
    if counts.sum() < _FEWEST_OTHERS:
        return None
    order = np.argsort(sizes)
    reached = np.cumsum(counts[order]) >= 0.99 * counts.sum()
    busy = int(sizes[order][np.argmax(reached)])
    share = events / float((sizes * counts).sum() + events)
    times = _TIMES_OF_NOBODY if user.lower() in _NOBODY or not user.strip("0") else _TIMES
    if share < _SHARE or events < times * busy:
        return None
    return {"user": user, "events": events, "share": share, "busy": busy}


def of_user(found: Mapping[str, Any] | None, log: spec.LogSpec) -> list[str]:
    """A sentence about a user who is implausible, by `implausible_user`."""
    if not found:
        return []
    words = ", ".join(f"'{word}'" for word in (*log.missing.user_id, found["user"]))
    return [
        f"user {found['user']!r} has {found['share']:.1%} of all events ({found['events']:,}; a busy one of the "
        f"others has {found['busy']:,}): if this is no user, set log.missing.user_id: [{words}]"
    ]


def of_duplicates(count: int, events: int, log: spec.LogSpec) -> list[str]:
    """A sentence about events that are equal to another one, if there are any."""
    if not count:
        return []
    done = (
        "they are left out (log.duplicates: drop)"
        if log.duplicates == "drop"
        else "they are kept; log.duplicates: drop leaves them out"
    )
    return [
        f"{count:,} of {events:,} events are equal to an earlier one in all columns that are read: {done}"
    ]


def of_values(notes: Mapping[tuple[str, str], int], log: spec.LogSpec) -> list[str]:
    """Sentences about how ids and other texts are written, by `blocks.Block.notes`."""
    said = {
        blocks.BLANKS: "with blanks around them: they are read without",
        blocks.FLOATS: "of whole numbers written as 17.0: they are read as 17",
        blocks.QUOTES: 'with quotes that belong to them, so that "a" and a are two',
        blocks.INEXACT: "of floats of 2^53 or more, which have lost digits: different values may have become one",
    }
    found = []
    for what, words in said.items():
        parts = [
            f"{count:,} in column {log.columns.wanted()[feature]!r}"
            for feature, count in (
                (feature, notes.get((feature, what), 0)) for feature in log.columns.wanted()
            )
            if count and not _expected(feature, what)
        ]
        if parts:
            found.append(f"values {words} ({', '.join(parts)})")
    for feature in log.columns.wanted():
        if notes.get((feature, blocks.MINUS_ONES)) and log.label_minus_one is None:
            found.append(
                f"-1 is read as no in column {log.columns.wanted()[feature]!r}, which has no 0; "
                f"log.label_minus_one: unknown if it is not known"
            )
    return found


def of_columns(
    notes: Mapping[tuple[str, str], int], log: spec.LogSpec, first: int | None = None
) -> list[str]:
    """A sentence about columns that have no value in the whole log, or in its `first` rows, by `blocks.Block.notes`."""
    empty = [
        f"{column!r} (log.columns.{columns_lib.key(feature, log)})"
        for feature, column in log.columns.wanted().items()
        if feature not in columns_lib.ALWAYS and not notes.get((feature, blocks.VALUES))
    ]
    where = "any row" if first is None else f"the first {first:,} rows"
    return [f"{of_each(empty, 'has', 'have')} no value in {where}"] if empty else []


def of_each(columns: Sequence[str], one: str, several: str) -> str:
    """What one column, or several of them, are said to be.

    >>> of_each(["'a'"], "has", "have"), of_each(["'a'", "'b'"], "has", "have")
    ("column 'a' has", "columns 'a', 'b' have")
    """
    return f"column {columns[0]} {one}" if len(columns) == 1 else f"columns {', '.join(columns)} {several}"


def _expected(feature: str, what: str) -> bool:
    """Whether this is nothing to tell: attributes may be numbers or quotations, inexact ids are bad rows."""
    is_id = feature in (names.USER_ID, names.ITEM_ID)
    return is_id if what == blocks.INEXACT else not is_id and what in (blocks.QUOTES, blocks.FLOATS)


def check_labels(notes: Mapping[tuple[str, str], int], log: spec.LogSpec) -> None:
    """Checks that -1 in a column of labels can only mean one thing.

    Raises:
      errors.InputError: if a column has 0, too, and no setting says what -1 is.
    """
    if log.label_minus_one is not None:
        return
    for feature, column in log.columns.wanted().items():
        zeros, minus_ones = notes.get((feature, blocks.ZEROS), 0), notes.get((feature, blocks.MINUS_ONES), 0)
        if zeros and minus_ones:
            raise errors.InputError(
                f"{log.path}: column {column!r} (log.columns.{columns_lib.key(feature, log)}) has {zeros:,} x 0 and "
                f"{minus_ones:,} x -1: set log.label_minus_one: no, or unknown where -1 is a label that is not known"
            )
