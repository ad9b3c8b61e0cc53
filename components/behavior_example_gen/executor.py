"""From the files of a log to windowed examples: stages, each a Beam pipeline over Arrow files.

`stages.scatter` reads blocks, sets bad rows aside and scatters the good ones to shards of users: one Arrow file per
block, with one record batch per shard. `stages.distinct` and `stages.rare` leave events out, shard by shard.
`stages.good` does all this. `stages.cut` brings a shard together, sorts it, counts, and cuts its windows. Data move
through files in a hidden folder of the examples, so memory is bounded by a block and a shard, whatever the runner holds
in memory.
"""

import dataclasses
import json
import logging
import posixpath
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.behavior_example_gen import (
    fingerprint,
    notices,
    profile,
    readers,
    spans,
    spec,
    splits,
    state,
    time_span,
    windows,
    zones,
)
from components.behavior_example_gen.reading import columns, times
from components.behavior_example_gen.stages import cut, files, good, workers
from components.behavior_example_gen.windows import kind
from schemas import errors, names

_PROGRESS = logging.getLogger("footfall.progress")


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
        known = json.loads(exec_properties["state"])
        log = state.of_run(spec.LogSpec.from_json(exec_properties["log"]), known.get("path"))
        span = known["span"]
        # Listed once: what comes in later is neither checked nor read.
        with fingerprint.unchanged(spans.find(log.path, log.spans, span)) as found:
            state.check(log, known, found)
            run(
                log=log,
                window=windows.read(exec_properties["window"]),
                split=spec.SplitSpec.from_json(exec_properties["split"]),
                paths=found.paths,
                examples_uri=examples.uri,
                rejected_uri=rejected.uri,
                profile_uri=profiled.uri,
                # Beam's workers, wherever they are, see the artifact; a step's temporary folder may be of its pod.
                scratch=posixpath.join(examples.uri, ".windowing"),
                make_pipeline=self._make_beam_pipeline,
                candidates_within=exec_properties.get("candidates_within"),
            )
        examples.split_names = artifact_utils.encode_split_names(list(names.SPLITS))
        # What is made of the examples asks for the span.
        examples.span = int(span or 0)
        examples.set_string_custom_property(example_gen_utils.FINGERPRINT_PROPERTY_NAME, known["fingerprint"])
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")


def run(
    *,
    log: spec.LogSpec,
    window: kind.WindowSettings,
    split: spec.SplitSpec,
    paths: Sequence[str],
    examples_uri: str,
    rejected_uri: str,
    profile_uri: str,
    scratch: str,
    make_pipeline: Any,
    candidates_within: float | None = None,
) -> dict[str, Any]:
    """Reads a log and writes its windows, its bad rows and its profile; returns the profile.

    Args:
      paths: of the log's files.
      scratch: a folder for the files between the pipelines; removed at the end.
      make_pipeline: makes a Beam pipeline.
      candidates_within: see `stages.cut.cut`.

    Raises:
      errors.InputError: see `Executor.Do`.
    """
    window_kind = windows.get(window.kind)
    window_kind.check(window, log, split)
    split = window_kind.split(window, split)
    # Told first: a moment of another zone may be why a split has no window.
    of_zones = zones.told_of({"log": log, "window": window, "split": split}, log.timezone)
    for sentence in of_zones:
        _PROGRESS.warning("%s", sentence)
    # Else each worker would go by its own clock.
    log = times.bounded(log)
    if fileio.exists(scratch):
        # Of an attempt that was killed.
        fileio.rmtree(scratch)
    examples = (cut.split_uri(examples_uri, name) for name in names.SPLITS)
    for folder in (rejected_uri, profile_uri, scratch, *examples):
        fileio.makedirs(folder)
    at = workers.Workers(make_pipeline, scratch, window.shards)
    try:
        left = good.read(log, paths, rejected_uri, at)
        headers = (readers.header(path, log) for path in left.report.rows)
        columns.check_all(headers, left.report.notes, left.summary["rows"], log)
        bulk = left.histogram.bulk() if left.histogram else time_span.EVERYTHING
        until = left.histogram.end(log.timezone) if left.histogram else bulk.last
        cuts = _cuts(split, left.histogram, window, until)
        counts, written = cut.cut(
            left.shards, window, split, cuts, bulk, until, examples_uri, at, candidates_within
        )
        counts = dataclasses.replace(counts, until=until)
    finally:
        if fileio.exists(scratch):
            fileio.rmtree(scratch)
    window_kind.check_written(window, written, split, cuts, counts)
    of_kind = window_kind.summary(window, written)
    result = _described(left, counts, written, cuts, of_kind)
    noticed = _noticed(result, left, counts, log)
    result["notices"] = [*of_zones, *noticed]
    files.write(posixpath.join(profile_uri, "profile.json"), json.dumps(result, indent=1, ensure_ascii=False))
    _tell(result, written)
    window_kind.tell(window, of_kind, written, cuts, counts)
    for sentence in noticed:
        _PROGRESS.warning("%s", sentence)
    return result


