"""Metrics of conversion models for TFMA, from the probabilities that the `evaluate` signature gives.

TFMA's own AUC, AUCPrecisionRecall, BinaryCrossEntropy and Calibration would do for the estimates, with
an example weight of 0 where a label is unknown. They are not used, for their intervals: TFMA's bootstrap
resamples examples, not users, and calls Python for each example in each resample; its AUC has 10,000
equal steps of probability, of which the rare positives of a conversion rate of 1 % share a few hundred.
Here an example adds to one count per step: (group of users, label, cell of its score). 4,096 cells are
equally wide in logits, so that scores in one cell differ by less than 0.8 % in odds (the AUC that they
would add among themselves is lost: about 1e-4, less where scores spread); sums of probabilities and
losses are exact. The counts are sparse and merge by addition: memory grows with the examples only up
to cells x groups, and every metric of every resample is a product of small matrices; see `conversion`.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, conversion, gating, ranks, spec
from schemas import names

POSITIVE_RATE = "positive_rate"
LABEL_COUNT = "label_count"
RARER_LABELS = spec.RARER_LABELS
RELATIVE_IMPROVEMENT = "relaimpr"
CURVE = "calibration_curve"
# Columns of a curve, a row a bin of `conversion.BINS`: mean probability, share of positives with the
# bounds of its 95 % interval, and examples.
CURVE_COLUMNS = ("predicted", "observed", "low", "high", "examples")

_LIFT = ranks.LIFT_PREFIX + "log_loss"
_CELLS = 4096
_CELLS_PER_LOGIT = 128  # from -16 to 16: a probability of 1e-7, and of 1 - 1e-7
# Users are put together by their hash: the spread of a mean over 1,000 groups is known to 2 %.
_GROUPS = 1000
# Examples that a slice holds before it folds them into counts.
_FOLD_AT = 8192
# A resample may have no positive; with fewer than this share that have, there is no interval.
_DEFINED = 0.5


class _Example(NamedTuple):
    """A hash of the user, the labels, and the probabilities of each model in turn."""

    user: int
    labels: tuple[int, ...]
    probabilities: tuple[float, ...]


class _Preprocessor(tfma.metrics.Preprocessor):
    """Takes probabilities, labels and the user out of an example's extracts."""

    def __init__(self, model_names: Sequence[str], steps: Sequence[str], intervals: bool):
        super().__init__(name=f"footfall_steps({','.join(model_names)};{','.join(steps)};{intervals})")
        self._model_names, self._steps, self._intervals = tuple(model_names), tuple(steps), intervals

    def process(self, extracts: dict[str, Any]) -> Iterator[_Example]:
        probabilities: list[float] = []
        for model_name in self._model_names:
            outputs = extracts[tfma.PREDICTIONS_KEY]
            if len(self._model_names) > 1:
                outputs = outputs[model_name]
            probabilities.extend(self._probability(outputs, step) for step in self._steps)
        features = extracts[tfma.FEATURES_KEY]
        labels = tuple(_label(features, names.LABEL_PREFIX + step) for step in self._steps)
        user = bootstrap.user_hash(extracts) if self._intervals else 0
        yield _Example(user, labels, tuple(probabilities))

    def _probability(self, outputs: Any, step: str) -> float:
        # TFMA gives a single output without its name.
        if not isinstance(outputs, dict) and len(self._steps) == 1:
            outputs = {step: outputs}
        if not isinstance(outputs, dict) or step not in outputs:
            found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise ValueError(
                f"the evaluate signature must give {', '.join(self._steps)}, found {found}; if it is that of a "
                "model blessed before window.steps changed, give the experiment another name"
            )
        value = float(np.asarray(outputs[step]).item())
        if not 0 <= value <= 1:
            raise ValueError(f"the evaluate signature gave {value} as a probability of {step}")
        return value


def _label(features: dict[str, Any], key: str) -> int:
    value = np.asarray(features.get(key, ())).reshape(-1)
    if value.size != 1 or int(value[0]) not in (0, 1, names.UNKNOWN_LABEL):
        raise ValueError(
            f"an exposure has one {key} of 0, 1 or {names.UNKNOWN_LABEL}, found {value.tolist()}"
        )
    return int(value[0])


