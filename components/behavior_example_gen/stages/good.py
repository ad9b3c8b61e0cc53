"""The good rows of a log in shards of users, without what `log.duplicates` and `log.filter` leave out."""

import dataclasses
import json
import logging
import posixpath
from collections.abc import Sequence
from typing import Any

from components.behavior_example_gen import checks, notices, spec, time_span
from components.behavior_example_gen.stages import distinct, files, rare, scatter, workers
from schemas import errors

_PROGRESS = logging.getLogger("footfall.progress")


@dataclasses.dataclass(frozen=True)
class Good:
    """The good rows, and what was set aside or left out.

    Attributes:
      report: of the reading.
      summary: of the bad rows, as `summary.json` holds it.
      shards: where the rest is.
      histogram: when its events are.
      duplicates: how many events were equal to an earlier one.
      filtered: what `log.filter` left out; None without one.
    """

    report: scatter.ReadReport
    summary: dict[str, Any]
    shards: files.Shards
    histogram: time_span.TimeHistogram | None
    duplicates: int = 0
    filtered: dict[str, int] | None = None


def read(log: spec.LogSpec, paths: Sequence[str], rejected_uri: str, at: workers.Workers) -> Good:
    """Reads a log, sets its bad rows aside, and leaves out what `log.duplicates` and then `log.filter` ask to.

    Args:
      log: with its range of times (`times.bounded`).
      paths: of its files.
      rejected_uri: the folder of the bad rows and their summary.
      at: where this runs.

    Raises:
      errors.InputError: if there is no file, the columns are not those of the spec, more rows than allowed are bad,
        no row is good, labels are not clear, or nothing is left.
    """
    report = scatter.read(log, paths, rejected_uri, at)
    summary = _check_rejects(report, log, rejected_uri)
    if not report.scattered:
        raise errors.InputError(f"{log.path}: none of the {sum(report.rows.values()):,} rows is good")
    notices.check_labels(report.notes, log)
    left = Good(report, summary, files.Shards(tuple(report.scattered)), report.histogram)
    counted = report.item_counts
    if log.duplicates == "drop":
        found, shards_at = distinct.leave_out(left.shards, bool(log.filter), at)
        counted = found.item_counts
        left = dataclasses.replace(
            left, shards=shards_at, histogram=found.histogram, duplicates=found.dropped
        )
    if log.filter:
        filtered, histogram, shards_at = rare.leave_out(log.filter, left.shards, counted, at)
        left = dataclasses.replace(left, shards=shards_at, histogram=histogram, filtered=filtered)
    return left


def _check_rejects(report: scatter.ReadReport, log: spec.LogSpec, rejected_uri: str) -> dict[str, Any]:
    rows, rejected = sum(report.rows.values()), sum(report.rejected.values())
    summary: dict[str, Any] = {
        "rows": rows,
        "rejected": rejected,
        "share": rejected / rows if rows else 0.0,
        "by_reason": dict(sorted(report.reasons.items(), key=lambda kv: -kv[1])),
        "by_file": report.rejected,
        "empty_files": sorted(path for path, count in report.rows.items() if not count),
        "examples": [dataclasses.asdict(r) for r in report.examples],
    }
    files.write(
        posixpath.join(rejected_uri, "summary.json"), json.dumps(summary, indent=1, ensure_ascii=False)
    )
    for path in summary["empty_files"]:
        _PROGRESS.warning("%s has no rows", path)
    if not rows:
        raise errors.InputError(f"{log.path}: no rows in {len(report.rows)} file(s)")
    if rejected:
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary["by_reason"].items())
        if summary["share"] > log.max_rejected_share:
            raise errors.InputError(checks.too_many_rejects(summary, report.rows, log))
        _PROGRESS.warning("%s of %s rows set aside: %s", f"{rejected:,}", f"{rows:,}", reasons)
    return summary
