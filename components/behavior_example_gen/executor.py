"""From the files of a log to windowed examples: Beam pipelines over Arrow files.

The first reads blocks, sets bad rows aside and scatters the good ones to shards of users:
one Arrow file a block, one record batch a shard in it. The second brings a shard together,
sorts it, counts, and cuts its windows. Between them, `log.filter` leaves events of rare items
and users out, shard by shard. Data move through files of the component's temporary
folder, so memory is bounded by a block and a shard, whatever the runner holds in memory.
"""

import collections
import contextlib
import dataclasses
import json
import logging
import posixpath
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam.io import filesystems
from apache_beam.transforms import window as beam_window
from apache_beam.utils import windowed_value
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx_bsl.coders import example_coder

from components.behavior_example_gen import (
    checks,
    duplicates,
    fingerprint,
    gathered,
    notices,
    profile,
    readers,
    shards,
    slices,
    spans,
    spec,
    splits,
    time_span,
    windows,
)
from components.behavior_example_gen.reading import blocks, files, times
from components.behavior_example_gen.windows import kind
from schemas import errors, names

_SCATTER_ROWS = 1 << 19
_REJECT_EXAMPLES = 20
# Windows are written once and read once or twice: speed is worth more than the last tenth in size.
_COMPRESSION = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
_PROGRESS = logging.getLogger("footfall.progress")