def cells(probabilities: np.ndarray) -> np.ndarray:
    """The cell of each probability: any shape, int64 from 0 to 4,095, ascending."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-9, 1 - 1e-9)
    logits = np.log(p) - np.log1p(-p)
    return np.clip(np.floor(logits * _CELLS_PER_LOGIT).astype(np.int64) + _CELLS // 2, 0, _CELLS - 1)


@dataclasses.dataclass
class _Sums:
    """What a slice has seen.

    Attributes:
      keys: `[K]` int64, ascending: (((column * groups) + group) * 2 + label) * cells + cell, a column
        being a step of a model.
      values: `[K, 3]` float64 by key: examples, probabilities, log losses.
      recent: keys and values as they came, to be added to those when they are as many.
      examples: `[G]`, by group of users.
      violations: `[models, G]`, of the chain.
      pending: examples not yet counted.
    """

    keys: np.ndarray
    values: np.ndarray
    recent: list[tuple[np.ndarray, np.ndarray]]
    examples: np.ndarray
    violations: np.ndarray
    pending: list[_Example]


class _Results:
    """Which metrics come out of the sums, of which model.

    Args:
      model_names: of the models, in the order of an example's probabilities.
      baseline: the one that the others are compared with, or None.
      steps: of the chain.
      intervals: whether all values have an interval, or only what the gate asks for.
      gate: makes the `gate/` and `slice/` results; None: there are none.
    """

    def __init__(
        self,
        model_names: Sequence[str],
        baseline: str | None,
        steps: Sequence[str],
        intervals: bool,
        gate: gating.Gate | None,
    ):
        self.models, self.steps = tuple(model_names), tuple(steps)
        self.resampled = intervals or bool(gate and gate.confidence)
        self.groups = _GROUPS if self.resampled else 1
        self._baseline = baseline if baseline in self.models else None
        self._compared = [model for model in self.models if model != self._baseline]
        self._gate, self._intervals = gate, intervals
        self._names = (
            *spec.conversion_metrics(self.steps),
            *(f"{name}/{step}" for name in (POSITIVE_RATE, _LIFT) for step in self.steps),
        )

    def keys(self) -> list[tfma.metrics.MetricKey]:
        """Keys of everything that `of` gives."""
        own = [*self._names, ranks.EXAMPLE_COUNT]
        own += [f"{name}/{step}" for name in (LABEL_COUNT, RARER_LABELS, CURVE) for step in self.steps]
        keys = [ranks.metric_key(name, model) for model in self.models for name in own]
        if self._baseline is not None:
            changes = [*self._names, *(f"{RELATIVE_IMPROVEMENT}/{step}" for step in self.steps)]
            keys += [ranks.metric_key(name, model, True) for model in self._compared for name in changes]
        for prefix in (gating.GATE_PREFIX, gating.SLICE_PREFIX) if self._gate else ():
            for model in self._compared:
                keys += [ranks.metric_key(f"{prefix}{_LIFT}/{step}", model) for step in self.steps]
                if self._baseline is not None:
                    keys.append(ranks.metric_key(prefix + self._gate.metric, model, True))
        return keys

    def of(self, sums: _Sums) -> dict[tfma.metrics.MetricKey, Any]:
        """The metrics of a slice, as numbers or (with resamples) as TFMA's values with an interval."""
        occupied = np.flatnonzero(sums.examples)
        weights = np.ones((1, len(occupied)))
        if self.groups > 1 and len(occupied) > 1:
            weights = np.concatenate([weights, _group_weights()[occupied].T])
        freedom = min(bootstrap.RESAMPLES, len(occupied)) - 1
        result: dict[tfma.metrics.MetricKey, Any] = {}
        by_model: dict[str, dict[str, np.ndarray]] = {}
        for index, model in enumerate(self.models):
            values: dict[str, np.ndarray] = {}
            for number, step in enumerate(self.steps):
                counts = self._counts(sums, index * len(self.steps) + number, occupied)
                measured = conversion.measure(counts, weights)
                values.update({f"{name}/{step}": found for name, found in measured.metrics.items()})
                values[f"{_LIFT}/{step}"] = values.pop(f"lift/{step}")
                known, positive = measured.bin_examples[0].sum(), measured.bin_positives[0].sum()
                result[ranks.metric_key(f"{LABEL_COUNT}/{step}", model)] = float(known)
                result[ranks.metric_key(f"{RARER_LABELS}/{step}", model)] = float(
                    min(positive, known - positive)
                )
                result[ranks.metric_key(f"{CURVE}/{step}", model)] = _curve(
                    measured, freedom if self._intervals else 0
                )
            for name in self._names:
                if name not in values and name != spec.CHAIN_VIOLATIONS:
                    values[name] = np.mean([values[f"{name}/{step}"] for step in self.steps], axis=0)
            if spec.CHAIN_VIOLATIONS in self._names:
                violations = weights @ sums.violations[index, occupied]
                total = weights @ sums.examples[occupied]
                values[spec.CHAIN_VIOLATIONS] = np.divide(
                    violations, total, out=np.full(len(total), np.nan), where=total > 0
                )
            by_model[model] = values
            for name in self._names:
                gated = self._gate is not None and name.startswith(_LIFT)
                found = _estimate(values[name], freedom)
                result[ranks.metric_key(name, model)] = _value(found, self._intervals or gated)
            result[ranks.metric_key(ranks.EXAMPLE_COUNT, model)] = float(sums.examples.sum())
        if self._baseline is not None:
            base = by_model[self._baseline]
            for model in self._compared:
                changes = {name: by_model[model][name] - base[name] for name in self._names}
                for step in self.steps:
                    changes[f"{RELATIVE_IMPROVEMENT}/{step}"] = conversion.relative_improvement(
                        by_model[model][f"{spec.AUC}/{step}"], base[f"{spec.AUC}/{step}"]
                    )
                for name, change in changes.items():
                    gated = self._gate is not None and name == self._gate.metric
                    found = _estimate(change, freedom)
                    result[ranks.metric_key(name, model, True)] = _value(found, self._intervals or gated)
        if self._gate:
            self._add_gate(result, self._gate, float(sums.examples.sum()))
        return result

    def _add_gate(
        self, result: dict[tfma.metrics.MetricKey, Any], gate: gating.Gate, examples: float
    ) -> None:
        """Adds what the gate sees."""
        for model in self._compared:
            enough = {
                step: result[ranks.metric_key(f"{RARER_LABELS}/{step}", model)] >= gate.min_positives
                for step in self.steps
            }
            for step in self.steps:
                name = f"{_LIFT}/{step}"
                lift = _difference(result[ranks.metric_key(name, model)])
                decides = examples >= gate.min_examples and enough[step]
                result[ranks.metric_key(gating.GATE_PREFIX + name, model)] = gate.lift(lift)
                result[ranks.metric_key(gating.SLICE_PREFIX + name, model)] = gate.slice_lift(lift, decides)
            if self._baseline is not None:
                name = gate.metric
                change = _difference(result[ranks.metric_key(name, model, True)])
                step = name.partition("/")[2]
                decides = examples >= gate.min_examples and (enough[step] if step else all(enough.values()))
                result[ranks.metric_key(gating.GATE_PREFIX + name, model, True)] = gate.drop(change)
                result[ranks.metric_key(gating.SLICE_PREFIX + name, model, True)] = gate.slice_drop(
                    change, decides
                )

    def _counts(self, sums: _Sums, column: int, occupied: np.ndarray) -> conversion.Counts:
        width = self.groups * 2 * _CELLS
        first, last = np.searchsorted(sums.keys, [column * width, (column + 1) * width])
        keys, values = sums.keys[first:last] - column * width, sums.values[first:last]
        rest, cell = np.divmod(keys, _CELLS)
        group, label = np.divmod(rest, 2)
        return conversion.count(
            units=np.searchsorted(occupied, group),
            cells=cell,
            labels=label,
            predicted=values[:, 1],
            loss=values[:, 2],
            examples=values[:, 0],
            units_count=len(occupied),
        )


