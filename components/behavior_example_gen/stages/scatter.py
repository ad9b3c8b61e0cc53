"""The first stage: reads the log, sets bad rows aside, and scatters good ones to shards of users."""

import collections
import contextlib
import dataclasses
import logging
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms import window as beam_window
from apache_beam.utils import windowed_value
from tfx.dsl.io import fileio

from components.behavior_example_gen import readers, shards, spec, time_span
from components.behavior_example_gen.reading import blocks
from components.behavior_example_gen.reading import files as log_files
from components.behavior_example_gen.stages import files, item_counts, workers
from schemas import names

_SCATTER_ROWS = 1 << 19
_HISTOGRAMS = 16
_REJECT_EXAMPLES = 20
_PROGRESS = logging.getLogger("footfall.progress")


@dataclasses.dataclass
class ReadReport:
    """What a bundle of this stage did; mergeable."""

    scattered: list[str] = dataclasses.field(default_factory=list)
    item_counts: list[str] = dataclasses.field(default_factory=list)
    histogram: time_span.TimeHistogram | None = None
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: list[blocks.Reject] = dataclasses.field(default_factory=list)
    notes: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    @classmethod
    def merged(cls, reports: Iterable["ReadReport"]) -> "ReadReport":
        """What all bundles did."""
        total, histograms = cls(), []
        for report in reports:
            total.scattered.extend(report.scattered)
            total.item_counts.extend(report.item_counts)
            if report.histogram is not None:
                histograms.append(report.histogram)
            counts: tuple[tuple[dict[Any, int], dict[Any, int]], ...] = (
                (total.rows, report.rows),
                (total.rejected, report.rejected),
                (total.reasons, report.reasons),
                (total.notes, report.notes),
            )
            for mine, other in counts:
                for key, value in other.items():
                    mine[key] = mine.get(key, 0) + value
            total.examples.extend(report.examples)
        if histograms:
            total.histogram = time_span.TimeHistogram.merged(histograms)
        total.scattered.sort()
        total.examples = _chosen(total.examples)
        return total


def _chosen(rejects: Iterable[blocks.Reject]) -> list[blocks.Reject]:
    """Some bad rows to show, of as many files as can be: a wholly bad one does not hide the others."""
    before: collections.Counter = collections.Counter()
    ranked = []
    for reject in sorted(rejects, key=lambda r: (r.file, r.row)):
        ranked.append((before[reject.file], reject))
        before[reject.file] += 1
    ranked.sort(key=lambda found: found[0])
    return sorted((reject for _, reject in ranked[:_REJECT_EXAMPLES]), key=lambda r: (r.file, r.row))


