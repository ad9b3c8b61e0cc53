"""From sums to the metrics of conversion models: estimates, intervals, differences, and what the gate sees."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluator import bootstrap, conversion, conversion_sums, gating, ranks, spec

POSITIVE_RATE = "positive_rate"
LABEL_COUNT = "label_count"
RARER_LABELS = spec.RARER_LABELS
RELATIVE_IMPROVEMENT = "relaimpr"
CURVE = "calibration_curve"
# Columns of a curve, a row a bin of `conversion.BINS`: mean probability, share of positives with the
# bounds of its 95 % interval, and examples.
CURVE_COLUMNS = ("predicted", "observed", "low", "high", "examples")
_LIFT = ranks.LIFT_PREFIX + "log_loss"
# Users are put together by their hash: the spread of a mean over 1,000 groups is known to 2 %.
_GROUPS = 1000
# A resample may have no positive; with fewer than this share that have, there is no interval.
_DEFINED = 0.5


class Results:
    """Which metrics come out of the sums, of which model.

    Args:
      model_names: of the models, in the order of an example's probabilities.
      baseline: the one that the others are compared with, or None.
      steps: names of the labels.
      chain: whether they are steps of a chain, in their order.
      intervals: whether all values have an interval, or only what the gate asks for.
      gate: makes the `gate/` and `slice/` results; None: there are none.
    """

    def __init__(
        self,
        model_names: Sequence[str],
        baseline: str | None,
        steps: Sequence[str],
        chain: bool,
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
            *spec.conversion_metrics(self.steps, chain),
            *(f"{name}/{step}" for name in (POSITIVE_RATE, _LIFT) for step in self.steps),
        )
        self.ordered = spec.CHAIN_VIOLATIONS in self._names

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
        if self._gate and self._baseline is not None:
            keys += ranks.lost_of(self._gate, self._baseline, 0.0)
        return keys

    def of(self, sums: conversion_sums.Sums) -> dict[tfma.metrics.MetricKey, Any]:
        """The metrics of a slice, as numbers or (with resamples) as TFMA's values with an interval."""
        occupied = np.flatnonzero(sums.examples)
        weights = np.ones((1, len(occupied)))
        if self.groups > 1 and len(occupied) > 1:
            weights = np.concatenate([weights, _group_weights()[occupied].T])
        freedoms = {spec.CHAIN_VIOLATIONS: _freedom(sums.examples[occupied])}
        result: dict[tfma.metrics.MetricKey, Any] = {}
        by_model: dict[str, dict[str, np.ndarray]] = {}
        for index, model in enumerate(self.models):
            values: dict[str, np.ndarray] = {}
            for number, step in enumerate(self.steps):
                counts = self._counts(sums, index * len(self.steps) + number, occupied)
                measured = conversion.measure(counts, weights)
                by_label = [each.sum(axis=1) for each in (counts.positives, counts.negatives)]
                of_all, of_rarer = _freedom(by_label[0] + by_label[1]), min(map(_freedom, by_label))
                for name, of_name in measured.metrics.items():
                    key = f"{_LIFT if name == 'lift' else name}/{step}"
                    values[key] = of_name
                    # Labels are those of all models.
                    freedoms[key] = of_rarer if name in conversion.RANKED else of_all
                known, positive = measured.bin_examples[0].sum(), measured.bin_positives[0].sum()
                result[ranks.metric_key(f"{LABEL_COUNT}/{step}", model)] = float(known)
                result[ranks.metric_key(f"{RARER_LABELS}/{step}", model)] = float(
                    min(positive, known - positive)
                )
                result[ranks.metric_key(f"{CURVE}/{step}", model)] = _curve(
                    measured, of_all if self._intervals else 0
                )
            for name in self._names:
                if name not in values and name != spec.CHAIN_VIOLATIONS:
                    values[name] = np.mean([values[f"{name}/{step}"] for step in self.steps], axis=0)
                    freedoms[name] = min(freedoms[f"{name}/{step}"] for step in self.steps)
            if self.ordered:
                violations = weights @ sums.violations[index, occupied]
                total = weights @ sums.examples[occupied]
                values[spec.CHAIN_VIOLATIONS] = np.divide(
                    violations, total, out=np.full(len(total), np.nan), where=total > 0
                )
            by_model[model] = values
            for name in self._names:
                gated = self._gate is not None and name.startswith(_LIFT)
                found = _estimate(values[name], freedoms[name])
                result[ranks.metric_key(name, model)] = _value(found, self._intervals or gated)
            result[ranks.metric_key(ranks.EXAMPLE_COUNT, model)] = float(sums.examples.sum())
        if self._baseline is not None:
            base = by_model[self._baseline]
            for model in self._compared:
                changes = {name: by_model[model][name] - base[name] for name in self._names}
                for step in self.steps:
                    auc, improved = f"{spec.AUC}/{step}", f"{RELATIVE_IMPROVEMENT}/{step}"
                    changes[improved] = conversion.relative_improvement(by_model[model][auc], base[auc])
                    freedoms[improved] = freedoms[auc]
                for name, change in changes.items():
                    gated = self._gate is not None and name == self._gate.metric
                    found = _estimate(change, freedoms[name])
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
                live = _difference(result[ranks.metric_key(name, self._baseline)]).value
                result.update(ranks.lost_of(gate, self._baseline, live))

    def _counts(self, sums: conversion_sums.Sums, column: int, occupied: np.ndarray) -> conversion.Counts:
        width = self.groups * 2 * conversion_sums.CELLS
        first, last = np.searchsorted(sums.keys, [column * width, (column + 1) * width])
        keys, values = sums.keys[first:last] - column * width, sums.values[first:last]
        rest, cell = np.divmod(keys, conversion_sums.CELLS)
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


def _freedom(examples: np.ndarray) -> int:
    """Degrees of freedom of what is measured on so many examples of each unit.

    Of what ranks, the examples with the rarer label tell: those of one user are one draw, and however often a resample
    has it, it has the same curve.
    """
    return max(min(bootstrap.RESAMPLES, round(conversion.effective(examples))) - 1, 0)


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
    """The calibration curve: `[BINS, len(CURVE_COLUMNS)]`, not a number where a bin has no examples.

    Those are kept, since TFMA subtracts the curves of two models, whose scores may fill different numbers of bins.
    """
    examples, positives = measured.bin_examples, measured.bin_positives
    shares = np.divide(positives, examples, out=np.full(examples.shape, np.nan), where=examples > 0)
    spread = np.full(shares.shape[1], np.nan)
    if len(shares) > 1 and freedom >= 1:
        spread = bootstrap.quantile(freedom) * _standard_errors(shares[1:])
    filled = examples[0] > 0
    predicted = np.divide(
        measured.bin_predicted[0], examples[0], out=np.full(len(filled), np.nan), where=filled
    )
    low, high = np.maximum(shares[0] - spread, 0.0), np.minimum(shares[0] + spread, 1.0)
    return np.stack([predicted, shares[0], low, high, examples[0]], axis=1)
