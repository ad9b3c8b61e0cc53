"""Settings of BPCM."""

from typing import ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import labels


class BPCMSettings(labels.FieldSettings):
    """BPCM (Tang et al.).

    Of labels that are no chain (`window.chain`) without what is built on their order: `conversion: false`
    and `calibrator: 0`.

    Attributes:
      hidden: width of the first layer of the feature-aware aggregation, eq. (4).
      calibrator: alpha of eq. (13), what the loss of later steps that are likelier than earlier ones weighs.
      attention, aggregation, gate, conversion: False leaves a part out: the paper's ablations
        w/o Att, w/o Org, w/o Gate and w/o BPC. The gate is between the first two: without one of them
        there is none.
      conversion_reads: what the keys and values of eq. (9) are of: `both`, what the step before passes on and what this one
        has itself, as the text says; or what is `passed` alone, as the equation is printed.
      message_norm: whether what a step tells the next is brought to one size, by layer norm before the dropout of eq. (8);
        section 3.4 names both, and of eq. (8) itself dropout alone.
      dim, tower, dropout: see `FieldSettings`; `tower` is the head's perceptron, and `dropout`
        also of what one step tells the next, eq. (8).
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("exposure",)
    model_class: ClassVar[str] = "trainer.models.bpcm.BPCM"
    paper: ClassVar[str] = (
        "Tang et al., A Multi-task Learning Framework with Features Based on Behavioral Pattern Conversation"
    )
    summary: ClassVar[str] = "gated feature towers, and attention from each step to the one before"

    name: Literal["bpcm"]
    hidden: int = pydantic.Field(default=64, ge=1)
    calibrator: float = pydantic.Field(default=0.6, ge=0)
    attention: bool = True
    aggregation: bool = True
    gate: bool = True
    conversion: bool = True
    conversion_reads: Literal["both", "passed"] = "both"
    message_norm: bool = True

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BPCMSettings":
        if not (self.attention or self.aggregation):
            raise ValueError("attention and aggregation cannot both be left out, found false for both")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("hidden",), self.aggregation, "aggregation: true"),
            settings.Reads(
                ("gate",), self.attention and self.aggregation, "attention: true and aggregation: true"
            ),
            settings.Reads(("conversion_reads", "message_norm"), self.conversion, "conversion: true"),
        )

    def presupposes_chain(self) -> str:
        """What passes from a step to the next, and what the loss of a violated order weighs."""
        found, without = [], []
        if self.conversion:
            found.append("conversion passes on from each step to the next")
            without.append("model.conversion: false")
        if self.calibrator:
            found.append(f"calibrator: {self.calibrator:g} weighs violations of their order")
            without.append("model.calibrator: 0")
        return f"{' and '.join(found)}; without a chain set {' and '.join(without)}" if found else ""