@functools.lru_cache(maxsize=1)
def _group_weights() -> np.ndarray:
    """How often each resample takes each group, `[G, RESAMPLES]`."""
    return bootstrap.poisson_weights(np.arange(1, _GROUPS + 1, dtype=np.uint64))


def _standard_errors(samples: np.ndarray) -> np.ndarray:
    """Standard deviation over the resamples that have a value: `[R, ...]` to `[...]`; nan if too few have."""
    defined = np.isfinite(samples)
    number = defined.sum(axis=0)
    filled = np.where(defined, samples, 0.0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(defined, samples - mean, 0.0) ** 2).sum(axis=0)
    enough = (number >= 2) & (number >= _DEFINED * len(samples))
    return np.where(enough, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan)


def _estimate(samples: np.ndarray, freedom: int) -> gating.Difference:
    """The estimate (the first of the samples) and the spread of the resamples that follow."""
    estimate = float(samples[0])
    error = float(_standard_errors(samples[1:])) if len(samples) > 1 else np.nan
    if not np.isfinite(estimate) or not np.isfinite(error) or freedom < 1:
        return gating.Difference(estimate)
    return gating.Difference(estimate, error, freedom)


def _value(found: gating.Difference, interval: bool) -> Any:
    """A number or, where there is an interval and it is wanted, TFMA's value with one."""
    if not found.freedom or not interval:
        return found.value
    return tfma.types.ValueWithTDistribution(*found, found.value)


