"""Leaves events out that are equal to an earlier one, shard by shard (`log.duplicates: drop`)."""

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa

from components.behavior_example_gen import duplicates, shards, time_span
from components.behavior_example_gen.stages import files, item_counts, workers
from schemas import names


@dataclasses.dataclass
class DistinctReport:
    """What `log.duplicates: drop` left out; mergeable."""

    dropped: int = 0
    item_counts: list[str] = dataclasses.field(default_factory=list)
    histogram: time_span.TimeHistogram | None = None

    @classmethod
    def merged(cls, reports: Iterable["DistinctReport"]) -> "DistinctReport":
        """Of all shards."""
        reports = list(reports)
        return cls(
            sum(report.dropped for report in reports),
            sorted(path for report in reports for path in report.item_counts),
            time_span.TimeHistogram.merged(
                report.histogram for report in reports if report.histogram is not None
            ),
        )


class _DropDuplicates(beam.DoFn):
    """Brings a shard together, without events that are equal to an earlier one."""

    def __init__(self, shards_at: files.Shards, scratch: str, counts_items: bool):
        self._shards, self._scratch, self._counts_items = shards_at, scratch, counts_items

    def process(self, shard: int) -> Iterator[DistinctReport]:
        table = self._shards.read(shard)
        repeated = duplicates.repeated(table, *shards.order(table))
        left = table.filter(pa.array(~repeated))
        files.write_batches(_path(self._scratch, shard), left.schema, [left])
        counted = []
        if self._counts_items:
            counted = [posixpath.join(self._scratch, f"distinct-items-{shard:06d}.arrow")]
            items = item_counts.of_table(left)
            files.write_batches(counted[0], items.schema, [items])
        yield DistinctReport(
            int(repeated.sum()), counted, time_span.TimeHistogram.of(left.column(names.TIMESTAMP).to_numpy())
        )


def _path(scratch: str, shard: int) -> str:
    return posixpath.join(scratch, f"distinct-{shard:06d}.arrow")


def leave_out(
    shards_at: files.Shards, counts_items: bool, at: workers.Workers
) -> tuple[DistinctReport, files.Shards]:
    """Writes the shards without events that are equal to an earlier one.

    Args:
      shards_at: where they are.
      counts_items: whether to count, anew, how many events each item has.
      at: where this runs.

    Returns:
      How many events these were, and where the rest is.
    """
    work = _DropDuplicates(shards_at, at.scratch, counts_items)
    classes = (DistinctReport, time_span.TimeHistogram)
    report = at.per_shard("DropDuplicates", work, DistinctReport.merged, classes)
    return report, files.Shards(tuple(_path(at.scratch, shard) for shard in range(at.shards)), apart=True)
