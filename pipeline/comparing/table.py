"""A comparison as text for a terminal."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluator import sentences
from pipeline.comparing import rows
from pipeline.comparing.comparison import Comparison
from schemas import figures
from schemas import text as text_lib

_HEADER = ("", "A", "B", "B - A", "95 % interval", "p")


def table(found: Comparison, full: bool = False) -> str:
    """The comparison as text for a terminal.

    Args:
      found: of `comparison.compare`.
      full: every metric of each slice; else every metric of all examples, and the main one of each slice.
    """
    lines = [_side("A", found.a), _side("B", found.b)]
    lines += [f"   {key}: {a} -> {b}" for key, a, b in found.differing]
    overall, *others = found.slices
    lines.append(
        f"{overall.windows:,} test {found.noun} of {overall.users:,} users in both; only in A {found.only_a:,}, "
        f"only in B {found.only_b:,}"
        + (f", not in all runs of a side {found.incomplete:,}" if found.incomplete else "")
    )
    lines += [*found.notes, "", *_aligned(_all_rows(found.slices, found.noun) if full else _few_rows(found))]
    method = found.method
    lines += ["", f"Interval: {method['interval']}. p: {method['p']}.", small_print(method)]
    if others and not full:
        lines.append("--full prints every metric of each slice.")
    # A line break in a name makes no line of its own.
    return "\n".join(map(text_lib.visible, lines))


def _all_rows(slices: Sequence[rows.SliceRows], noun: str) -> list[tuple[str, ...]]:
    """Each slice's title, and its metrics below it."""
    found: list[tuple[str, ...]] = []
    for part in slices:
        title = f"{sentences.slice_name(part.slice)}: {part.windows:,} {noun}, {part.users:,} users"
        found.append((title,))
        found += [_cells(row.metric, row) for row in part.rows]
    return found


def _few_rows(found: Comparison) -> list[tuple[str, ...]]:
    """All metrics of all examples, and the main metric of each slice."""
    overall, *others = found.slices
    lines = _all_rows([overall], found.noun)
    if others:
        lines.append((f"{found.main} by slice",))
    for part in others:
        main = next(row for row in part.rows if row.metric == found.main)
        lines.append(_cells(f"{sentences.slice_name(part.slice)} ({part.users:,} users)", main))
    return lines


def _cells(title: str, row: rows.Row) -> tuple[str, ...]:
    known = row.low is not None
    return (
        f"  {title}",
        figures.mean(row.a, row.a_sd),
        figures.mean(row.b, row.b_sd),
        figures.signed(row.difference),
        f"[{figures.signed(row.low)}, {figures.signed(row.high)}]" if known else figures.NOTHING,
        figures.NOTHING if row.p is None else f"{row.p:.4f}",
    )


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines below their header, in columns; a line of one cell is a title."""
    lines = [_HEADER, *lines]
    widths = [max(len(line[i]) for line in lines if len(line) > 1) for i in range(len(_HEADER))]
    return [
        line[0]
        if len(line) == 1
        else "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]


def small_print(method: Mapping[str, Any]) -> str:
    """How the numbers were made, in a sentence."""
    groups = f"users in {method['groups_of_users']:,} random groups, " if method["groups_of_users"] else ""
    return (
        f"{groups}{method['resamples']:,} resamples, seed {method['seed']}; p is not corrected for the number of "
        f"rows."
    )


def _side(name: str, folders: Sequence[str]) -> str:
    return f"{name}: {side_name(folders)}" + (f" ({len(folders)} runs)" if len(folders) > 1 else "")


def side_name(folders: Sequence[str]) -> str:
    """The runs of a side in few words: what they share is said once."""
    parents = {os.path.dirname(os.path.normpath(folder)) for folder in folders}
    if len(folders) == 1 or len(parents) > 1:
        return ", ".join(folders)
    return f"{parents.pop()}: {', '.join(os.path.basename(os.path.normpath(folder)) for folder in folders)}"