def _difference(value: Any) -> gating.Difference:
    if isinstance(value, tfma.types.ValueWithTDistribution):
        return gating.Difference(
            float(value), value.sample_standard_deviation, value.sample_degrees_of_freedom
        )
    return gating.Difference(float(value))


def _curve(measured: conversion.Measured, freedom: int) -> np.ndarray:
    """The calibration curve: `[bins, len(CURVE_COLUMNS)]`, a row for each bin that has examples."""
    examples, positives = measured.bin_examples, measured.bin_positives
    filled = examples[0] > 0
    shares = np.divide(
        positives[:, filled],
        examples[:, filled],
        out=np.full((len(examples), int(filled.sum())), np.nan),
        where=examples[:, filled] > 0,
    )
    spread = np.full(shares.shape[1], np.nan)
    if len(shares) > 1 and freedom >= 1:
        spread = bootstrap.quantile(freedom) * _standard_errors(shares[1:])
    predicted = measured.bin_predicted[0, filled] / examples[0, filled]
    low, high = np.maximum(shares[0] - spread, 0.0), np.minimum(shares[0] + spread, 1.0)
    return np.stack([predicted, shares[0], low, high, examples[0, filled]], axis=1)


class _Combiner(beam.CombineFn):
    """Adds examples up by group of users, label and cell; see the module."""

    def __init__(self, results: _Results):
        self._results = results

    def create_accumulator(self) -> _Sums:
        groups = self._results.groups
        return _Sums(
            keys=np.zeros(0, np.int64),
            values=np.zeros((0, 3)),
            recent=[],
            examples=np.zeros(groups),
            violations=np.zeros((len(self._results.models), groups)),
            pending=[],
        )

    def add_input(self, accumulator: _Sums, element: _Example) -> _Sums:
        accumulator.pending.append(element)
        return self._fold(accumulator) if len(accumulator.pending) >= _FOLD_AT else accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        result = self.create_accumulator()
        for part in accumulators:
            result.examples += part.examples
            result.violations += part.violations
            result.pending.extend(part.pending)
            _add(result, [(part.keys, part.values), *part.recent])
        return self._fold(result) if len(result.pending) >= _FOLD_AT else result

    def compact(self, accumulator: _Sums) -> _Sums:
        return _add_up(self._fold(accumulator))

    def extract_output(self, accumulator: _Sums) -> dict[tfma.metrics.MetricKey, Any]:
        return self._results.of(self.compact(accumulator))

    def _fold(self, sums: _Sums) -> _Sums:
        if not sums.pending:
            return sums
        models, steps, groups = len(self._results.models), len(self._results.steps), self._results.groups
        users, labels, probabilities = zip(*sums.pending)
        group = (np.array(users, np.uint64) % np.uint64(groups)).astype(np.int64)
        label = np.tile(np.array(labels, np.int64), (1, models))
        score = np.array(probabilities, np.float64)
        known = label != names.UNKNOWN_LABEL
        keys = ((np.arange(models * steps) * groups + group[:, None]) * 2 + label) * _CELLS + cells(score)
        values = np.stack([np.ones_like(score), score, conversion.log_losses(score, label)], axis=-1)
        _add(sums, [(keys[known], values[known])])
        sums.examples += np.bincount(group, minlength=groups)
        for model, of_model in enumerate(score.reshape(-1, models, steps).swapaxes(0, 1)):
            violated = conversion.chain_violated(of_model)
            sums.violations[model] += np.bincount(group[violated], minlength=groups)
        sums.pending = []
        return sums


