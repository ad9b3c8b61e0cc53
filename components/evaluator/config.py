"""From our settings to TFMA's: what the standard TFX Evaluator computes and demands."""

import json
from typing import Dict, List, Optional

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import metrics, spec
from schemas import errors

SIGNATURE = "evaluate"

# A model is blessed only if some threshold was checked, and change thresholds are not checked
# without a baseline. This one holds for every model, so that a gate without conditions is open.
_OPEN = 0.0


def eval_config(evaluation: spec.EvaluationSpec, gate: spec.GateSpec) -> config_pb2.EvalConfig:
    """The configuration of the standard Evaluator.

    Both models answer through their `evaluate` signature from serialised examples, and no label
    is read. Without a baseline model TFX drops the baseline and the change thresholds.

    Args:
      evaluation: what is measured.
      gate: the conditions of the blessing.

    Raises:
      errors.InputError: for a condition on a metric or slice that is not measured.
    """
    _check(evaluation, gate)
    cutoffs = sorted(set(evaluation.cutoffs))
    settings = {
        "cutoffs": cutoffs,
        "intervals": evaluation.confidence_intervals,
        "gate_metric": gate.metric,
        "min_slice_examples": gate.min_slice_examples,
    }
    if evaluation.sampled_negatives is not None:
        settings["sampled_negatives"] = evaluation.sampled_negatives
    overall = [config_pb2.SlicingSpec()]
    conditions = _Conditions()
    conditions.add(metrics.EXAMPLE_COUNT, overall, at_least=_OPEN)
    for name, floor in sorted(gate.min.items()):
        conditions.add(name, overall, at_least=floor)
    lift = metrics.LIFT_PREFIX + gate.metric
    conditions.add(lift, overall, at_least=gate.min_lift_over_popularity)
    conditions.add(gate.metric, overall, drop_at_most=gate.max_drop)
    slices = [config_pb2.SlicingSpec(feature_keys=[feature]) for feature in gate.slices]
    if slices:
        conditions.add(metrics.GATE_PREFIX + lift, slices, at_least=gate.min_lift_over_popularity)
        conditions.add(metrics.GATE_PREFIX + gate.metric, slices, drop_at_most=gate.max_drop)

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
                        class_name=metrics.RankingMetrics.__name__,
                        module=metrics.__name__,
                        config=json.dumps(settings, sort_keys=True),
                    )
                ],
                per_slice_thresholds=conditions.thresholds(),
            )
        ],
        # Intervals come from our metric: see RankingMetrics.
        options=config_pb2.Options(
            include_default_metrics={"value": False}, compute_confidence_intervals={"value": False}
        ),
    )


def _check(evaluation: spec.EvaluationSpec, gate: spec.GateSpec) -> None:
    cutoffs = sorted(set(evaluation.cutoffs))
    allowed = metrics.metric_names(cutoffs, evaluation.sampled_negatives)
    for name in gate.min:
        if name not in allowed:
            raise errors.InputError(_not_measured("gate.min", name, allowed))
    full = metrics.metric_names(cutoffs)
    if gate.metric not in full:
        raise errors.InputError(_not_measured("gate.metric", gate.metric, full))
    for name in gate.slices:
        if name not in evaluation.slices:
            raise errors.InputError(
                f"gate.slices: {name} is not in evaluation.slices ({', '.join(evaluation.slices) or 'empty'})"
            )


def _not_measured(key: str, name: str, allowed) -> str:
    return (
        f"{key}: {name} is not measured; allowed: {', '.join(allowed)} (further K through evaluation.cutoffs"
        + (", sampled ones through evaluation.sampled_negatives)" if key == "gate.min" else ")")
    )


class _Conditions:
    """Thresholds by metric."""

    def __init__(self) -> None:
        self._by_metric: Dict[str, List[config_pb2.PerSliceMetricThreshold]] = {}

    def add(
        self,
        name: str,
        slices: List[config_pb2.SlicingSpec],
        at_least: Optional[float] = None,
        drop_at_most: Optional[float] = None,
    ) -> None:
        """Adds a condition on a metric's value or on its change; None asks for nothing."""
        threshold = config_pb2.MetricThreshold()
        if at_least is not None:
            threshold.value_threshold.lower_bound.value = at_least
        if drop_at_most is not None:
            threshold.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
            threshold.change_threshold.absolute.value = -drop_at_most
        if at_least is None and drop_at_most is None:
            return
        self._by_metric.setdefault(name, []).append(
            config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)
        )

    def thresholds(self) -> Dict[str, config_pb2.PerSliceMetricThresholds]:
        return {
            name: config_pb2.PerSliceMetricThresholds(thresholds=thresholds)
            for name, thresholds in self._by_metric.items()
        }
