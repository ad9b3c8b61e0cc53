"""Settings of MSDP."""

from typing import Annotated, ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import scenes


class MSDPSettings(scenes.EncoderSettings):
    """MSDP (Fu et al., CIKM 2023); scenes are predicted, but not read. See `SceneSettings`.

    Attributes:
      scales: how long the part of the period is that a training window predicts, as shares of the period, rising; one is
        drawn for each window. Served is the last one.
      consistency: what the likeness of a history and the same with masked events counts for (lambda).
      mask_ratio: share of the events that are masked for it.
    """

    model_class: ClassVar[str] = "trainer.models.msdp.MSDP"
    paper: ClassVar[str] = (
        "Fu et al., Robust User Behavioral Sequence Representation via Multi-scale Stochastic Distribution Prediction, "
        "CIKM 2023"
    )
    summary: ClassVar[str] = (
        "bidirectional self-attention that predicts how often each item follows within a time it is told"
    )
    targets: ClassVar[tuple[str, ...]] = ("period",)
    losses: ClassVar[tuple[str, ...] | None] = ("period_softmax",)
    reads_scenes: ClassVar[bool] = False

    name: Literal["msdp"]
    scales: tuple[Annotated[float, pydantic.Field(gt=0, le=1)], ...] = (0.25, 0.5, 1.0)
    consistency: float = pydantic.Field(default=0.1, ge=0)
    mask_ratio: float = pydantic.Field(default=0.2, gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _check_scales(self) -> "MSDPSettings":
        check_scales(self.scales)
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("mask_ratio",), self.consistency > 0, "consistency above 0"),
        )


def check_scales(scales: tuple[float, ...]) -> None:
    """Refuses shares that do not rise, and none.

    Raises:
      ValueError: in one line.
    """
    if not scales or list(scales) != sorted(set(scales)):
        raise ValueError(f"scales must be rising shares, at least one, found {list(scales)}")
