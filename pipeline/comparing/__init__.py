"""Comparisons of trained models: one module for each objective says what is asked of them and measured."""

from types import ModuleType

from schemas import kinds

OBJECTIVES = {
    "ranking": "pipeline.comparing.ranking",
    "labels": "pipeline.comparing.labels",
    "user_embedding": "pipeline.comparing.user_embedding",
}


def get(objective: str) -> ModuleType:
    """The module of an objective.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.objective_module(OBJECTIVES, objective)
