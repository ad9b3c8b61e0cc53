"""What the Evaluator found and decided, in plain words."""

import dataclasses
import json
import math
import os
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.components.evaluator import constants

from components.evaluator import conversion_metrics, metrics, spec

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
class Labels:
    """How many labels of a step are known, and how many of them are positive."""

    known: int
    positive: int


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
      candidate, popularity, baseline: the metrics of the three; `baseline` (the last blessed
        model) is None on the first run; `popularity` is empty for exposures. Metrics of exposures
        may have no value: it is not a number.
      lift: candidate minus popularity, paired by example; for exposures, by which the log loss is
        below that of the best constant (`log_loss/buy`).
      change: candidate minus baseline, paired by example; None on the first run.
      improvement: RelaImpr of the candidate over the baseline, by step of exposures.
      labels, curves: of exposures, by step; the candidate's calibration curve, by ascending probability.
    """

    slice: Slice
    examples: int
    candidate: Mapping[str, Estimate]
    popularity: Mapping[str, Estimate]
    lift: Mapping[str, Estimate]
    baseline: Optional[Mapping[str, Estimate]] = None
    change: Optional[Mapping[str, Estimate]] = None
    improvement: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Tuple[Bin, ...]] = dataclasses.field(default_factory=dict)


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
      steps: the chain of exposures; empty for windows whose targets are ranked.
    """

    blessed: Optional[bool]
    conditions: Tuple[Condition, ...]
    slices: Tuple[SliceResult, ...]
    has_baseline: bool
    steps: Tuple[str, ...] = ()

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
        steps=tuple(_settings(eval_config).get("steps", ())),
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
        curves: Dict[str, Tuple[Bin, ...]] = {}
        for item in message.metric_keys_and_values:
            of_baseline = item.key.model_name == tfma.BASELINE_KEY
            if item.value.HasField("array_value"):
                if not of_baseline:
                    curves[item.key.name.split("/", 1)[1]] = _curve(item.value.array_value)
                continue
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
                improvement=_with_prefix(change or {}, f"{conversion_metrics.RELATIVE_IMPROVEMENT}/"),
                labels=_labels(candidate),
                curves=curves,
            )
        )
    return sorted(results, key=lambda r: [(feature, value_order(value)) for feature, value in r.slice])


def _labels(candidate: Mapping[str, Estimate]) -> Dict[str, Labels]:
    found = {}
    for step, known in _with_prefix(candidate, f"{conversion_metrics.LABEL_COUNT}/").items():
        rate = candidate[f"{conversion_metrics.POSITIVE_RATE}/{step}"].value
        found[step] = Labels(round(known.value), round(known.value * rate) if known.value else 0)
    return found


def _curve(array: Any) -> Tuple[Bin, ...]:
    rows = np.array(array.float64_values).reshape(tuple(array.shape))
    return tuple(
        Bin(predicted, Estimate(observed, *((low, high) if low < high else ())), round(examples))
        for predicted, observed, low, high, examples in rows.tolist()
    )


def value_order(value: str) -> Tuple[float, str]:
    """Sorts `5-9` before `10-19`."""
    leading = re.match(r"\d+", value)
    return (float(leading.group()) if leading else 0.0, value)


_PREFIXES = (
    metrics.POPULARITY_PREFIX,
    metrics.LIFT_PREFIX,
    metrics.GATE_PREFIX,
    f"{conversion_metrics.RELATIVE_IMPROVEMENT}/",
    f"{conversion_metrics.LABEL_COUNT}/",
)


def _with_prefix(estimates: Mapping[str, Estimate], prefix: str) -> Dict[str, Estimate]:
    """Those with a prefix, without it; those with none of the prefixes for an empty one."""
    unwanted = () if prefix else (*_PREFIXES, metrics.EXAMPLE_COUNT)
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
    if not item.key.is_diff and not item.key.name.startswith((metrics.LIFT_PREFIX, metrics.GATE_PREFIX)):
        # The t interval is symmetric; no metric is negative, and most are shares.
        low = max(low, 0.0)
        if not item.key.name.startswith(("log_loss", "calibration")):
            high = min(high, 1.0)
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
    minimum = _settings(eval_config).get("min_slice_examples", 1)
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
                    if name.startswith(metrics.GATE_PREFIX):
                        value = _found(name[len(metrics.GATE_PREFIX) :], is_change, result)
                        if result.examples < minimum or math.isnan(value):
                            outcome = _UNDECIDED
                    sentence = _sentence(name, item.threshold, result, outcome, minimum)
                    conditions.append(Condition(result.slice, outcome, sentence))
    return conditions


