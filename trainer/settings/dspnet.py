"""Settings of DSPnet."""

from typing import Annotated, ClassVar, Final, Literal

import pydantic

from schemas import settings
from trainer.settings import scenes

# One encoder for the items and one for the scenes of a history, or one for both.
DUAL: Final = "dual"
SINGLE: Final = "single"


class DSPnetSettings(scenes.SceneSettings):
    """DSPnet (under review at ICLR 2025).

    The losses of items and scenes are sums over their catalogues, where eq. (6) has means (see `losses.sets.PeriodBCE`):
    alpha, beta and lambda are so many times the paper's as there are items, lambda over as many scenes. The paper's alpha and
    beta of Outbrain, 2e-7 and 5e-6 with 238,653 items, are 0.05 and 1.2 here, and those of its log of 7.9 million, 1e-9 and
    1e-7, are 0.008 and 0.8. They suit `loss: {name: period_softmax}` as well. Its lambda, 1 and 0.2, would so be 68 and
    4,770 here, with 3,508 and 330 scenes; the default of `scene_weight` is as if eq. (6) had one K for both. Where the next
    scene matters, try more.

    Attributes:
      dim: D, width of the item embeddings, and of what is made of the items' sequence.
      scene_dim: the same of the scenes.
      blocks, heads, dropout, ffn_ratio, scene_weight: see `scenes.SceneSettings`.
      encoders: `dual` encodes the sequences of items and scenes apart; `single` one sequence of both beside each other
        (the paper's DSPnet-).
      concat: False leaves each sequence with its own representation, eq. (3) and (5) (an ablation).
      mlp_layers: number of layers in each g of eq. (3); with 0, z is what they would read.
      apr: alpha of eq. (9), the strength of the prior's adversaries; 0 has none.
      prior: what z is to look like, eq. (4): of mean 0 and variance 1.
      discriminator_hidden: widths of the hidden layers (ReLU) of each discriminator; none is logistic regression.
      ccr: beta of eq. (9), the strength of the contrast of histories, eq. (8); 0 leaves it out.
      positive_temperature, negative_temperature: tau+ and tau- of eq. (8).
      contrast_equal: whether histories of the same sequence are negatives of each other in eq. (8), as all others of the
        batch are; False leaves them out: where there are few scenes, many users have the same.
      contrast_weights_gradient: whether the weights of eq. (8) are differentiated; else they are numbers.
    """

    model_class: ClassVar[str] = "trainer.models.dspnet.DSPnet"
    paper: ClassVar[str] = (
        "Predicting User Behaviors with Scene via Dual Sequence Networks, under review at ICLR 2025"
    )
    summary: ClassVar[str] = (
        "the items and the scenes that follow, from two encoded sequences that inform each other"
    )
    targets: ClassVar[tuple[str, ...]] = ("period", "next")

    name: Literal["dspnet"]
    encoders: Literal["dual", "single"] = DUAL
    concat: bool = True
    mlp_layers: int = pydantic.Field(default=2, ge=0, le=3)
    apr: float = pydantic.Field(default=0.02, ge=0)
    prior: Literal["normal", "uniform", "laplace"] = "normal"
    discriminator_hidden: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = (64,)
    ccr: float = pydantic.Field(default=0.4, ge=0)
    positive_temperature: float = pydantic.Field(default=1.0, gt=0)
    negative_temperature: float = pydantic.Field(default=0.07, gt=0)
    contrast_equal: bool = True
    contrast_weights_gradient: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "DSPnetSettings":
        if self.encoders == SINGLE:
            widths = {"dim + scene_dim": self.dim + self.scene_dim}
            if not self.concat:
                raise ValueError(
                    f"concat: false goes with encoders: {DUAL}; found encoders: {SINGLE}, which has one sequence"
                )
        else:
            widths = {"dim": self.dim, "scene_dim": self.scene_dim}
        for name, width in widths.items():
            if width % self.heads:
                raise ValueError(f"{name} must be a multiple of heads ({self.heads}), found {width}")
        return self

    @property
    def in_batch(self) -> bool:
        """See `ModelSettings`."""
        return self.ccr > 0

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("prior", "discriminator_hidden"), self.apr > 0, "apr above 0"),
            settings.Reads(
                (
                    "positive_temperature",
                    "negative_temperature",
                    "contrast_equal",
                    "contrast_weights_gradient",
                ),
                self.ccr > 0,
                "ccr above 0",
            ),
        )
