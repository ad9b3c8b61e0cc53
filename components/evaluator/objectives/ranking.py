"""The objective `ranking`: where the target of each example stands among all items."""

from typing import Any

from components.evaluator import spec
from components.evaluator.objectives import objective


class Ranking(objective.Objective):
    """Hit rate, NDCG and reciprocal rank over the whole catalogue, against what needs no model."""

    name = "ranking"
    metrics = "components.evaluator.metrics.RankingMetrics"
    lift = spec.LIFT_OVER_FLOOR
    ranks = True
    own = (
        "evaluation.exclude_seen",
        "evaluation.cutoffs",
        "evaluation.sampled_negatives",
        "window.recent_share",
    )
    models = "models of next items"
    hint = " (further K through evaluation.cutoffs, sampled ones through evaluation.sampled_negatives)"

    def measured(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """See `spec.ranking_metrics`, of windows of a period `spec.period_metrics`, of scenes `spec.scene_metrics`."""
        cutoffs = sorted(set(evaluation.cutoffs))
        return (
            *spec.ranking_metrics(cutoffs, evaluation.sampled_negatives),
            *(spec.period_metrics(cutoffs) if window.has_period else ()),
            *(spec.scene_metrics(cutoffs) if scenes else ()),
        )

    def compared(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """Those over the whole catalogue: sampled ones are for comparison with papers."""
        return self.measured(evaluation.model_copy(update={"sampled_negatives": None}), window, scenes)

    def settings(
        self, evaluation: spec.EvaluationSpec, gate: spec.GateSpec, window: Any, scenes: bool = False
    ) -> dict[str, Any]:
        """Cutoffs, floors, sampled negatives or candidates, and whether there are a period and next scenes."""
        sampled, within = evaluation.sampled_negatives, evaluation.candidates_within
        return {
            "cutoffs": sorted(set(evaluation.cutoffs)),
            "floors": list(spec.floors(evaluation)),
            **({} if sampled is None else {"sampled_negatives": sampled}),
            **({} if within is None else {"candidates_within": within}),
            **({"period": True} if window.has_period else {}),
            **({"scenes": True} if scenes else {}),
        }

    def lifts(self, gate: spec.GateSpec, window: Any) -> tuple[str, ...]:
        """That of the gate's metric over the best floor."""
        return (self.gate_metric(gate),)