@dataclasses.dataclass
class _ReadReport:
    """What a bundle of the first pipeline did."""

    scattered: list[str] = dataclasses.field(default_factory=list)
    item_counts: list[str] = dataclasses.field(default_factory=list)
    histogram: time_span.TimeHistogram | None = None
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: list[blocks.Reject] = dataclasses.field(default_factory=list)
    notes: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    @classmethod
    def merged(cls, reports: Iterable["_ReadReport"]) -> "_ReadReport":
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
        self._report = _ReadReport()
        self._items = _EMPTY_COUNTS
        self._histograms: list[time_span.TimeHistogram] = []
        self._name = ""

    def process(self, source: files.Source) -> Iterator[Any]:
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

    def _keep(self, source: files.Source, batch: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([batch])
        file = pa.array(np.full(table.num_rows, source.index, np.int32))
        self._tables.append(table.append_column(blocks.FILE, file))
        self._rows += table.num_rows
        # What is left of a filter and of duplicates is counted there.
        if not self._log.filter and self._log.duplicates == "keep":
            self._histograms.append(time_span.TimeHistogram.of(table.column(names.TIMESTAMP).to_numpy()))
        if self._rows >= _SCATTER_ROWS:
            self._flush()

    def _rejected_path(self, source: files.Source) -> str:
        name = f"rejected-{source.index:06d}-{source.row_group or 0:06d}.jsonl"
        return posixpath.join(self._rejected, name)

    def _count(self, source: files.Source, rejects: list[blocks.Reject]) -> None:
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
            self._items = _added(self._items, _item_counts(table))
        ids = table.column(names.USER_ID).combine_chunks()
        if isinstance(ids, pa.ChunkedArray):
            ids = pa.concat_arrays(ids.chunks)
        shard = shards.hash_ids(ids) % np.uint64(self._shards)
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], np.arange(self._shards + 1, dtype=np.uint64))
        table = table.take(pa.array(order)).combine_chunks()
        path = posixpath.join(self._scratch, f"scatter-{self._name}-{len(self._report.scattered):06d}.arrow")
        _write_batches(
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
            _write_batches(path, self._items.schema, [self._items])
            self._report.item_counts.append(path)
        if self._histograms:
            self._report.histogram = time_span.TimeHistogram.merged(self._histograms)
        yield windowed_value.WindowedValue(
            self._report, beam_window.GlobalWindow().max_timestamp(), [beam_window.GlobalWindow()]
        )


@dataclasses.dataclass(frozen=True)
class _Shards:
    """Where the events of each shard are: a batch of every file, or (`apart`) all of a file of its own."""

    paths: tuple[str, ...]
    apart: bool = False

    def read(self, shard: int) -> pa.Table:
        if self.apart:
            return _read_batch(self.paths[shard], 0)
        return pa.concat_tables([_read_batch(path, shard) for path in self.paths])


@dataclasses.dataclass
class _DistinctReport:
    """What `log.duplicates: drop` left out; mergeable."""

    dropped: int = 0
    item_counts: list[str] = dataclasses.field(default_factory=list)
    histogram: time_span.TimeHistogram | None = None

    @classmethod
    def merged(cls, reports: Iterable["_DistinctReport"]) -> "_DistinctReport":
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

    def __init__(self, shards_at: _Shards, scratch: str, counts_items: bool):
        self._shards, self._scratch, self._counts_items = shards_at, scratch, counts_items

    def process(self, shard: int) -> Iterator[_DistinctReport]:
        table = self._shards.read(shard)
        repeated = duplicates.repeated(table, *shards.order(table))
        left = table.filter(pa.array(~repeated))
        _write_batches(_distinct_path(self._scratch, shard), left.schema, [left])
        counted = []
        if self._counts_items:
            counted = [posixpath.join(self._scratch, f"distinct-items-{shard:06d}.arrow")]
            items = _item_counts(left)
            _write_batches(counted[0], items.schema, [items])
        yield _DistinctReport(
            int(repeated.sum()), counted, time_span.TimeHistogram.of(left.column(names.TIMESTAMP).to_numpy())
        )


def _distinct_path(scratch: str, shard: int) -> str:
    return posixpath.join(scratch, f"distinct-{shard:06d}.arrow")


@dataclasses.dataclass
class _FilterReport:
    """What `log.filter` left out; mergeable."""

    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    histogram: time_span.TimeHistogram | None = None

    @classmethod
    def merged(cls, reports: Iterable["_FilterReport"]) -> "_FilterReport":
        reports = list(reports)
        dropped: collections.Counter = collections.Counter()
        for report in reports:
            dropped.update(report.dropped)
        histograms = [report.histogram for report in reports if report.histogram is not None]
        return cls(dict(dropped), time_span.TimeHistogram.merged(histograms) if histograms else None)


class _FilterShard(beam.DoFn):
    """Brings a shard together without the events of rare items and users."""

    def __init__(self, shards_at: _Shards, kept_items: str, min_user_events: int, scratch: str):
        self._shards, self._kept_path, self._scratch = shards_at, kept_items, scratch
        self._min_user_events = min_user_events

    def setup(self) -> None:
        # From a file: all ids do not belong into the description of a pipeline.
        self._kept = _read_batch(self._kept_path, 0).column("item").combine_chunks()
        if isinstance(self._kept, pa.ChunkedArray):
            chunks = self._kept.chunks
            self._kept = pa.concat_arrays(chunks) if chunks else pa.array([], pa.binary())

    def process(self, shard: int) -> Iterator[_FilterReport]:
        table = self._shards.read(shard)
        left, dropped = shards.drop_rare(table, self._kept, self._min_user_events)
        _write_batches(_filtered_path(self._scratch, shard), left.schema, [left])
        times = left.column(names.TIMESTAMP).to_numpy()
        yield _FilterReport(dropped, time_span.TimeHistogram.of(times) if len(times) else None)


def _filtered_path(scratch: str, shard: int) -> str:
    return posixpath.join(scratch, f"filtered-{shard:06d}.arrow")


_EMPTY_COUNTS = pa.table({"item": pa.array([], pa.binary()), "events": pa.array([], pa.int64())})


def _item_counts(table: pa.Table) -> pa.Table:
    counted = pc.value_counts(table.column(names.ITEM_ID))
    return pa.table({"item": counted.field("values"), "events": counted.field("counts")})


def _added(*counts: pa.Table) -> pa.Table:
    """Adds numbers of events up by item."""
    total = pa.concat_tables(counts).group_by("item").aggregate([("events", "sum")])
    return total.select(["item", "events_sum"]).rename_columns(["item", "events"])


class _SortShard(beam.DoFn):
    """Brings a shard together, sorts it, gives every event its role, and counts."""

    COUNTS = "counts"

    def __init__(
        self,
        shards_at: _Shards,
        split: spec.SplitSpec,
        cuts: splits.Cuts | None,
        bulk: time_span.Bulk,
        scratch: str,
    ):
        self._shards, self._split, self._cuts, self._scratch = shards_at, split, cuts, scratch
        self._bulk = bulk

    def process(self, shard: int) -> Iterator[Any]:
        table = self._shards.read(shard)
        if not table.num_rows:
            return
        events = shards.sort_events(table, self._split, self._cuts)
        yield beam.pvalue.TaggedOutput(self.COUNTS, profile.count(events, self._bulk))
        path = posixpath.join(self._scratch, f"sorted-{shard:06d}.arrow")
        _write_batches(path, events.table.schema, [pa.Table.from_batches([events.table])])
        yield shard, path


class _CutShard(beam.DoFn):
    """Cuts a shard's windows and writes them, a file a split; tells how many."""

    def __init__(self, window: kind.WindowSettings, cuts: splits.Cuts | None, examples_uri: str):
        self._window, self._cuts, self._examples_uri = window, cuts, examples_uri

    def process(
        self, shard_and_path: tuple[int, str], popularity: slices.Popularity, end: int | None
    ) -> Iterator[dict[Hashable, int]]:
        # There is no end where there are no events, so nor a shard.
        assert end is not None
        shard, path = shard_and_path
        batch = _read_batch(path, 0).combine_chunks().to_batches()[0]
        users = batch.column(batch.schema.get_field_index(names.USER_ID))
        changes = np.flatnonzero(pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)) + 1
        events = shards.Events(batch, np.concatenate([[0], changes, [len(users)]]).astype(np.int64))
        written: collections.Counter = collections.Counter()
        writers: dict[str, tf.io.TFRecordWriter] = {}
        encoder = None
        try:
            for split, windowed, counted in self._cut(events, popularity, end):
                written.update(counted)
                if windowed is None:
                    continue
                if split not in writers:
                    writers[split] = tf.io.TFRecordWriter(self._path(split, shard) + ".partial", _COMPRESSION)
                encoder = encoder or example_coder.RecordBatchToExamplesEncoder(None)
                for example in encoder.encode(windowed):
                    writers[split].write(example)
                written[split] += windowed.num_rows
        finally:
            for writer in writers.values():
                writer.close()
        for split in writers:
            tf.io.gfile.rename(
                self._path(split, shard) + ".partial", self._path(split, shard), overwrite=True
            )
        yield dict(written)

    def _cut(self, events: shards.Events, popularity: slices.Popularity, end: int) -> Iterator[Any]:
        context = kind.Context(popularity, self._cuts, end)
        return windows.get(self._window.kind).cut(events, self._window, context)

    def _path(self, split: str, shard: int) -> str:
        folder = _split_uri(self._examples_uri, split)
        return posixpath.join(folder, f"windows-{shard:06d}.gz")


