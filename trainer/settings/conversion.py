"""What settings of models of exposures have in common."""

from typing import ClassVar, Tuple

import pydantic
from typing_extensions import Annotated

from trainer.settings import model

Widths = Tuple[Annotated[int, pydantic.Field(ge=1)], ...]


class ConversionSettings(model.ModelSettings):
    """What settings of models of exposures have in common.

    Attributes:
      dim: D, width of the embedding of a field.
      tower: widths of the layers of each step's tower, below its head.
      dropout: rate after each hidden layer.
    """

    window_kinds: ClassVar[Tuple[str, ...]] = ("exposure",)
    objective: ClassVar[str] = "labels"

    dim: int = pydantic.Field(default=16, ge=1)
    tower: Widths = (64, 32)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
