"""The objective `labels`: how likely each label of an example is."""

import math
from typing import Any

from components.evaluator import spec
from components.evaluator.objectives import objective


class Labels(objective.Objective):
    """Discrimination, calibration and log loss of each label, against the best constant."""

    name = "labels"
    metrics = "components.evaluator.conversion_metrics.ConversionMetrics"
    lift = spec.LIFT_OVER_BASE_RATE
    own = ("gate.min_positives",)
    models = "models of labels"
    # No constant is worse than a half for both values.
    highest_lift = math.log(2)
    hint = f" ({spec.CHAIN_VIOLATIONS} of two steps or more, where window.chain is true)"

    def measured(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """See `spec.conversion_metrics`."""
        return spec.conversion_metrics(window.label_names, window.chain)

    def compared(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """Without those of which neither more nor less is better."""
        return tuple(name for name in self.measured(evaluation, window) if spec.has_direction(name))

    def settings(
        self, evaluation: spec.EvaluationSpec, gate: spec.GateSpec, window: Any, scenes: bool = False
    ) -> dict[str, Any]:
        """The labels, how many of each must be positive, and that they are no chain where so."""
        return {
            "steps": list(window.label_names),
            "min_positives": gate.min_positives,
            **({} if window.chain else {"chain": False}),
        }

    def lifts(self, gate: spec.GateSpec, window: Any) -> tuple[str, ...]:
        """By how much the log loss of each label is below that of its base rate."""
        return tuple(f"log_loss/{step}" for step in window.label_names)

    def least(self, gate: spec.GateSpec, window: Any) -> dict[str, float]:
        """So many labels of the rarer value, of each step."""
        if not gate.min_positives:
            return {}
        return {f"{spec.RARER_LABELS}/{step}": gate.min_positives for step in window.label_names}
