"""What a model learns, by name: how such models are trained. Free of TensorFlow until one is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from schemas import errors

if TYPE_CHECKING:
    from trainer.objectives import objective

# An `objective.Objective`, or where one is.
OBJECTIVES: dict[str, Any] = {
    "ranking": "trainer.objectives.ranking.RANKING",
    "labels": "trainer.objectives.labels.LABELS",
    "user_embedding": "trainer.objectives.user_embedding.USER_EMBEDDING",
}


def get(name: str) -> "objective.Objective":
    """The objective that models' settings name.

    Raises:
      errors.InputError: if there is none.
    """
    if name not in OBJECTIVES:
        raise errors.InputError(
            f"nothing trains models of the objective {name!r}; there are {', '.join(OBJECTIVES)}"
        )
    entry = OBJECTIVES[name]
    if isinstance(entry, str):
        module, _, attribute = entry.rpartition(".")
        entry = getattr(importlib.import_module(module), attribute)
    return entry
