"""From the files of a log to windowed examples: Beam pipelines over Arrow files.

The first reads blocks, sets bad rows aside and scatters the good ones to shards of users:
one Arrow file a block, one record batch a shard in it. The second brings a shard together,
sorts it, counts, and cuts its windows. Between them, `log.filter` leaves events of rare items
and users out, shard by shard. Data move through files of the component's temporary
folder, so memory is bounded by a block and a shard, whatever the runner holds in memory.
"""

import dataclasses
import json
import logging
import posixpath
from typing import Any

from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs

from components.behavior_example_gen import (
    checks,
    fingerprint,
    notices,
    profile,
    spans,
    spec,
    splits,
    time_span,
    windows,
)
from components.behavior_example_gen.reading import times
from components.behavior_example_gen.stages import cut, distinct, files, rare, scatter
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
    for folder in [
        rejected_uri,
        profile_uri,
        scratch,
        *(cut.split_uri(examples_uri, s) for s in names.SPLITS),
    ]:
        fileio.makedirs(folder)
    try:
        report = scatter.read(log, window, span, scratch, rejected_uri, make_pipeline)
        summary = _check_rejects(report, log, rejected_uri)
        if not report.scattered:
            raise errors.InputError(f"{log.path}: none of the {summary['rows']:,} rows is good")
        notices.check_labels(report.notes, log)
        shards_at = files.Shards(tuple(report.scattered))
        histogram, item_counts, dropped, filtered = report.histogram, report.item_counts, 0, None
        if log.duplicates == "drop":
            without = distinct.distinct(shards_at, window.shards, bool(log.filter), scratch, make_pipeline)
            histogram, item_counts, dropped = without.histogram, without.item_counts, without.dropped
            shards_at = files.Shards(
                tuple(distinct.path(scratch, s) for s in range(window.shards)), apart=True
            )
        if log.filter:
            filtered, histogram = rare.leave_out(
                log.filter, shards_at, item_counts, window.shards, scratch, make_pipeline
            )
            shards_at = files.Shards(tuple(rare.path(scratch, s) for s in range(window.shards)), apart=True)
        cuts = _cuts(split, histogram, window)
        bulk = histogram.bulk() if histogram else time_span.EVERYTHING
        counts, written = cut.window(
            shards_at, window, split, cuts, bulk, examples_uri, scratch, make_pipeline
        )
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
    files.write(posixpath.join(profile_uri, "profile.json"), json.dumps(result, indent=1, ensure_ascii=False))
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
