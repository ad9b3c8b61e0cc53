"""What the Evaluator found and decided, in plain words."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.components.evaluator import constants

from components.evaluator import bootstrap, conversion_results, gating, objectives, ranks, sentences, spec
from components.evaluator.objectives import objective as objective_lib

Slice = tuple[tuple[str, str], ...]
OVERALL: Slice = ()
# Of an evaluation that does not tell.
_FORMER_OBJECTIVE = "ranking"

_PASSED, _FAILED, _UNDECIDED = "passed", "failed", "undecided"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples; `low` and `high` bound its 95 % interval, where the values have a spread.

    `error` and `freedom` are its standard error and the degrees of freedom of that.
    """

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    freedom: int = 0

    def bounds(self, confidence: float) -> tuple[float, float] | None:
        """Of its interval of another confidence; None where it has none."""
        if self.error is None:
            return None
        return bootstrap.bounds(self.value, self.error, self.freedom, confidence)


@dataclasses.dataclass(frozen=True)
class Labels:
    """How many labels of a step are known, and how many of them are positive."""

    known: int
    positive: int

    @property
    def rarer(self) -> int:
        """How many are positive, or negative if that is less."""
        return min(self.positive, self.known - self.positive)


@dataclasses.dataclass(frozen=True)
class Bin:
    """A bin of a calibration curve: mean probability, share of positives with its interval, examples."""

    predicted: float
    observed: Estimate
    examples: int