def _add(sums: _Sums, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Keeps keys and values, and adds them up when they outnumber the sums: few sorts, not one a batch."""
    sums.recent.extend(part for part in parts if len(part[0]))
    if sum(len(keys) for keys, _ in sums.recent) > len(sums.keys):
        _add_up(sums)


def _add_up(sums: _Sums) -> _Sums:
    """Leaves each key once, in ascending order."""
    if sums.recent:
        parts = [(sums.keys, sums.values), *sums.recent]
        sums.keys, inverse = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
        values = np.concatenate([values for _, values in parts])
        columns = [np.bincount(inverse, column, minlength=len(sums.keys)) for column in values.T]
        sums.values, sums.recent = np.stack(columns, axis=1), []
    return sums


def _computations(
    steps: Sequence[str],
    intervals: bool,
    gate_metric: str | None,
    min_slice_examples: int,
    confidence: float | None,
    min_positives: int,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: Sequence[str] = ("",),
) -> list[tfma.metrics.MetricComputation]:
    del name
    baseline = None
    if eval_config is not None:
        baseline = next((found.name for found in eval_config.model_specs if found.is_baseline), None)
    gate = None
    if gate_metric:
        gate = gating.Gate(gate_metric, min_slice_examples, confidence, min_positives)
    results = _Results(model_names, baseline, steps, intervals, gate)
    return [
        tfma.metrics.MetricComputation(
            keys=results.keys(),
            preprocessors=[_Preprocessor(model_names, steps, results.resampled)],
            combiner=_Combiner(results),
        )
    ]


class ConversionMetrics(tfma.metrics.Metric):
    """All metrics of a chain of steps, of all models, in one computation.

    Results, by name, for each model and slice; not a number where a metric has no value:
      `auc/buy`, `auc_pr/buy`, `log_loss/buy`, `ece/buy`: see `conversion`, over the exposures whose label of
        the step is known. `auc`, `auc_pr`, `log_loss`: means over steps, if each has a value.
      `calibration/buy`: mean probability over share of positives; 1 is best.
      `positive_rate/buy`, `label_count/buy`: share of positives, and number, of known labels;
        `rarer_labels/buy`: how many of them are positive, or negative if that is less.
      `lift/log_loss/buy`: log loss of the best constant, the share of positives, minus the model's.
      `calibration_curve/buy`: array, a row a bin; see CURVE_COLUMNS.
      `chain_violations`: share of exposures where a later step is likelier than an earlier one;
        with two steps or more.
      `example_count`: exposures in the slice.
      With a baseline, differences candidate minus baseline (TFMA's diff keys), and `relaimpr/buy`
        (BPCM, eq. 14) among them.
      With `gate_metric`, `gate/lift/log_loss/buy` and the difference `gate/METRIC`, and the same with
        `slice/`: see `gating`.

    Made for `MetricConfig(class_name="ConversionMetrics", module=<this module>, config=<JSON>)`.

    Args:
      steps: of the chain, in order: outputs of `evaluate`, whose labels are `label_STEP`.
      intervals: give 95 % intervals by a Poisson bootstrap over users (none for a slice of one
        user, or where half of the resamples have no value).
      gate_metric: metric for the `gate/` and `slice/` differences.
      min_slice_examples: size below which a slice passes the `slice/` thresholds.
      confidence: of the intervals that the gate goes by; None or 0: it goes by the estimates.
      min_positives: a slice with fewer positive or negative labels of a step passes, too.
      name: unused by the results; TFMA wants one.

    Raises:
      ValueError: for no step, or a gate metric that is not computed.
    """

    def __init__(
        self,
        steps: Sequence[str],
        intervals: bool = False,
        gate_metric: str | None = None,
        min_slice_examples: int = 1,
        confidence: float | None = None,
        min_positives: int = 0,
        name: str = "conversion",
    ):
        if not steps:
            raise ValueError("a chain has a step, found none")
        if gate_metric is not None and gate_metric not in spec.conversion_metrics(steps):
            raise ValueError(
                f"gate_metric must be one of {spec.conversion_metrics(steps)}, found {gate_metric}"
            )
        super().__init__(
            _computations,
            steps=list(steps),
            intervals=intervals,
            gate_metric=gate_metric,
            min_slice_examples=min_slice_examples,
            confidence=confidence,
            min_positives=min_positives,
            name=name,
        )
