"""What a report and the terminal say of a model, by its objective."""

from types import ModuleType

from schemas import kinds

OBJECTIVES = {
    "ranking": "pipeline.reporting.objectives.ranking",
    "labels": "pipeline.reporting.objectives.labels",
    "user_embedding": "pipeline.reporting.objectives.user_embedding",
}


def get(name: str) -> ModuleType:
    """The module of an objective.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.objective_module(OBJECTIVES, name)
