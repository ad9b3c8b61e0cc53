"""Settings of AITM."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import labels


class AITMSettings(labels.FieldSettings):
    """AITM (Xi et al., KDD 2021), of steps that are a chain (`window.chain`).

    Attributes:
      calibrator: alpha, what the loss of later steps that are likelier than earlier ones weighs.
      dim, tower, dropout: see `FieldSettings`; the last width of `tower` is the paper's k.
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("exposure",)
    model_class: ClassVar[str] = "trainer.models.aitm.AITM"
    paper: ClassVar[str] = (
        "Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi- "
        "task Learning in Targeted Display Advertising, KDD 2021"
    )
    summary: ClassVar[str] = "each step gets what attention lets through from the one before"

    name: Literal["aitm"]
    tower: labels.Widths = pydantic.Field(default=(64, 32), min_length=1)
    calibrator: float = pydantic.Field(default=0.6, ge=0)

    def presupposes_chain(self) -> str:
        """All of it does: without the transfer it is another model."""
        return "each step gets what the one before passes on; mlp, omoe, mmoe and ple need no chain"
