"""What a served model of the objective `ranking` answers: which items, in which order."""

from schemas import names
from serving.objectives import Outputs


def is_of(outputs: Outputs) -> bool:
    """Whether a model with these signatures ranks items."""
    return names.RANK in outputs.get("evaluate", ())
