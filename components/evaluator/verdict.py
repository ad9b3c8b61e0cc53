"""What the Evaluator found and decided, in plain words."""

import dataclasses
import json
import os
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.components.evaluator import constants

from components.evaluator import metrics

Slice = Tuple[Tuple[str, str], ...]
OVERALL: Slice = ()

_PASSED, _FAILED, _UNDECIDED = "passed", "failed", "undecided"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples; `low` and `high` bound its 95 % interval, where the values have a spread."""

    value: float
    low: Optional[float] = None
    high: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class SliceResult:
    """All metrics of one slice, by name (`hr@10`, `ndcg@10`, `mrr`, ...).

    Attributes:
      slice: pairs of feature and value; empty for the whole split.
      examples: number of test windows in it.
      candidate, popularity, baseline: the metrics of the three; `baseline` (the last blessed
        model) is None on the first run.
      lift: candidate minus popularity, paired by example.
      change: candidate minus baseline, paired by example; None on the first run.
    """

    slice: Slice
    examples: int
    candidate: Mapping[str, Estimate]
    popularity: Mapping[str, Estimate]
    lift: Mapping[str, Estimate]
    baseline: Optional[Mapping[str, Estimate]] = None
    change: Optional[Mapping[str, Estimate]] = None


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition of the gate on one slice.

    Attributes:
      slice: as in `SliceResult`.
      outcome: `passed`, `failed`, or `undecided` where the slice has too few examples.
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
    """

    blessed: Optional[bool]
    conditions: Tuple[Condition, ...]
    slices: Tuple[SliceResult, ...]
    has_baseline: bool

    @property
    def reasons(self) -> Tuple[str, ...]:
        """Sentences that explain the decision: the failed conditions, or the passed ones if none failed."""
        wanted = _PASSED if self.blessed else _FAILED
        return tuple(condition.sentence for condition in self.conditions if condition.outcome == wanted)

    @property
    def overall(self) -> Optional[SliceResult]:
        """Results on the whole split; None where it had no examples."""
        return next((result for result in self.slices if result.slice == OVERALL), None)


def slice_name(value: Slice) -> str:
    """`user_frequency tail`, or `all` for the whole split."""
    return ", ".join(f"{feature} {text}" for feature, text in value) or "all"


def read(evaluation_uri: str, blessing_uri: Optional[str] = None) -> Verdict:
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
    return Verdict(
        blessed=_blessed(blessing_uri),
        conditions=tuple(sorted(conditions, key=lambda c: (order.index(c.outcome), len(c.slice)))),
        slices=tuple(slices),
        has_baseline=has_baseline,
    )


def _blessed(blessing_uri: Optional[str]) -> Optional[bool]:
    if blessing_uri is None:
        return None
    for name, value in ((constants.BLESSED_FILE_NAME, True), (constants.NOT_BLESSED_FILE_NAME, False)):
        if tf.io.gfile.exists(os.path.join(blessing_uri, name)):
            return value
    return None


def _slices(evaluation_uri: str) -> List[SliceResult]:
    results = []
    for message in tfma.load_metrics(evaluation_uri):
        by_model: Dict[Tuple[bool, bool], Dict[str, Estimate]] = {}
        for item in message.metric_keys_and_values:
            of_baseline = item.key.model_name == tfma.BASELINE_KEY
            by_model.setdefault((of_baseline, item.key.is_diff), {})[item.key.name] = _estimate(item)
        candidate = by_model.get((False, False), {})
        baseline, change = by_model.get((True, False)), by_model.get((False, True))
        if metrics.EXAMPLE_COUNT not in candidate:
            continue
        results.append(
            SliceResult(
                slice=_slice(message.slice_key),
                examples=round(candidate[metrics.EXAMPLE_COUNT].value),
                candidate=_with_prefix(candidate, ""),
                popularity=_with_prefix(candidate, metrics.POPULARITY_PREFIX),
                lift=_with_prefix(candidate, metrics.LIFT_PREFIX),
                baseline=None if baseline is None else _with_prefix(baseline, ""),
                change=None if change is None else _with_prefix(change, ""),
            )
        )
    return sorted(results, key=lambda r: [(feature, value_order(value)) for feature, value in r.slice])


def value_order(value: str) -> Tuple[float, str]:
    """Sorts `5-9` before `10-19`."""
    leading = re.match(r"\d+", value)
    return (float(leading.group()) if leading else 0.0, value)


