"""From our settings to TFMA's: what the standard TFX Evaluator computes and demands."""

import json
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import checks, gating, objectives, ranks, spec
from components.evaluator.objectives import objective as objective_lib

SIGNATURE = "evaluate"
# Settings of a ranking among candidates, in those of the metrics: how long before a moment they were seen, in seconds, and
# the Examples artifact that says which they are, as the executor notes it.
CANDIDATES_WITHIN, CANDIDATES_OF = "candidates_within", "candidates_of"

# Where a lift of nothing is asked it must be above: equal to the floor is not better. Less than any difference of
# means, more than rounding.
_ABOVE = 1e-9


def eval_config(
    evaluation: spec.EvaluationSpec, gate: spec.GateSpec, objective: str, window: Any, scenes: bool = False
) -> config_pb2.EvalConfig:
    """The configuration of the standard Evaluator.

    Both models answer through their `evaluate` signature from serialised examples; TFMA itself reads no
    label. Without a baseline model TFX drops the baseline and the change thresholds.

    Args:
      evaluation: what is measured.
      gate: the conditions of the blessing.
      objective: of the model; says which metrics there are.
      window: settings of the windows, of which labels have their names.
      scenes: whether the model ranks scenes, too.

    Raises:
      errors.InputError: for a condition on a metric or slice that is not measured.
    """
    checks.check(evaluation, gate, objective, window, scenes)
    learnt = objectives.get(objective)
    settings: dict[str, Any] = {
        "intervals": evaluation.confidence_intervals,
        # Without a condition on it, it need not be measured.
        "gate_metric": learnt.gate_metric(gate) if checks.asks_for_change(gate, learnt) else None,
        "min_slice_examples": gate.min_slice_examples,
        "confidence": gate.confidence or None,
        **learnt.settings(evaluation, gate, window, scenes),
    }
    conditions = _asked(gate, learnt, window)
    metrics_module, _, metrics_class = learnt.metrics.rpartition(".")
    return config_pb2.EvalConfig(
        model_specs=[
            # The generic loader runs the signature as TensorFlow Serving does, without Keras.
            config_pb2.ModelSpec(
                name=name, signature_name=SIGNATURE, model_type=tfma.TF_GENERIC, is_baseline=baseline
            )
            for name, baseline in ((tfma.CANDIDATE_KEY, False), (tfma.BASELINE_KEY, True))
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in evaluation.slices),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name=metrics_class,
                        module=metrics_module,
                        config=json.dumps(settings, sort_keys=True),
                    )
                ],
                per_slice_thresholds=conditions.thresholds(),
            )
        ],
        # Intervals come from our metrics: see `bootstrap`.
        options=config_pb2.Options(
            include_default_metrics={"value": False}, compute_confidence_intervals={"value": False}
        ),
    )


def _asked(gate: spec.GateSpec, learnt: objective_lib.Objective, window: Any) -> "_Conditions":
    """What the gate asks of the metrics of an objective."""
    metric = learnt.gate_metric(gate)
    overall = [config_pb2.SlicingSpec()]
    conditions = _Conditions()
    # A model is blessed only if some threshold was checked, and change thresholds are not checked
    # without a baseline. This one is always there, so that a gate without conditions is open.
    conditions.add(ranks.EXAMPLE_COUNT, overall, at_least=gate.min_examples)
    for name, least in learnt.least(gate, window).items():
        conditions.add(name, overall, at_least=least)
    lifts = [ranks.LIFT_PREFIX + name for name in learnt.lifts(gate, window)]
    min_lift = getattr(gate, learnt.lift)
    for name in sorted({*gate.min, *gate.max}):
        conditions.add(name, overall, at_least=gate.min.get(name), at_most=gate.max.get(name))
    for lift in lifts:
        conditions.add(gating.GATE_PREFIX + lift, overall, at_least=_ABOVE if min_lift == 0 else min_lift)
    drop = {"worse_by_at_most": gate.max_drop, "loses_at_most": gate.max_relative_drop}
    conditions.add(gating.GATE_PREFIX + metric, overall, **drop)
    slices = [config_pb2.SlicingSpec(feature_keys=[feature]) for feature in gate.slices]
    if slices:
        for lift in lifts:
            conditions.add(gating.SLICE_PREFIX + lift, slices, at_least=min_lift)
        conditions.add(gating.SLICE_PREFIX + metric, slices, **drop)
    return conditions


class _Conditions:
    """Thresholds by metric."""

    def __init__(self) -> None:
        self._by_metric: dict[str, list[config_pb2.PerSliceMetricThreshold]] = {}

    def add(
        self,
        name: str,
        slices: list[config_pb2.SlicingSpec],
        at_least: float | None = None,
        at_most: float | None = None,
        worse_by_at_most: float | None = None,
        loses_at_most: float | None = None,
    ) -> None:
        """Adds a condition on a metric's value or on its change; None asks for nothing.

        Args:
          worse_by_at_most: than the baseline's.
          loses_at_most: with `worse_by_at_most`, which share of the baseline's, where more is better.
        """
        threshold = config_pb2.MetricThreshold()
        if at_least is not None:
            threshold.value_threshold.lower_bound.value = at_least
        if at_most is not None:
            threshold.value_threshold.upper_bound.value = at_most
        if worse_by_at_most is not None:
            change = threshold.change_threshold
            if spec.lower_is_better(name.removeprefix(gating.GATE_PREFIX).removeprefix(gating.SLICE_PREFIX)):
                change.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
                change.absolute.value = worse_by_at_most
            else:
                change.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
                change.absolute.value = -worse_by_at_most
                if loses_at_most is not None:
                    change.relative.value = -loses_at_most
        if not threshold.HasField("value_threshold") and not threshold.HasField("change_threshold"):
            return
        self._by_metric.setdefault(name, []).append(
            config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)
        )

    def thresholds(self) -> dict[str, config_pb2.PerSliceMetricThresholds]:
        return {
            name: config_pb2.PerSliceMetricThresholds(thresholds=thresholds)
            for name, thresholds in self._by_metric.items()
        }
