"""The last stage: sorts each shard, counts, and cuts its windows."""

import collections
import posixpath
from collections.abc import Hashable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.behavior_example_gen import batches, profile, shards, slices, spec, splits, time_span, windows
from components.behavior_example_gen.stages import candidates, files, workers
from components.behavior_example_gen.windows import kind
from schemas import errors, names

# How many items the windows of `eval` and `test` may say that their users have met: so many in any case, and so many
# for each event of the log. Users who are people stay far below it; one that is a program has the square of its events.
_MET, _MET_OF_EVENT = 100_000_000, 1_000
# Windows are written once and read once or twice: speed is worth more than the last tenth in size.
_COMPRESSION = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


class _SortShard(beam.DoFn):
    """Brings a shard together, sorts it, gives every event its role, and counts."""

    COUNTS = "counts"

    def __init__(
        self,
        shards_at: files.Shards,
        split: spec.SplitSpec,
        cuts: splits.Cuts | None,
        bulk: time_span.Bulk,
        until: int,
        window: kind.WindowSettings,
        scratch: str,
    ):
        self._window, self._until = window, until
        self._shards, self._split, self._cuts, self._scratch = shards_at, split, cuts, scratch
        self._bulk = bulk

    def process(self, shard: int) -> Iterator[Any]:
        table = self._shards.read(shard)
        if not table.num_rows:
            return
        events = shards.sort_events(table, self._split, self._cuts)
        met = windows.get(self._window.kind).met(events, self._window, self._cuts, self._until)
        yield beam.pvalue.TaggedOutput(self.COUNTS, profile.count(events, self._bulk, met))
        path = posixpath.join(self._scratch, f"sorted-{shard:06d}.arrow")
        files.write_batches(path, events.table.schema, [pa.Table.from_batches([events.table])])
        yield shard, path


class _CutShard(beam.DoFn):
    """Cuts a shard's windows and writes them, a file a split; tells how many.

    With `observed` it keeps what could be seen before the moments, too.
    """

    def __init__(
        self,
        window: kind.WindowSettings,
        cuts: splits.Cuts | None,
        until: int,
        examples_uri: str,
        observed: candidates.Candidates | None,
    ):
        self._window, self._cuts, self._until, self._examples_uri = window, cuts, until, examples_uri
        self._observed = observed

    def process(
        self, shard_and_path: tuple[int, str], popularity: slices.Popularity
    ) -> Iterator[dict[Hashable, int]]:
        shard, path = shard_and_path
        batch = batches.one(files.read_batch(path, 0).combine_chunks().to_batches())
        users = batch.column(batch.schema.get_field_index(names.USER_ID))
        changes = np.flatnonzero(pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)) + 1
        events = shards.Events(batch, np.concatenate([[0], changes, [len(users)]]).astype(np.int64))
        context = kind.Context(popularity, self._cuts, self._until)
        if self._observed is not None:
            self._observed.keep(shard, events, self._window, context)
        written: collections.Counter = collections.Counter()
        writers: dict[str, tf.io.TFRecordWriter] = {}
        encoder = None
        try:
            for split, windowed, counted in windows.get(self._window.kind).cut(events, self._window, context):
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

    def _path(self, split: str, shard: int) -> str:
        folder = split_uri(self._examples_uri, split)
        return posixpath.join(folder, f"windows-{shard:06d}.gz")


def split_uri(examples_uri: str, split: str) -> str:
    """The folder that TFX gives to a split of an Examples artifact."""
    return posixpath.join(examples_uri, f"Split-{split}")


def cut(
    shards_at: files.Shards,
    window: kind.WindowSettings,
    split: spec.SplitSpec,
    cuts: splits.Cuts | None,
    bulk: time_span.Bulk,
    until: int,
    examples_uri: str,
    at: workers.Workers,
    candidates_within: float | None = None,
) -> tuple[profile.Counts, dict[Hashable, int]]:
    """Sorts and counts all shards, and then writes their windows.

    Args:
      shards_at: where they are.
      window, split: what to make of them.
      cuts: in time; None where the split has none.
      bulk: when all events but lonely ones are.
      until: the last moment that they tell of, see `time_span.TimeHistogram.end`.
      examples_uri: where the windows go.
      at: where this runs.
      candidates_within: how many seconds before a moment an item was seen that is a candidate at it: then the
        examples have `candidates.FILE`, too.

    Returns:
      What the log holds, and what `Kind.cut` counted of all shards: windows by split, and more.

    Raises:
      errors.InputError: before any is written, if windows would hold far more than the log.
    """

    observed = None if candidates_within is None else candidates.Candidates(candidates_within, at.scratch)

    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        sort = _SortShard(shards_at, split, cuts, bulk, until, window, at.scratch)
        found = at.spread(pipeline) | "SortShard" >> beam.ParDo(sort).with_outputs(
            _SortShard.COUNTS, main="sorted"
        )
        counts = (
            found[_SortShard.COUNTS]
            | "CountsOfAll" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "MergeCounts" >> beam.Map(_counts_of_all, window)
        )
        share = windows.get(window.kind).recent_share(window)
        popularity = counts | "Popularity" >> beam.Map(profile.popularity, share)
        written = found["sorted"] | "CutShard" >> beam.ParDo(
            _CutShard(window, cuts, until, examples_uri, observed),
            beam.pvalue.AsSingleton(popularity),
        )
        return (counts, written) | "Both" >> beam.Flatten()

    result = at.gather(build, _merged, (profile.Counts, time_span.TimeHistogram))
    if observed is not None:
        observed.bring_together(at.shards, examples_uri)
    return result


def _counts_of_all(parts: list[profile.Counts], window: kind.WindowSettings) -> profile.Counts:
    """The counts of all shards.

    Raises:
      errors.InputError: if windows would list more items that were met than they may.
    """
    counts = profile.merge(parts)
    if counts.met > max(_MET, _MET_OF_EVENT * counts.events):
        assert counts.most_met is not None
        most, user = counts.most_met
        each, less = windows.get(window.kind).of_met(window)
        raise errors.InputError(
            f"{each} of eval and test lists the items that its user has met, {counts.met:,} together of "
            f"{counts.events:,} events, where {_MET_OF_EVENT:,} for each event are allowed; {most:,} are of user "
            f"{user!r}: {less}, or name it in log.missing.user_id if it is no user"
        )
    return counts


def _merged(values: list[Any]) -> tuple[profile.Counts, dict[Hashable, int]]:
    """The counts of the log, of which there are one, and what was written of all shards."""
    total: collections.Counter = collections.Counter()
    counts = None
    for value in values:
        if isinstance(value, profile.Counts):
            counts = value
        else:
            total.update(value)
    return counts, dict(total)
