"""A comparison as text for a terminal."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluator import sentences
from pipeline.comparing.comparison import Comparison
from schemas import figures
from schemas import text as text_lib


def table(found: Comparison) -> str:
    """The comparison as text for a terminal."""
    lines = [_side("A", found.a), _side("B", found.b)]
    lines += [f"   {key}: {a} -> {b}" for key, a, b in found.differing]
    overall = found.slices[0]
    lines.append(
        f"{overall.windows:,} test {found.noun} of {overall.users:,} users in both; only in A {found.only_a:,}, "
        f"only in B {found.only_b:,}"
        + (f", not in all runs of a side {found.incomplete:,}" if found.incomplete else "")
    )
    lines += found.notes
    header = ("", "A", "B", "B - A", "95 % interval", "p")
    cells: list[tuple[str, ...]] = []
    for part in found.slices:
        title = f"{sentences.slice_name(part.slice)}: {part.windows:,} {found.noun}, {part.users:,} users"
        cells.append((title,))
        for row in part.rows:
            interval = (
                figures.NOTHING
                if row.low is None
                else f"[{figures.signed(row.low)}, {figures.signed(row.high)}]"
            )
            cells.append(
                (
                    f"  {row.metric}",
                    figures.mean(row.a, row.a_sd),
                    figures.mean(row.b, row.b_sd),
                    figures.signed(row.difference),
                    interval,
                    figures.NOTHING if row.p is None else f"{row.p:.4f}",
                )
            )
    widths = [max(len(row[i]) for row in (header, *cells) if len(row) > 1) for i in range(len(header))]
    lines.append("")
    for line in (header, *cells):
        text = "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(line, widths))
        )
        lines.append(line[0] if len(line) == 1 else text.rstrip())
    method = found.method
    lines += ["", f"Interval: {method['interval']}. p: {method['p']}.", small_print(method)]
    # A line break in a name makes no line of its own.
    return "\n".join(map(text_lib.visible, lines))


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