def _split_uri(examples_uri: str, split: str) -> str:
    """The folder that TFX gives to a split of an Examples artifact."""
    return posixpath.join(examples_uri, f"Split-{split}")


def _write(path: str, text: str) -> None:
    with fileio.open(path, "w") as stream:
        stream.write(text)


def _write_batches(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with filesystems.FileSystems.create(path) as stream:
        with pa.ipc.new_file(stream, schema, options=options) as writer:
            for table in tables:
                table = table.combine_chunks()
                batches = table.to_batches() or [
                    pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
                ]
                writer.write_batch(batches[0])


def _read_batch(path: str, index: int) -> pa.Table:
    with filesystems.FileSystems.open(path) as stream:
        return pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(index)])


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of BehaviorExampleGen."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Windows a log; see `component.BehaviorExampleGen` for inputs and outputs.

        Raises:
          errors.InputError: if the log does not fit its spec, more rows than allowed are
            bad, a split would be empty, or a file changes while it is read.
        """
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        rejected = artifact_utils.get_single_instance(output_dict["rejected"])
        profiled = artifact_utils.get_single_instance(output_dict["profile"])
        span = exec_properties.get(example_gen_utils.SPAN_PROPERTY_NAME)
        log = spec.LogSpec.from_json(exec_properties["log"])
        with fingerprint.unchanged(spans.find(log.path, log.spans, span)):
            run(
                log=log,
                window=windows.read(exec_properties["window"]),
                split=spec.SplitSpec.from_json(exec_properties["split"]),
                span=span,
                examples_uri=examples.uri,
                rejected_uri=rejected.uri,
                profile_uri=profiled.uri,
                scratch=posixpath.join(self._get_tmp_dir(), "windowing"),
                make_pipeline=self._make_beam_pipeline,
            )
        examples.split_names = artifact_utils.encode_split_names(list(names.SPLITS))
        # TFX's driver sets a custom property; what is made of the examples asks for the plain one.
        examples.span = int(span or 0)
        examples_utils.set_payload_format(
            examples, exec_properties[standard_component_specs.OUTPUT_DATA_FORMAT_KEY]
        )
        examples_utils.set_file_format(examples, "tfrecords_gzip")


def run(
    *,
    log: spec.LogSpec,
    window: kind.WindowSettings,
    split: spec.SplitSpec,
    span: int | None,
    examples_uri: str,
    rejected_uri: str,
    profile_uri: str,
    scratch: str,
    make_pipeline: Any,
) -> dict[str, Any]:
    """Reads a log and writes its windows, its bad rows and its profile; returns the profile.

    Args:
      span: the newest span to read, where the path has `{SPAN}`.
      scratch: a folder for the files between the pipelines; removed at the end.
      make_pipeline: makes a Beam pipeline.

    Raises:
      errors.InputError: see `Executor.Do`.
    """
    window_kind = windows.get(window.kind)
    window_kind.check(window, log, split)
    split = window_kind.split(window, split)
    # Else each worker would go by its own clock.
    log = times.bounded(log)
    for folder in [rejected_uri, profile_uri, scratch, *(_split_uri(examples_uri, s) for s in names.SPLITS)]:
        fileio.makedirs(folder)
    try:
        report = _read(log, window, span, scratch, rejected_uri, make_pipeline)
        summary = _check_rejects(report, log, rejected_uri)
        if not report.scattered:
            raise errors.InputError(f"{log.path}: none of the {summary['rows']:,} rows is good")
        notices.check_labels(report.notes, log)
        shards_at = _Shards(tuple(report.scattered))
        histogram, item_counts, dropped, filtered = report.histogram, report.item_counts, 0, None
        if log.duplicates == "drop":
            distinct = _distinct(shards_at, window.shards, bool(log.filter), scratch, make_pipeline)
            histogram, item_counts, dropped = distinct.histogram, distinct.item_counts, distinct.dropped
            shards_at = _Shards(tuple(_distinct_path(scratch, s) for s in range(window.shards)), apart=True)
        if log.filter:
            filtered, histogram = _filter(
                log.filter, shards_at, item_counts, window.shards, scratch, make_pipeline
            )
            shards_at = _Shards(tuple(_filtered_path(scratch, s) for s in range(window.shards)), apart=True)
        cuts = _cuts(split, histogram, window)
        bulk = histogram.bulk() if histogram else time_span.EVERYTHING
        counts, written = _window(shards_at, window, split, cuts, bulk, examples_uri, scratch, make_pipeline)
    finally:
        if fileio.exists(scratch):
            fileio.rmtree(scratch)
    window_kind.check_written(window, written, split, cuts, counts)
    summary_of_kind = window_kind.summary(window, written)
    result = profile.summary(counts)
    result.update(
        rows=summary["rows"],
        rejected=summary["rejected"],
        duplicates=dropped + counts.duplicates,
        filter=filtered,
        windows={name: written.get(name, 0) for name in (*names.SPLITS, "dropped")},
        **summary_of_kind,
        split={"eval_from": profile.moment(cuts.eval_from), "test_from": profile.moment(cuts.test_from)}
        if cuts
        else None,
    )
    events = summary["rows"] - summary["rejected"] if dropped else counts.events
    result["notices"] = [
        *notices.of_times(result, log),
        *notices.of_values(report.notes, log),
        *notices.of_duplicates(result["duplicates"], events, log),
        *notices.of_user(result["implausible_user"], log),
    ]
    _write(posixpath.join(profile_uri, "profile.json"), json.dumps(result, indent=1, ensure_ascii=False))
    _PROGRESS.info(
        "%s events of %s users on %s items, %s to %s; windows: %s",
        f"{result['events']:,}",
        f"{result['users']:,}",
        f"{result['items']:,}",
        result["start"],
        result["end"],
        ", ".join(f"{name} {written.get(name, 0):,}" for name in names.SPLITS),
    )
    window_kind.tell(window, summary_of_kind, written)
    for sentence in result["notices"]:
        _PROGRESS.warning("%s", sentence)
    return result


def _read(
    log: spec.LogSpec,
    window: kind.WindowSettings,
    span: int | None,
    scratch: str,
    rejected: str,
    make_pipeline: Any,
) -> _ReadReport:
    sources = readers.find_sources(spans.find(log.path, log.spans, span), log)
    _PROGRESS.info("reading %d file(s)", len({s.path for s in sources}))
    return _gather(
        make_pipeline,
        scratch,
        lambda pipeline: (
            pipeline
            | "Sources" >> beam.Create(sources)
            | "Spread" >> beam.Reshuffle()
            | "ReadAndScatter" >> beam.ParDo(_ReadAndScatter(log, window.shards, scratch, rejected))
        ),
        _ReadReport.merged,
    )


def _per_shard(shards: int, name: str, work: beam.DoFn, scratch: str, make_pipeline: Any, merge: Any) -> Any:
    """Does some work on each shard, and merges what comes of it."""
    return _gather(
        make_pipeline,
        scratch,
        lambda pipeline: (
            pipeline
            | "Shards" >> beam.Create(list(range(shards)))
            | "Spread" >> beam.Reshuffle()
            | name >> beam.ParDo(work)
        ),
        merge,
    )


def _distinct(
    shards_at: _Shards, shards: int, counts_items: bool, scratch: str, make_pipeline: Any
) -> _DistinctReport:
    """Writes the shards without events that are equal to an earlier one; tells how many these were."""
    work = _DropDuplicates(shards_at, scratch, counts_items)
    return _per_shard(shards, "DropDuplicates", work, scratch, make_pipeline, _DistinctReport.merged)


def _filter(
    rule: spec.FilterSpec,
    shards_at: _Shards,
    item_counts: Sequence[str],
    shards: int,
    scratch: str,
    make_pipeline: Any,
) -> tuple[dict[str, int], time_span.TimeHistogram]:
    """Writes the shards without rare items and users; tells what was left out, and the times of the rest.

    Raises:
      errors.InputError: if nothing is left.
    """
    counts = _EMPTY_COUNTS
    for path in item_counts:
        counts = _added(counts, _read_batch(path, 0))
    kept = counts.filter(pc.greater_equal(counts.column("events"), rule.min_item_events)).select(["item"])
    kept_path = posixpath.join(scratch, "kept-items.arrow")
    _write_batches(kept_path, kept.schema, [kept])
    work = _FilterShard(shards_at, kept_path, rule.min_user_events, scratch)
    found = _per_shard(shards, "FilterShard", work, scratch, make_pipeline, _FilterReport.merged)
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
    return result, found.histogram


# What pipelines bring back.
_GATHERED = (
    _ReadReport,
    _DistinctReport,
    _FilterReport,
    time_span.TimeHistogram,
    blocks.Reject,
    profile.Counts,
)


def _gather(make_pipeline: Any, scratch: str, build: Any, merge: Any) -> Any:
    """Runs a pipeline and brings its merged (small) output back, on any runner."""
    path = posixpath.join(scratch, "gathered")

    def store(values: list[Any]) -> None:
        with fileio.open(path, "wb") as stream:
            stream.write(gathered.dumps(merge(values), _GATHERED))

    with make_pipeline() as pipeline:
        (
            build(pipeline)
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Store" >> beam.Map(store)
        )
    with fileio.open(path, "rb") as stream:
        return gathered.loads(stream.read(), _GATHERED)


def _check_rejects(report: _ReadReport, log: spec.LogSpec, rejected_uri: str) -> dict[str, Any]:
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
    _write(posixpath.join(rejected_uri, "summary.json"), json.dumps(summary, indent=1, ensure_ascii=False))
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


def _cuts(
    split: spec.SplitSpec, histogram: time_span.TimeHistogram | None, window: kind.WindowSettings
) -> splits.Cuts | None:
    if "time" not in split.by:
        return None
    if isinstance(split.eval_from, float):
        cuts = splits.Cuts(histogram.quantile(split.eval_from), histogram.quantile(split.test_from))
        if (
            len(histogram.bins) < 3
            or not int(histogram.bins[0]) << histogram.shift < cuts.eval_from < cuts.test_from
        ):
            moments = "moments, as split: {eval_from: 2024-05-01, test_from: 2024-06-01}"
            by_time = windows.get(window.kind).only_by_time
            advice = "name" if by_time else "use split: {by: [leave_one_out]}, or name"
            raise errors.InputError(
                f"split: a cut in time at {split.eval_from:g} and {split.test_from:g} of the events is impossible: "
                f"the log has {len(histogram.bins)} distinct time(s) and both cuts fall on "
                f"{profile.moment(cuts.test_from)}; {advice} {moments}, if log.columns.timestamp is the right column "
                f"and its times are read as they should"
            )
        return cuts
    return splits.Cuts(int(split.eval_from.timestamp() * 1000), int(split.test_from.timestamp() * 1000))


def _window(
    shards_at: _Shards,
    window: kind.WindowSettings,
    split: spec.SplitSpec,
    cuts: splits.Cuts | None,
    bulk: time_span.Bulk,
    examples_uri: str,
    scratch: str,
    make_pipeline: Any,
) -> tuple[profile.Counts, dict[Hashable, int]]:
    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        sorted_shards = (
            pipeline
            | "Shards" >> beam.Create(list(range(window.shards)))
            | "Spread" >> beam.Reshuffle()
            | "SortShard"
            >> beam.ParDo(_SortShard(shards_at, split, cuts, bulk, scratch)).with_outputs(
                _SortShard.COUNTS, main="sorted"
            )
        )
        counts = (
            sorted_shards[_SortShard.COUNTS]
            | "CountsOfAll" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "MergeCounts" >> beam.Map(profile.merge)
        )
        share = windows.get(window.kind).recent_share(window)
        popularity = counts | "Popularity" >> beam.Map(profile.popularity, share)
        end = counts | "End" >> beam.Map(lambda found: found.end)
        written = sorted_shards["sorted"] | "CutShard" >> beam.ParDo(
            _CutShard(window, cuts, examples_uri),
            beam.pvalue.AsSingleton(popularity),
            beam.pvalue.AsSingleton(end),
        )
        return (counts, written) | "Both" >> beam.Flatten()

    def merge(values: list[Any]) -> tuple[profile.Counts, dict[Hashable, int]]:
        total: collections.Counter = collections.Counter()
        counts = None
        for value in values:
            if isinstance(value, profile.Counts):
                counts = value
            else:
                total.update(value)
        return counts, dict(total)

    return _gather(make_pipeline, scratch, build, merge)
