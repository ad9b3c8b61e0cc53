"""What was measured of each slice: the Evaluator's results, read into values with their intervals."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluator import bootstrap, conversion_results, gating, ranks, spec
from schemas import names

Slice = tuple[tuple[str, str], ...]
OVERALL: Slice = ()


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples; `low` and `high` bound its 95 % interval, where the values have a spread.

    `error` and `freedom` are its standard error and the degrees of freedom of that: None and 0 where there are too few
    users for an interval.
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
      candidate, baseline: the metrics of both; `baseline` (the live model) is None where none was live, as on
        the first run. Metrics of exposures may have no value: it is not a number.
      floors: the metrics of each floor, by the names of `spec.FLOOR_TITLES`; none for exposures.
      lift: candidate minus the best of the floors in this metric, paired by example; for exposures, by
        which the log loss is below that of the best constant (`log_loss/buy`).
      change: candidate minus baseline, paired by example; None on the first run.
      improvement: RelaImpr of the candidate over the baseline, by step of exposures.
      labels, curves: of exposures, by step; the candidate's calibration curve, by ascending probability.
      unreachable: shares of targets that cannot be recommended, by the names of `ranks.UNREACHABLE`.
      candidates: of a ranking among candidates, by `ranks.SHARE` and `ranks.SIZE`: which share of targets is among them, and
        how many they are on average.
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
    candidates: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def popularity(self) -> Mapping[str, Estimate]:
        """The metrics of all-time popularity; empty for exposures."""
        return self.floors.get(spec.POPULARITY, {})

    def best_floor(self, metric: str) -> str | None:
        """The floor with most of a metric; None where it has none, as for exposures."""
        known = [floor for floor, found in self.floors.items() if metric in found]
        return max(known, key=lambda floor: self.floors[floor][metric].value, default=None)


def read(evaluation_uri: str) -> list[SliceResult]:
    """The results of all slices, the whole split first.

    Args:
      evaluation_uri: of the ModelEvaluation artifact, on any file system of `tf.io.gfile`.
    """
    results = []
    for message in tfma.load_metrics(evaluation_uri):
        by_model: dict[tuple[bool, bool], dict[str, Estimate]] = {}
        curves: dict[str, tuple[Bin, ...]] = {}
        for item in message.metric_keys_and_values:
            of_baseline = item.key.model_name == tfma.BASELINE_KEY
            if item.value.HasField("array_value"):
                # TFMA subtracts the baseline's curve, too.
                if not of_baseline and not item.key.is_diff:
                    curves[item.key.name.split("/", 1)[1]] = _curve(item.value.array_value)
                continue
            by_model.setdefault((of_baseline, item.key.is_diff), {})[item.key.name] = _estimate(item)
        candidate = by_model.get((False, False), {})
        baseline, change = by_model.get((True, False)), by_model.get((False, True))
        if ranks.EXAMPLE_COUNT not in candidate:
            continue
        results.append(
            SliceResult(
                slice=slice_of(message.slice_key),
                examples=round(candidate[ranks.EXAMPLE_COUNT].value),
                candidate=_with_prefix(candidate, ""),
                floors={
                    floor: found
                    for floor in spec.FLOOR_TITLES
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
                candidates={
                    what: found.value
                    for what, found in _with_prefix(candidate, ranks.CANDIDATES_PREFIX).items()
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
    """The bins that have examples."""
    rows = np.array(array.float64_values).reshape(tuple(array.shape))
    return tuple(
        Bin(predicted, Estimate(observed, *((low, high) if low < high else ())), round(examples))
        for predicted, observed, low, high, examples in rows.tolist()
        if examples
    )


def value_order(value: str) -> tuple[float, str]:
    """Sorts `5-9` before `10-19`, and `low` before `medium` before `high`."""
    if value in names.USER_GROUPS:
        return (float(names.USER_GROUPS.index(value)), value)
    leading = re.match(r"\d+", value)
    return (float(leading.group()) if leading else 0.0, value)


_PREFIXES = (
    *(f"{floor}/" for floor in spec.FLOOR_TITLES),
    ranks.LIFT_PREFIX,
    ranks.UNREACHABLE_PREFIX,
    ranks.CANDIDATES_PREFIX,
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
    error, freedom = interval.standard_error.double_value.value, interval.degrees_of_freedom.value
    if low >= high:
        # Nothing to show: all values are equal, as those of a model and itself.
        return Estimate(value, error=error, freedom=freedom)
    if not item.key.is_diff and not item.key.name.startswith(ranks.LIFT_PREFIX):
        # The t interval is symmetric; no metric is negative, and most are shares.
        low = max(low, 0.0)
        if not item.key.name.startswith(("log_loss", "calibration")):
            high = min(high, 1.0)
    return Estimate(value, low, high, error, freedom)


def slice_of(key: Any) -> Slice:
    """A slice from its key in the results."""
    pairs = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else b""
        pairs.append(
            (single.column, value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
        )
    return tuple(pairs)