def _described(
    left: good.Good,
    counts: profile.Counts,
    written: Mapping[Hashable, int],
    cuts: splits.Cuts | None,
    of_kind: Mapping[str, Any],
) -> dict[str, Any]:
    """The profile of a log: what it holds, what was left out of it, and how it was cut."""
    result = profile.summary(counts)
    result.update(
        rows=left.summary["rows"],
        rejected=left.summary["rejected"],
        duplicates=left.duplicates + counts.duplicates,
        filter=left.filtered,
        windows={name: written.get(name, 0) for name in (*names.SPLITS, "dropped")},
        **of_kind,
        split={"eval_from": profile.moment(cuts.eval_from), "test_from": profile.moment(cuts.test_from)}
        if cuts
        else None,
    )
    return result


def _noticed(
    result: Mapping[str, Any], left: good.Good, counts: profile.Counts, log: spec.LogSpec
) -> list[str]:
    """What of a log its owner may want to look at, a sentence each."""
    events = result["rows"] - result["rejected"] if left.duplicates else counts.events
    return [
        *notices.of_times(result, log),
        *notices.of_columns(left.report.notes, log),
        *notices.of_values(left.report.notes, log),
        *notices.of_duplicates(result["duplicates"], events, log),
        *notices.of_user(result["implausible_user"], log),
    ]


def _tell(result: Mapping[str, Any], written: Mapping[Hashable, int]) -> None:
    """Says what the log holds, how many windows were made of it, and until when it is trained on, in the run's progress."""
    _PROGRESS.info(
        "%s events of %s users on %s items, %s to %s; windows: %s%s",
        f"{result['events']:,}",
        f"{result['users']:,}",
        f"{result['items']:,}",
        result["start"],
        result["end"],
        ", ".join(f"{name} {written.get(name, 0):,}" for name in names.SPLITS),
        f"; trained on up to {result['split']['eval_from']}" if result["split"] else "",
    )


def _cuts(
    split: spec.SplitSpec,
    histogram: time_span.TimeHistogram | None,
    window: kind.WindowSettings,
    until: int,
) -> splits.Cuts | None:
    if "time" not in split.by:
        return None
    if split.shares():
        cuts = splits.Cuts(*(histogram.quantile(share) for share in split.shares()))
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
    if split.before_end():
        bulk = histogram.bulk()
        # Of a log of days so many of its days, its last one's end being the next one's midnight.
        end = until + (until > bulk.last)
        cuts = splits.Cuts(*(end + round(cut.total_seconds() * 1000) for cut in split.before_end()))
        if cuts.eval_from <= bulk.first:
            raise errors.InputError(
                f"split.eval_from: nothing is left to train on: the log's events go from {profile.moment(bulk.first)} to "
                f"{profile.moment(bulk.last)}, and the cut falls on {profile.moment(cuts.eval_from)}"
            )
        return cuts
    return splits.Cuts(*(int(moment.timestamp() * 1000) for moment in split.moments()))
