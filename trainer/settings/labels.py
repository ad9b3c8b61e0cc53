"""What settings of models of exposures have in common."""

from typing import Annotated, ClassVar

import pydantic

from trainer.settings import model

Widths = tuple[Annotated[int, pydantic.Field(ge=1)], ...]


class LabelSettings(model.ModelSettings):
    """What settings of models of exposures have in common.

    Attributes:
      dim: D, width of the embedding of a field.
      tower: widths of the layers of each step's tower, below its head.
      dropout: rate after each hidden layer.
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("exposure",)
    objective: ClassVar[str] = "labels"
    training_read: ClassVar[tuple[str, ...]] = ("calibration",)

    dim: int = pydantic.Field(default=16, ge=1)
    tower: Widths = (64, 32)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