class _ReadAndScatter(beam.DoFn):
    """Reads sources, and writes their good rows to one Arrow file with a record batch a shard.

    With `log.filter` it writes how many events each item has, too, an Arrow file a bundle.
    """

    def __init__(self, log: spec.LogSpec, shards: int, scratch: str, rejected: str):
        self._log, self._shards, self._scratch, self._rejected = log, shards, scratch, rejected

    def start_bundle(self) -> None:
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._report = ReadReport()
        self._items = item_counts.EMPTY
        self._histograms: list[time_span.TimeHistogram] = []
        self._name = ""

    def process(self, source: log_files.Source) -> Iterator[Any]:
        # A bundle that is tried again writes the same names: nothing is there twice.
        self._name = self._name or f"{source.index:06d}-{source.row_group or 0:06d}"
        self._report.rows.setdefault(source.path, 0)
        with contextlib.ExitStack() as stack:
            rejected = None
            for block in readers.read(source, self._log):
                self._report.rows[source.path] += block.rows
                for key, count in block.notes.items():
                    self._report.notes[key] = self._report.notes.get(key, 0) + count
                if block.rejects:
                    rejected = rejected or stack.enter_context(fileio.open(self._rejected_path(source), "w"))
                    rejected.write("".join(reject.to_json() + "\n" for reject in block.rejects))
                    self._count(source, block.rejects)
                if block.batch.num_rows:
                    self._keep(source, block.batch)
        return iter(())

    def _keep(self, source: log_files.Source, batch: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([batch])
        file = pa.array(np.full(table.num_rows, source.index, np.int32))
        self._tables.append(table.append_column(blocks.FILE, file))
        self._rows += table.num_rows
        # What is left of a filter and of duplicates is counted there.
        if not self._log.filter and self._log.duplicates == "keep":
            self._histograms.append(time_span.TimeHistogram.of(table.column(names.TIMESTAMP).to_numpy()))
            # One has megabytes, and a bundle as many blocks as the log.
            if len(self._histograms) > _HISTOGRAMS:
                self._histograms = [time_span.TimeHistogram.merged(self._histograms)]
        if self._rows >= _SCATTER_ROWS:
            self._flush()

    def _rejected_path(self, source: log_files.Source) -> str:
        name = f"rejected-{source.index:06d}-{source.row_group or 0:06d}.jsonl"
        return posixpath.join(self._rejected, name)

    def _count(self, source: log_files.Source, rejects: list[blocks.Reject]) -> None:
        report = self._report
        report.rejected[source.path] = report.rejected.get(source.path, 0) + len(rejects)
        for reject in rejects:
            reason = blocks.kind(reject.reason)
            report.reasons[reason] = report.reasons.get(reason, 0) + 1
        report.examples = _chosen(report.examples + rejects[:_REJECT_EXAMPLES])

    def _flush(self) -> None:
        if not self._tables:
            return
        table = pa.concat_tables(self._tables).combine_chunks()
        if self._log.filter:
            self._items = item_counts.added(self._items, item_counts.of_table(table))
        ids = table.column(names.USER_ID).combine_chunks()
        if isinstance(ids, pa.ChunkedArray):
            ids = pa.concat_arrays(ids.chunks)
        shard = shards.hash_ids(ids) % np.uint64(self._shards)
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], np.arange(self._shards + 1, dtype=np.uint64))
        table = table.take(pa.array(order)).combine_chunks()
        path = posixpath.join(self._scratch, f"scatter-{self._name}-{len(self._report.scattered):06d}.arrow")
        files.write_batches(
            path,
            table.schema,
            (table.slice(bounds[s], bounds[s + 1] - bounds[s]) for s in range(self._shards)),
        )
        self._report.scattered.append(path)
        self._tables, self._rows = [], 0

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        self._flush()
        if self._items.num_rows:
            path = posixpath.join(self._scratch, f"items-{self._name}.arrow")
            files.write_batches(path, self._items.schema, [self._items])
            self._report.item_counts.append(path)
        if self._histograms:
            self._report.histogram = time_span.TimeHistogram.merged(self._histograms)
        yield windowed_value.WindowedValue(
            self._report, beam_window.GlobalWindow().max_timestamp(), [beam_window.GlobalWindow()]
        )


def read(log: spec.LogSpec, paths: Sequence[str], rejected: str, at: workers.Workers) -> ReadReport:
    """Reads a log, and writes its good rows to files with a batch for each shard.

    Args:
      paths: of its files.
      rejected: the folder of the bad rows.
      at: where this runs.

    Raises:
      errors.InputError: if there is no file, or the columns are not those of the spec.
    """
    work = _ReadAndScatter(log, at.shards, at.scratch, rejected)
    sources = readers.sources(paths, log)
    _PROGRESS.info("reading %d file(s)", len({s.path for s in sources}))
    return at.gather(
        lambda pipeline: (
            pipeline
            | "Sources" >> beam.Create(sources)
            | "Spread" >> beam.Reshuffle()
            | "ReadAndScatter" >> beam.ParDo(work)
        ),
        ReadReport.merged,
        (ReadReport, time_span.TimeHistogram, blocks.Reject),
    )
