"""The objective `ranking`: where the target of each example stands among all items."""

from typing import Any

from components.evaluator import spec
from components.evaluator.objectives import objective


class Ranking(objective.Objective):
    """Hit rate, NDCG and reciprocal rank over the whole catalogue, against what needs no model."""

    name = "ranking"
    metrics = "components.evaluator.metrics.RankingMetrics"
    lift = spec.LIFT_OVER_FLOOR
    hint = " (further K through evaluation.cutoffs, sampled ones through evaluation.sampled_negatives)"

    def measured(self, evaluation: spec.EvaluationSpec, window: Any) -> tuple[str, ...]:
        """See `spec.ranking_metrics` and, of windows of a period, `spec.period_metrics`."""
        cutoffs = sorted(set(evaluation.cutoffs))
        return (
            *spec.ranking_metrics(cutoffs, evaluation.sampled_negatives),
            *(spec.period_metrics(cutoffs) if window.has_period else ()),
        )

    def compared(self, evaluation: spec.EvaluationSpec, window: Any) -> tuple[str, ...]:
        """Those over the whole catalogue: sampled ones are for comparison with papers."""
        return self.measured(evaluation.model_copy(update={"sampled_negatives": None}), window)

    def settings(self, evaluation: spec.EvaluationSpec, gate: spec.GateSpec, window: Any) -> dict[str, Any]:
        """Cutoffs, floors, the number of sampled negatives, and whether there is a period."""
        sampled = evaluation.sampled_negatives
        return {
            "cutoffs": sorted(set(evaluation.cutoffs)),
            "floors": list(spec.floors(evaluation)),
            **({} if sampled is None else {"sampled_negatives": sampled}),
            **({"period": True} if window.has_period else {}),
        }

    def lifts(self, gate: spec.GateSpec, window: Any) -> tuple[str, ...]:
        """That of the gate's metric over the best floor."""
        return (self.gate_metric(gate),)
