"""Metrics of conversion models for TFMA, from the probabilities that the `evaluate` signature gives.

TFMA's own AUC, AUCPrecisionRecall, BinaryCrossEntropy and Calibration would do for the estimates, with
an example weight of 0 where a label is unknown. They are not used, for their intervals: TFMA's bootstrap
resamples examples, not users, and calls Python for each example in each resample; its AUC has 10,000
equal steps of probability, of which the rare positives of a conversion rate of 1 % share a few hundred.
Here an example adds to one count per step (`conversion_sums`), and every metric of every resample is a product
of small matrices (`conversion`, `conversion_results`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, conversion, conversion_results, conversion_sums, gating, spec
from schemas import names

# Examples that a slice holds before it folds them into counts.
_FOLD_AT = 8192


class _Preprocessor(tfma.metrics.Preprocessor):
    """Takes probabilities, labels and the user out of an example's extracts."""

    def __init__(self, model_names: Sequence[str], steps: Sequence[str], intervals: bool):
        super().__init__(name=f"footfall_steps({','.join(model_names)};{','.join(steps)};{intervals})")
        self._model_names, self._steps, self._intervals = tuple(model_names), tuple(steps), intervals

    def process(self, extracts: dict[str, Any]) -> Iterator[conversion_sums.Example]:
        probabilities: list[float] = []
        for model_name in self._model_names:
            outputs = extracts[tfma.PREDICTIONS_KEY]
            if len(self._model_names) > 1:
                outputs = outputs[model_name]
            probabilities.extend(self._probability(outputs, step) for step in self._steps)
        features = extracts[tfma.FEATURES_KEY]
        labels = tuple(_label(features, names.LABEL_PREFIX + step) for step in self._steps)
        user = bootstrap.user_hash(extracts) if self._intervals else 0
        yield conversion_sums.Example(user, labels, tuple(probabilities))

    def _probability(self, outputs: Any, step: str) -> float:
        # TFMA gives a single output without its name.
        if not isinstance(outputs, dict) and len(self._steps) == 1:
            outputs = {step: outputs}
        if not isinstance(outputs, dict) or step not in outputs:
            found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise ValueError(f"the evaluate signature must give {', '.join(self._steps)}, found {found}")
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


class _Combiner(beam.CombineFn):
    """Adds examples up by group of users, label and cell; see the module."""

    def __init__(self, results: conversion_results.Results):
        self._results = results

    def create_accumulator(self) -> conversion_sums.Sums:
        groups = self._results.groups
        return conversion_sums.Sums(
            keys=np.zeros(0, np.int64),
            values=np.zeros((0, 3)),
            recent=[],
            examples=np.zeros(groups),
            violations=np.zeros((len(self._results.models), groups)),
            pending=[],
        )

    def add_input(
        self, accumulator: conversion_sums.Sums, element: conversion_sums.Example
    ) -> conversion_sums.Sums:
        accumulator.pending.append(element)
        return self._fold(accumulator) if len(accumulator.pending) >= _FOLD_AT else accumulator

    def merge_accumulators(self, accumulators: Iterable[conversion_sums.Sums]) -> conversion_sums.Sums:
        result = self.create_accumulator()
        for part in accumulators:
            result.examples += part.examples
            result.violations += part.violations
            result.pending.extend(part.pending)
            conversion_sums.add(result, [(part.keys, part.values), *part.recent])
        return self._fold(result) if len(result.pending) >= _FOLD_AT else result

    def compact(self, accumulator: conversion_sums.Sums) -> conversion_sums.Sums:
        return conversion_sums.add_up(self._fold(accumulator))

    def extract_output(self, accumulator: conversion_sums.Sums) -> dict[tfma.metrics.MetricKey, Any]:
        return self._results.of(self.compact(accumulator))

    def _fold(self, sums: conversion_sums.Sums) -> conversion_sums.Sums:
        if not sums.pending:
            return sums
        models, steps, groups = len(self._results.models), len(self._results.steps), self._results.groups
        users, labels, probabilities = zip(*sums.pending)
        group = (np.array(users, np.uint64) % np.uint64(groups)).astype(np.int64)
        label = np.tile(np.array(labels, np.int64), (1, models))
        score = np.array(probabilities, np.float64)
        known = label != names.UNKNOWN_LABEL
        column = np.arange(models * steps) * groups + group[:, None]
        keys = (column * 2 + label) * conversion_sums.CELLS + conversion_sums.cells(score)
        values = np.stack([np.ones_like(score), score, conversion.log_losses(score, label)], axis=-1)
        conversion_sums.add(sums, [(keys[known], values[known])])
        sums.examples += np.bincount(group, minlength=groups)
        if self._results.ordered:
            for model, of_model in enumerate(score.reshape(-1, models, steps).swapaxes(0, 1)):
                violated = conversion.chain_violated(of_model)
                sums.violations[model] += np.bincount(group[violated], minlength=groups)
        sums.pending = []
        return sums


