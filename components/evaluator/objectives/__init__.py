"""The objectives of the Evaluator, by name."""

from components.evaluator.objectives import labels, objective, ranking, user_embedding
from schemas import kinds

OBJECTIVES: dict[str, objective.Objective] = {
    "ranking": ranking.Ranking(),
    "labels": labels.Labels(),
    "user_embedding": user_embedding.UserEmbedding(),
}


def get(name: str) -> objective.Objective:
    """The objective of a name.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.entry(OBJECTIVES, "objective", name)


def of_metrics(module: str, class_name: str) -> objective.Objective | None:
    """The objective whose metrics a class computes; None if it is none's."""
    return next((each for each in OBJECTIVES.values() if each.metrics == f"{module}.{class_name}"), None)
