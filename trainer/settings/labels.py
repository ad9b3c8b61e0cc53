"""What settings of models of labels have in common."""

from typing import Annotated, Any, ClassVar

import pydantic

from components.transform import checks
from trainer.settings import model

Widths = tuple[Annotated[int, pydantic.Field(ge=1)], ...]


class LabelSettings(model.ModelSettings):
    """What settings of models of labels have in common.

    Attributes:
      dim: D, width of the embedding of a field.
      tower: widths of the layers of each step's tower, below its head.
      dropout: rate after each hidden layer.
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("exposure", "period")
    objective: ClassVar[str] = "labels"
    training_read: ClassVar[tuple[str, ...]] = ("calibration", "label_share")
    features_read: ClassVar[str] = checks.FIELDS

    dim: int = pydantic.Field(default=16, ge=1)
    tower: Widths = (64, 32)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)

    def presupposes_chain(self) -> str:
        """What of the settings presupposes that labels are steps of a chain, and how to do without; "" if nothing."""
        return ""

    def check_window(self, window: Any) -> None:
        """See `ModelSettings`; a model that is built on the order of a chain needs one.

        Raises:
          WrongWindow: in one line, with what it needs.
        """
        super().check_window(window)
        if not window.label_names:
            raise model.WrongWindow(
                f"model {self.name} needs window.labels, which say what has to follow a moment; found none"
            )
        found = "" if window.chain else self.presupposes_chain()
        if found:
            raise model.WrongWindow(f"model {self.name} needs window.chain: true, found false: {found}")


class FieldSettings(LabelSettings):
    """What settings of models that embed the fields of an exposure have in common. See `LabelSettings`.

    Attributes:
      embedding_stddev: of the normal initial embeddings; AITM's and PLE's published codes have 0.01.
    """

    embedding_stddev: float = pydantic.Field(default=0.05, gt=0)