def _computations(
    steps: Sequence[str],
    chain: bool,
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
    results = conversion_results.Results(model_names, baseline, steps, chain, intervals, gate)
    return [
        tfma.metrics.MetricComputation(
            keys=results.keys(),
            preprocessors=[_Preprocessor(model_names, steps, results.resampled)],
            combiner=_Combiner(results),
        )
    ]


class ConversionMetrics(tfma.metrics.Metric):
    """All metrics of the labels of all models in one computation.

    Results, by name, for each model and slice; not a number where a metric has no value:
      `auc/buy`, `auc_pr/buy`, `ks/buy`, `log_loss/buy`, `ece/buy`: see `conversion`, over the exposures whose label of
        the step is known. `auc`, `auc_pr`, `log_loss`, `ks`: means over steps, if each has a value.
      `calibration/buy`: mean probability over share of positives; 1 is best.
      `positive_rate/buy`, `label_count/buy`: share of positives, and number, of known labels;
        `rarer_labels/buy`: how many of them are positive, or negative if that is less.
      `lift/log_loss/buy`: log loss of the best constant, the share of positives, minus the model's.
      `calibration_curve/buy`: array, a row a bin; see `conversion_results`.
      `chain_violations`: share of exposures where a later step is likelier than an earlier one;
        of a chain of two steps or more.
      `example_count`: exposures in the slice.
      With a baseline, differences candidate minus baseline (TFMA's diff keys), and `relaimpr/buy`
        (BPCM, eq. 14) among them.
      With `gate_metric`, `gate/lift/log_loss/buy` and the difference `gate/METRIC`, and the same with
        `slice/`: see `gating`.

    Made for `MetricConfig(class_name="ConversionMetrics", module=<this module>, config=<JSON>)`.

    Args:
      steps: names of the labels, of a chain in its order: outputs of `evaluate`, whose labels are `label_STEP`.
      intervals: give 95 % intervals by a Poisson bootstrap over users (none where half of the resamples have no
        value, or of effectively one user: of those with the examples or, of `auc`, `auc_pr` and `ks`, with the rarer
        label).
      gate_metric: metric for the `gate/` and `slice/` differences.
      min_slice_examples: size below which a slice passes the `slice/` thresholds.
      confidence: of the intervals that the gate goes by; None or 0: it goes by the estimates.
      min_positives: a slice with fewer positive or negative labels of a step passes, too.
      chain: whether the labels are steps of a chain.
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
        chain: bool = True,
        name: str = "conversion",
    ):
        if not steps:
            raise ValueError("there is a step at least, found none")
        measured = spec.conversion_metrics(steps, chain)
        if gate_metric is not None and gate_metric not in measured:
            raise ValueError(f"gate_metric must be one of {measured}, found {gate_metric}")
        super().__init__(
            _computations,
            steps=list(steps),
            chain=chain,
            intervals=intervals,
            gate_metric=gate_metric,
            min_slice_examples=min_slice_examples,
            confidence=confidence,
            min_positives=min_positives,
            name=name,
        )
