"""Leaves events of rare items and users out, shard by shard (`log.filter`)."""

import collections
import dataclasses
import logging
import posixpath
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import shards, spec, time_span
from components.behavior_example_gen.stages import files, item_counts, workers
from schemas import errors, names

_PROGRESS = logging.getLogger("footfall.progress")


@dataclasses.dataclass
class FilterReport:
    """What `log.filter` left out; mergeable."""

    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    histogram: time_span.TimeHistogram | None = None

    @classmethod
    def merged(cls, reports: Iterable["FilterReport"]) -> "FilterReport":
        """Of all shards."""
        reports = list(reports)
        dropped: collections.Counter = collections.Counter()
        for report in reports:
            dropped.update(report.dropped)
        histograms = [report.histogram for report in reports if report.histogram is not None]
        return cls(dict(dropped), time_span.TimeHistogram.merged(histograms) if histograms else None)


class _FilterShard(beam.DoFn):
    """Brings a shard together without the events of rare items and users."""

    def __init__(self, shards_at: files.Shards, kept_items: str, min_user_events: int, scratch: str):
        self._shards, self._kept_path, self._scratch = shards_at, kept_items, scratch
        self._min_user_events = min_user_events

    def setup(self) -> None:
        # From a file: all ids do not belong into the description of a pipeline.
        self._kept = files.read_batch(self._kept_path, 0).column("item").combine_chunks()
        if isinstance(self._kept, pa.ChunkedArray):
            chunks = self._kept.chunks
            self._kept = pa.concat_arrays(chunks) if chunks else pa.array([], pa.binary())

    def process(self, shard: int) -> Iterator[FilterReport]:
        table = self._shards.read(shard)
        left, dropped = shards.drop_rare(table, self._kept, self._min_user_events)
        files.write_batches(_path(self._scratch, shard), left.schema, [left])
        times = left.column(names.TIMESTAMP).to_numpy()
        yield FilterReport(dropped, time_span.TimeHistogram.of(times) if len(times) else None)


def _path(scratch: str, shard: int) -> str:
    return posixpath.join(scratch, f"filtered-{shard:06d}.arrow")


def leave_out(
    rule: spec.FilterSpec, shards_at: files.Shards, counted: Sequence[str], at: workers.Workers
) -> tuple[dict[str, int], time_span.TimeHistogram, files.Shards]:
    """Writes the shards without the events of rare items and users.

    Args:
      rule: what is rare.
      shards_at: where they are.
      counted: files that tell how many events each item has; see `item_counts`.
      at: where this runs.

    Returns:
      What was left out, and when and where the rest is.

    Raises:
      errors.InputError: if nothing is left.
    """
    counts = item_counts.EMPTY
    for place in counted:
        counts = item_counts.added(counts, files.read_batch(place, 0))
    kept = counts.filter(pc.greater_equal(counts.column("events"), rule.min_item_events)).select(["item"])
    kept_path = posixpath.join(at.scratch, "kept-items.arrow")
    files.write_batches(kept_path, kept.schema, [kept])
    work = _FilterShard(shards_at, kept_path, rule.min_user_events, at.scratch)
    found = at.per_shard("FilterShard", work, FilterReport.merged, (FilterReport, time_span.TimeHistogram))
    result = {
        "min_item_events": rule.min_item_events,
        "min_user_events": rule.min_user_events,
        "items": counts.num_rows - kept.num_rows,
        **found.dropped,
    }
    words = (
        f"{result['items']:,} of {counts.num_rows:,} items with fewer than {rule.min_item_events} events and "
        f"{result['users']:,} users with fewer than {rule.min_user_events} left"
    )
    if found.histogram is None:
        raise errors.InputError(f"log.filter leaves nothing of the log: it leaves out {words}")
    _PROGRESS.info("left out %s: %s events", words, f"{result['item_events'] + result['user_events']:,}")
    left = files.Shards(tuple(_path(at.scratch, shard) for shard in range(at.shards)), apart=True)
    return result, found.histogram, left
