"""Settings of MSDP's pretraining of a network of users."""

from typing import Annotated, ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import msdp, users


class UserMSDPSettings(users.PretrainingSettings):
    """MSDP's pretraining (Fu et al., CIKM 2023) of the network that BYB pretrains. See `PretrainingSettings`.

    Attributes:
      scales: how long the part of the period is that a training window predicts, as shares of the period, rising; one is
        drawn for each window.
      consistency: what the likeness of a history and the same without some of its events counts for (lambda).
      mask_ratio: share of the events that are left out for it.
    """

    model_class: ClassVar[str] = "trainer.models.user_msdp.UserMSDP"
    paper: ClassVar[str] = msdp.MSDPSettings.paper
    summary: ClassVar[str] = (
        "embeddings of users, learnt without labels by predicting how often each item follows"
    )
    losses: ClassVar[tuple[str, ...]] = ("period_softmax",)

    name: Literal["user_msdp"]
    scales: tuple[Annotated[float, pydantic.Field(gt=0, le=1)], ...] = (0.25, 0.5, 1.0)
    consistency: float = pydantic.Field(default=0.1, ge=0)
    mask_ratio: float = pydantic.Field(default=0.2, gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _check_scales(self) -> "UserMSDPSettings":
        msdp.check_scales(self.scales)
        return self

    @property
    def predicts(self) -> bool:
        """See `UserEncoderSettings`."""
        return True

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("mask_ratio",), self.consistency > 0, "consistency above 0"),
        )
