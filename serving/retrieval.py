"""Settings of how a served model finds the items with the highest scores. Free of TensorFlow."""

import math
from typing import Annotated, Literal

import pydantic

from schemas import settings

# Of n queries without a miss there may still be 3 / n with one.
_RULE_OF_THREE = 3.0


def most_shown(queries: int) -> float:
    """The largest recall that so many queries show, if each finds everything."""
    return 1 - _RULE_OF_THREE / queries


class ExactSettings(settings.Settings):
    """Every item is scored for every request."""

    name: Literal["exact"]


class IVFSettings(settings.Settings):
    """An inverted file: the catalogue is divided into lists, and a request scores those that look best.

    Pays from about a hundred thousand items on. What is recommended is never an item that is left out. The test metrics of
    the model are those of what it serves: a target in a list that is not searched is a miss, unless the lists have fewer
    than ten items left for the user, for whom all of the catalogue is searched then.

    Attributes:
      recall: the lowest share of the `k` best items that must be found: the lower bound of its 95 % interval over
        histories of `eval`. As few lists are searched as reach it; where a quarter of the catalogue would have to be, all
        of it is scored.
      k: see `recall`.
      lists: how many lists there are; by default about the square root of the number of items.
      queries: histories of `eval` that `recall` is measured on, at least 3 / (1 - `recall`).
    """

    name: Literal["ivf"]
    recall: float = pydantic.Field(default=0.98, gt=0, lt=1)
    k: int = pydantic.Field(default=10, ge=1, le=1000)
    lists: int | None = pydantic.Field(default=None, ge=1)
    queries: int = pydantic.Field(default=2000, ge=100)


RetrievalSettings = Annotated[ExactSettings | IVFSettings, pydantic.Field(discriminator="name")]
EXACT = ExactSettings(name="exact")


def unshown(retrieval: ExactSettings | IVFSettings) -> str | None:
    """Why queries cannot show the recall that is asked for, which ends in an exact search; None if they can.

    No check of the settings by themselves: models have been trained, and pushed, with such ones.
    """
    if retrieval.name == EXACT.name or retrieval.recall <= most_shown(retrieval.queries):
        return None
    least = math.ceil(round(_RULE_OF_THREE / (1 - retrieval.recall), 6))
    return (
        f"retrieval: a recall of {retrieval.recall:g} is not shown by {retrieval.queries:,} queries, at most "
        f"{most_shown(retrieval.queries):g} is: queries has to be at least {least:,}"
    )


def check(retrieval: ExactSettings | IVFSettings, objective: str, dot_products: bool = True) -> None:
    """Refuses a search of models that answer no search.

    Args:
      retrieval: what is asked.
      objective: of the model.
      dot_products: whether its scores are dot products.

    Raises:
      ValueError: in one line.
    """
    if retrieval.name != EXACT.name and objective != "ranking":
        raise ValueError(
            f"retrieval: {{name: {retrieval.name}}} is of models that rank a catalogue, found one of the objective "
            f"{objective}: leave retrieval out"
        )
    if retrieval.name != EXACT.name and not dot_products:
        raise ValueError(
            f"retrieval: {{name: {retrieval.name}}} is of models that score by dot products, found one that does not: "
            "leave retrieval out"
        )