def _with_prefix(estimates: Mapping[str, Estimate], prefix: str) -> Dict[str, Estimate]:
    chosen = {}
    for name, estimate in estimates.items():
        base = name[len(prefix) :]
        if name.startswith(prefix) and "/" not in base and base != metrics.EXAMPLE_COUNT:
            chosen[base] = estimate
    return chosen


def _estimate(item) -> Estimate:
    value = item.value.double_value.value
    if not item.HasField("confidence_interval"):
        return Estimate(value)
    interval = item.confidence_interval
    low, high = interval.lower_bound.double_value.value, interval.upper_bound.double_value.value
    if low >= high:
        # Equal values (no hit at all, say) tell nothing about their spread.
        return Estimate(value)
    if not item.key.is_diff and not item.key.name.startswith((metrics.LIFT_PREFIX, metrics.GATE_PREFIX)):
        # The t interval is symmetric; the metrics themselves lie between 0 and 1.
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(value, low, high)


def _slice(key) -> Slice:
    pairs = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else b""
        pairs.append(
            (single.column, value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
        )
    return tuple(pairs)


def _failures(validation) -> Dict[Tuple[Slice, str, bool], float]:
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
    failures: Mapping[Tuple[Slice, str, bool], float],
) -> List[Condition]:
    conditions = []
    minimum = _min_slice_examples(eval_config)
    for metrics_spec in eval_config.metrics_specs:
        for name, thresholds in sorted(metrics_spec.per_slice_thresholds.items()):
            if name == metrics.EXAMPLE_COUNT:
                continue
            for item in thresholds.thresholds:
                is_change = item.threshold.HasField("change_threshold")
                if not is_change and not item.threshold.HasField("value_threshold"):
                    continue  # TFX cleared it, there being no baseline
                for result in slices:
                    if not any(_matches(wanted, result.slice) for wanted in item.slicing_specs):
                        continue
                    outcome = _FAILED if (result.slice, name, is_change) in failures else _PASSED
                    if name.startswith(metrics.GATE_PREFIX) and result.examples < minimum:
                        outcome = _UNDECIDED
                    sentence = _sentence(name, item.threshold, result, outcome, minimum)
                    conditions.append(Condition(result.slice, outcome, sentence))
    return conditions


def _min_slice_examples(eval_config: config_pb2.EvalConfig) -> int:
    for metrics_spec in eval_config.metrics_specs:
        for metric in metrics_spec.metrics:
            if metric.class_name == metrics.RankingMetrics.__name__:
                return json.loads(metric.config).get("min_slice_examples", 1)
    return 1


def _matches(wanted: config_pb2.SlicingSpec, value: Slice) -> bool:
    return tuple(wanted.feature_keys) == tuple(feature for feature, _ in value)


def _sentence(
    name: str, threshold: config_pb2.MetricThreshold, result: SliceResult, outcome: str, minimum: int
) -> str:
    where = f" for {slice_name(result.slice)}" if result.slice else ""
    name = name[len(metrics.GATE_PREFIX) :] if name.startswith(metrics.GATE_PREFIX) else name
    if outcome == _UNDECIDED:
        base = name.rsplit("/", 1)[-1]
        return f"{base}{where} decides nothing: {_examples(result.examples)} (asked: at least {minimum})"
    if threshold.HasField("change_threshold"):
        asked = -threshold.change_threshold.absolute.value
        difference = result.change[name].value
        return (
            f"{name}{where} is {number(result.candidate[name].value)}, {_than(difference)} the last blessed "
            f"model's {number(result.baseline[name].value)} (asked: at most {asked:g} below)"
        )
    asked = threshold.value_threshold.lower_bound.value
    if name.startswith(metrics.LIFT_PREFIX):
        base = name[len(metrics.LIFT_PREFIX) :]
        return (
            f"{base}{where} is {number(result.candidate[base].value)}, {_than(result.lift[base].value)} "
            f"popularity's {number(result.popularity[base].value)} (asked: {_above(asked)})"
        )
    return f"{name}{where} is {number(result.candidate[name].value)} (asked: at least {asked:g})"


def _above(asked: float) -> str:
    if asked == 0:
        return "not below"
    return f"at least {asked:g} above" if asked > 0 else f"at most {-asked:g} below"


def _examples(count: int) -> str:
    return f"{count:,} example" + ("" if count == 1 else "s")


def _than(difference: float) -> str:
    if number(abs(difference)) == number(0.0):
        return "equal to"
    return f"{number(abs(difference))} {'above' if difference > 0 else 'below'}"


def number(value: float) -> str:
    """A metric with four decimals, as all texts give it; more where it would read as zero."""
    if value and abs(value) < 0.00005:
        return f"{value:.1e}"
    return f"{value:.4f}"
