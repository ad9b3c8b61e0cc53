"""Comparisons of trained models: one module for each objective says what is asked of them and measured."""

import importlib
from types import ModuleType

from schemas import kinds

OBJECTIVES = {"ranking": "pipeline.comparing.ranking", "labels": "pipeline.comparing.labels"}


def get(objective: str) -> ModuleType:
    """The module of an objective.

    Raises:
      errors.InputError: if there is none.
    """
    return importlib.import_module(OBJECTIVES[kinds.objective(objective).name])