def _settings(eval_config: config_pb2.EvalConfig) -> Dict[str, Any]:
    """What our metric was made with."""
    for metrics_spec in eval_config.metrics_specs:
        for metric in metrics_spec.metrics:
            if metric.module in (metrics.__name__, conversion_metrics.__name__):
                return json.loads(metric.config)
    return {}


def _found(name: str, is_change: bool, result: SliceResult) -> float:
    """The value that a condition looks at."""
    if is_change:
        return result.change[name].value
    if name.startswith(metrics.LIFT_PREFIX):
        return result.lift[name[len(metrics.LIFT_PREFIX) :]].value
    return result.candidate[name].value


def _matches(wanted: config_pb2.SlicingSpec, value: Slice) -> bool:
    return tuple(wanted.feature_keys) == tuple(feature for feature, _ in value)


def _sentence(
    name: str, threshold: config_pb2.MetricThreshold, result: SliceResult, outcome: str, minimum: int
) -> str:
    where = f" for {slice_name(result.slice)}" if result.slice else ""
    name = name.removeprefix(metrics.GATE_PREFIX)
    base = name.removeprefix(metrics.LIFT_PREFIX)
    is_change = threshold.HasField("change_threshold")
    if outcome == _UNDECIDED and result.examples < minimum:
        return f"{base}{where} decides nothing: {_examples(result.examples)} (asked: at least {minimum})"
    if math.isnan(_found(name, is_change, result)):
        decides = " and decides nothing" if outcome == _UNDECIDED else ""
        return (
            f"{base}{where} has no {'lift' if name != base else 'value'}{decides}: {_why_none(base, result)}"
        )
    if is_change:
        worse = "above" if spec.lower_is_better(base) else "below"
        return (
            f"{base}{where} is {number(result.candidate[base].value)}, {_than(result.change[base].value)} the last "
            f"blessed model's {number(result.baseline[base].value)} (asked: at most "
            f"{abs(threshold.change_threshold.absolute.value):g} {worse})"
        )
    bounds = threshold.value_threshold
    if name != base:
        asked, value, lift = bounds.lower_bound.value, result.candidate[base].value, result.lift[base].value
        if result.popularity:
            of, floor, asked_for = (
                "popularity",
                result.popularity[base].value,
                _beyond(asked, "above", "below"),
            )
        else:
            # Of a loss, lift is how far it is below.
            of, floor, asked_for = "the base rate", value + lift, _beyond(asked, "below", "above")
            lift = -lift
        return f"{base}{where} is {number(value)}, {_than(lift)} {of}'s {number(floor)} (asked: {asked_for})"
    asked_for = [f"at least {bounds.lower_bound.value:g}"] if bounds.HasField("lower_bound") else []
    asked_for += [f"at most {bounds.upper_bound.value:g}"] if bounds.HasField("upper_bound") else []
    return f"{base}{where} is {number(result.candidate[base].value)} (asked: {', '.join(asked_for)})"


def _why_none(name: str, result: SliceResult) -> str:
    """Why a metric of exposures has no value: of its step, or of the first one that has none."""
    step = name.partition("/")[2]
    for other, labels in result.labels.items():
        if step not in ("", other) or 0 < labels.positive < labels.known:
            continue
        if not labels.known:
            return f"no label of {other} is known"
        which = "none" if not labels.positive else "each"
        return f"{which} of the {labels.known:,} known labels of {other} is positive"
    return "the last blessed model has none"


def _beyond(asked: float, better: str, worse: str) -> str:
    if asked == 0:
        return f"not {worse}"
    return f"at least {asked:g} {better}" if asked > 0 else f"at most {-asked:g} {worse}"


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