@dataclasses.dataclass(frozen=True)
class SliceResult:
    """All metrics of one slice, by name (`hr@10`, `ndcg@10`, `mrr`, ... or `auc/buy`, `auc`, ...).

    Attributes:
      slice: pairs of feature and value; empty for the whole split.
      examples: number of test windows (or exposures) in it.
      candidate, baseline: the metrics of both; `baseline` (the last blessed model) is None on the first
        run. Metrics of exposures may have no value: it is not a number.
      floors: the metrics of each floor, by the names of `spec.FLOOR_RANKS`; none for exposures.
      lift: candidate minus the best of the floors in this metric, paired by example; for exposures, by
        which the log loss is below that of the best constant (`log_loss/buy`).
      change: candidate minus baseline, paired by example; None on the first run.
      improvement: RelaImpr of the candidate over the baseline, by step of exposures.
      labels, curves: of exposures, by step; the candidate's calibration curve, by ascending probability.
      unreachable: shares of targets that cannot be recommended, by the names of `ranks.UNREACHABLE`.
    """

    slice: Slice
    examples: int
    candidate: Mapping[str, Estimate]
    floors: Mapping[str, Mapping[str, Estimate]]
    lift: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate] | None = None
    change: Mapping[str, Estimate] | None = None
    improvement: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, tuple[Bin, ...]] = dataclasses.field(default_factory=dict)
    unreachable: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def popularity(self) -> Mapping[str, Estimate]:
        """The metrics of all-time popularity; empty for exposures."""
        return self.floors.get(spec.POPULARITY, {})

    def best_floor(self, metric: str) -> str | None:
        """The floor with most of a metric; None for exposures."""
        return max(self.floors, key=lambda floor: self.floors[floor][metric].value, default=None)


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition of the gate on one slice.

    Attributes:
      slice: as in `SliceResult`.
      outcome: `passed`, `failed`, or `undecided` where the slice has too few examples, or no value.
      sentence: what was found and what was asked.
    """

    slice: Slice
    outcome: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
      blessed: what the blessing artifact says; None where there is none.
      conditions: every condition of the gate, the failed ones first, the whole split before slices.
      slices: results by slice, the whole split first.
      has_baseline: whether a blessed model was there to compare with.
      objective: of the models.
      steps: the labels, where these are learnt.
      chain: whether they are steps of a chain, in their order.
      notes: what a reader should know before believing the decision, in sentences.
    """

    blessed: bool | None
    conditions: tuple[Condition, ...]
    slices: tuple[SliceResult, ...]
    has_baseline: bool
    objective: str = _FORMER_OBJECTIVE
    steps: tuple[str, ...] = ()
    chain: bool = True
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that explain the decision: the failed conditions, or the passed ones if none failed."""
        wanted = _PASSED if self.blessed else _FAILED
        return tuple(condition.sentence for condition in self.conditions if condition.outcome == wanted)

    @property
    def overall(self) -> SliceResult | None:
        """Results on the whole split; None where it had no examples."""
        return next((result for result in self.slices if result.slice == OVERALL), None)


def read(evaluation_uri: str, blessing_uri: str | None = None) -> Verdict:
    """Reads the artifacts of the Evaluator.

    Args:
      evaluation_uri: of the ModelEvaluation artifact, on any file system of `tf.io.gfile`.
      blessing_uri: of the ModelBlessing artifact.

    Raises:
      FileNotFoundError: if there is no evaluation at `evaluation_uri`.
    """
    eval_config = eval_config_writer.load_eval_run(evaluation_uri)[0]
    if eval_config is None:
        raise FileNotFoundError(f"no evaluation at {evaluation_uri}")
    validation = tfma.load_validation_result(evaluation_uri)
    slices = _slices(evaluation_uri)
    has_baseline = any(spec.is_baseline for spec in eval_config.model_specs)
    conditions = _conditions(eval_config, slices, _failures(validation))
    if not slices:
        conditions.append(Condition(OVERALL, _FAILED, "the test split has no examples"))
    else:
        conditions.extend(
            Condition(OVERALL, _FAILED, f"no test example has {', '.join(missing.feature_keys)}")
            for missing in validation.missing_slices
        )
    order = (_FAILED, _PASSED, _UNDECIDED)
    whole = next((result for result in slices if result.slice == OVERALL), None)
    learnt, settings = _metric(eval_config)
    return Verdict(
        blessed=_blessed(blessing_uri),
        conditions=tuple(sorted(conditions, key=lambda c: (order.index(c.outcome), len(c.slice)))),
        slices=tuple(slices),
        has_baseline=has_baseline,
        objective=learnt.name if learnt else _FORMER_OBJECTIVE,
        steps=tuple(settings.get("steps", ())),
        chain=settings.get("chain", True),
        notes=_notes(whole) if whole else (),
    )


def _blessed(blessing_uri: str | None) -> bool | None:
    if blessing_uri is None:
        return None
    for name, value in ((constants.BLESSED_FILE_NAME, True), (constants.NOT_BLESSED_FILE_NAME, False)):
        if tf.io.gfile.exists(os.path.join(blessing_uri, name)):
            return value
    return None


def _slices(evaluation_uri: str) -> list[SliceResult]:
    results = []
    for message in tfma.load_metrics(evaluation_uri):
        by_model: dict[tuple[bool, bool], dict[str, Estimate]] = {}
        curves: dict[str, tuple[Bin, ...]] = {}
        for item in message.metric_keys_and_values:
            of_baseline = item.key.model_name == tfma.BASELINE_KEY
            if item.value.HasField("array_value"):
                if not of_baseline:
                    curves[item.key.name.split("/", 1)[1]] = _curve(item.value.array_value)
                continue
            by_model.setdefault((of_baseline, item.key.is_diff), {})[item.key.name] = _estimate(item)
        candidate = by_model.get((False, False), {})
        baseline, change = by_model.get((True, False)), by_model.get((False, True))
        if ranks.EXAMPLE_COUNT not in candidate:
            continue
        results.append(
            SliceResult(
                slice=_slice(message.slice_key),
                examples=round(candidate[ranks.EXAMPLE_COUNT].value),
                candidate=_with_prefix(candidate, ""),
                floors={
                    floor: found
                    for floor in spec.FLOOR_RANKS
                    if (found := _with_prefix(candidate, f"{floor}/"))
                },
                lift=_with_prefix(candidate, ranks.LIFT_PREFIX),
                baseline=None if baseline is None else _with_prefix(baseline, ""),
                change=None if change is None else _with_prefix(change, ""),
                improvement=_with_prefix(change or {}, f"{conversion_results.RELATIVE_IMPROVEMENT}/"),
                labels=_labels(candidate),
                curves=curves,
                unreachable={
                    why: share.value
                    for why, share in _with_prefix(candidate, ranks.UNREACHABLE_PREFIX).items()
                },
            )
        )
    return sorted(results, key=lambda r: [(feature, value_order(value)) for feature, value in r.slice])


def _labels(candidate: Mapping[str, Estimate]) -> dict[str, Labels]:
    found = {}
    for step, known in _with_prefix(candidate, f"{conversion_results.LABEL_COUNT}/").items():
        rate = candidate[f"{conversion_results.POSITIVE_RATE}/{step}"].value
        found[step] = Labels(round(known.value), round(known.value * rate) if known.value else 0)
    return found


def _curve(array: Any) -> tuple[Bin, ...]:
    rows = np.array(array.float64_values).reshape(tuple(array.shape))
    return tuple(
        Bin(predicted, Estimate(observed, *((low, high) if low < high else ())), round(examples))
        for predicted, observed, low, high, examples in rows.tolist()
    )


def value_order(value: str) -> tuple[float, str]:
    """Sorts `5-9` before `10-19`."""
    leading = re.match(r"\d+", value)
    return (float(leading.group()) if leading else 0.0, value)


_PREFIXES = (
    *(f"{floor}/" for floor in spec.FLOOR_RANKS),
    ranks.LIFT_PREFIX,
    ranks.UNREACHABLE_PREFIX,
    gating.GATE_PREFIX,
    gating.SLICE_PREFIX,
    f"{conversion_results.RELATIVE_IMPROVEMENT}/",
    f"{conversion_results.LABEL_COUNT}/",
    f"{conversion_results.RARER_LABELS}/",
)


def _with_prefix(estimates: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    """Those with a prefix, without it; those with none of the prefixes for an empty one."""
    unwanted = () if prefix else (*_PREFIXES, ranks.EXAMPLE_COUNT)
    return {
        name[len(prefix) :]: estimate
        for name, estimate in estimates.items()
        if name.startswith(prefix) and not name.startswith(unwanted)
    }


def _estimate(item: Any) -> Estimate:
    value = item.value.double_value.value
    if not item.HasField("confidence_interval"):
        return Estimate(value)
    interval = item.confidence_interval
    low, high = interval.lower_bound.double_value.value, interval.upper_bound.double_value.value
    if low >= high:
        # Equal values (no hit at all, say) tell nothing about their spread.
        return Estimate(value)
    if not item.key.is_diff and not item.key.name.startswith(ranks.LIFT_PREFIX):
        # The t interval is symmetric; no metric is negative, and most are shares.
        low = max(low, 0.0)
        if not item.key.name.startswith(("log_loss", "calibration")):
            high = min(high, 1.0)
    error, freedom = interval.standard_error.double_value.value, interval.degrees_of_freedom.value
    return Estimate(value, low, high, error, freedom)


def _slice(key) -> Slice:
    pairs = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else b""
        pairs.append(
            (single.column, value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
        )
    return tuple(pairs)


def _failures(validation) -> dict[tuple[Slice, str, bool], float]:
    """Failed metrics, by slice, name and whether it is the change that failed."""
    failures = {}
    for message in validation.metric_validations_per_slice:
        for failure in message.failures:
            key = (_slice(message.slice_key), failure.metric_key.name, failure.metric_key.is_diff)
            failures[key] = failure.metric_value.double_value.value
    return failures


def _conditions(
    eval_config: config_pb2.EvalConfig,
    slices: Sequence[SliceResult],
    failures: Mapping[tuple[Slice, str, bool], float],
) -> list[Condition]:
    conditions = []
    # Evaluations of before have no confidence: they were judged by estimates.
    _, settings = _metric(eval_config)
    for metrics_spec in eval_config.metrics_specs:
        for name, thresholds in sorted(metrics_spec.per_slice_thresholds.items()):
            for item in thresholds.thresholds:
                asked = sentences.Asked(
                    name,
                    item.threshold,
                    settings.get("confidence"),
                    settings.get("min_slice_examples", 1),
                    settings.get("min_positives", 0),
                )
                if not asked.is_change and not item.threshold.HasField("value_threshold"):
                    continue  # TFX cleared it, there being no baseline
                if name == ranks.EXAMPLE_COUNT and asked.least <= 0:
                    continue
                for result in slices:
                    if any(_matches(wanted, result.slice) for wanted in item.slicing_specs):
                        failed = (result.slice, name, asked.is_change) in failures
                        conditions.append(_condition(asked, result, failed))
    return conditions


def _condition(asked: sentences.Asked, result: SliceResult, failed: bool) -> Condition:
    outcome = _FAILED if failed else _PASSED
    if asked.name == ranks.EXAMPLE_COUNT:
        return Condition(result.slice, outcome, sentences.of_count(round(asked.least), result.examples))
    if sentences.is_count(asked.name):
        step = asked.name.partition("/")[2]
        sentence = sentences.of_labels(step, round(asked.least), result.labels[step])
        return Condition(result.slice, outcome, sentence)
    if result.slice and not failed and not asked.decides(result):
        outcome = _UNDECIDED
    return Condition(result.slice, outcome, sentences.of_condition(asked, result, outcome))


def _notes(whole: SliceResult) -> tuple[str, ...]:
    unreachable = sentences.unreachable(whole)
    large = sum(whole.unreachable.values()) >= sentences.LARGE_SHARE
    return (unreachable,) if unreachable and large else ()


def _metric(eval_config: config_pb2.EvalConfig) -> tuple[objective_lib.Objective | None, dict[str, Any]]:
    """The objective whose metrics were computed, and what these were made with."""
    for metrics_spec in eval_config.metrics_specs:
        for metric in metrics_spec.metrics:
            found = objectives.of_metrics(metric.module, metric.class_name)
            if found is not None:
                return found, json.loads(metric.config)
    return None, {}


def _matches(wanted: config_pb2.SlicingSpec, value: Slice) -> bool:
    return tuple(wanted.feature_keys) == tuple(feature for feature, _ in value)
