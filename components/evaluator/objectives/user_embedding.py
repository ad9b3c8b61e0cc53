"""The objective `user_embedding`: what users' embeddings are worth without any label."""

from typing import Any

from components.evaluator import spec
from components.evaluator.objectives import objective
from schemas import embeddings


class UserEmbedding(objective.Objective):
    """Whether embeddings have collapsed, and what users with near ones do next, against any two users."""

    name = "user_embedding"
    metrics = "components.evaluator.embedding_metrics.EmbeddingMetrics"
    lift = spec.LIFT_OVER_FLOOR
    models = "models of users' embeddings"

    def measured(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """See `spec.EMBEDDING_METRICS`."""
        return spec.EMBEDDING_METRICS

    def compared(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """Of two embeddings that have not collapsed, more spread or rank does not make the better one."""
        return (embeddings.AGREEMENT,)

    def settings(
        self, evaluation: spec.EvaluationSpec, gate: spec.GateSpec, window: Any, scenes: bool = False
    ) -> dict[str, Any]:
        """None of its own."""
        return {}

    def lifts(self, gate: spec.GateSpec, window: Any) -> tuple[str, ...]:
        """That of the gate's metric over what any two users have in common."""
        return (self.gate_metric(gate),)
