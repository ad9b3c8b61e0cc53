"""What is said of a log of which too many rows are bad."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.behavior_example_gen import spec
from schemas import names

# How many bad rows a message shows.
_SHOWN_REJECTS = 3
# How the reason of a row without a user begins.
_NO_USER = f"missing {names.USER_ID}"


def too_many_rejects(summary: Mapping[str, Any], rows_of: Mapping[str, int], log: spec.LogSpec) -> str:
    """What is wrong with a log of which more rows are bad than allowed, and the line that lets it pass.

    Args:
      summary: what `summary.json` of the rejected rows holds.
      rows_of: the number of rows of each file.
    """
    rows, rejected = summary["rows"], summary["rejected"]
    reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary["by_reason"].items())
    bad, where = summary["by_file"], ""
    if len(bad) < len(rows_of):
        wholly = sum(count == rows_of[file] for file, count in bad.items())
        where = f" They are in {len(bad):,} of {len(rows_of):,} files" + (
            f", {wholly:,} wholly bad." if wholly else "."
        )
    found = (
        f"{log.path}: {rejected:,} of {rows:,} rows ({summary['share']:.1%}) are bad, log.max_rejected_share allows "
        f"{log.max_rejected_share:.1%}: {reasons}.{where} For example {_examples(summary['examples'])}."
    )
    if rejected == rows:
        return found
    without_user = sum(n for reason, n in summary["by_reason"].items() if reason.startswith(_NO_USER))
    why = "If they may be left out"
    if 2 * without_user > rejected:
        why = "Events without a user are normal where guests need no account, as in shops. If they may be left out"
    # Rounded up, so that the line is enough.
    share = -(-100 * rejected // rows) / 100
    return f"{found} {why}, this line lets the log pass: log: {{max_rejected_share: {share:g}}}"


def _examples(rejects: Sequence[Mapping[str, Any]]) -> str:
    """Some bad rows; a file is named once, however many of its rows are bad."""
    of: dict[str, list[Mapping[str, Any]]] = {}
    for reject in rejects:
        of.setdefault(reject["file"], []).append(reject)
    # As many files as can be, and of each as many rows as are left to show.
    files = list(of)[:_SHOWN_REJECTS]
    rows = -(-_SHOWN_REJECTS // max(1, len(files)))
    return "; ".join(
        f"{file} "
        + ", ".join(
            ("" if r["row"] < 1 else f"row {r['row']}: ") + f"{r['reason']} ({r['value']!r})"
            for r in of[file][:rows]
        )
        for file in files
    )
