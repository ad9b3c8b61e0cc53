"""Settings of BYB."""

from typing import ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import users


class BYBSettings(users.PretrainingSettings):
    """BYB (Wu et al., 2025), the pretraining: no labels, and no vocabulary of what is to be predicted. See `PretrainingSettings`.

    Attributes:
      momentum: what of the teacher is kept in a step, the rest is the student's; 0 makes them equal (an ablation).
      momentum_schedule: `constant`, or `cosine`, half a wave from `momentum` to 1 at the last of `training.epochs`
        (BYOL, Grill et al., NeurIPS 2020).
      predictor: whether two layers stand between a user's embedding and what is predicted; without, it is the
        embedding itself (an ablation).
      stop_gradient: False differentiates what is predicted, too, as far as it is the student's: with `momentum: 0`
        (an ablation, which collapses).
      supervise_activity: whether what is to be predicted is also as large as the user is active: the target, standardised if
        the loss says so, times log2(1 + number of buckets with an event). Of a user who does nothing it is then 0, and such
        windows (`window.min_future: 0`) are learnt from (an addition to the paper).
    """

    model_class: ClassVar[str] = "trainer.models.byb.BYB"
    paper: ClassVar[str] = (
        "Wu et al., Bootstrapping your behavior: a new pretraining strategy for user behavior sequence data, "
        "arXiv 2506.11053, 2025"
    )
    summary: ClassVar[str] = (
        "embeddings of users, learnt without labels by predicting the embedding of what each does next"
    )
    losses: ClassVar[tuple[str, ...]] = ("future_ce", "future_mse")
    pools_future: ClassVar[bool] = True
    against_collapse: ClassVar[str] = (
        "keep model.predictor, model.stop_gradient and a model.momentum near 1, or "
    )

    name: Literal["byb"]
    momentum: float = pydantic.Field(default=0.995, ge=0, lt=1)
    momentum_schedule: Literal["constant", "cosine"] = "constant"
    predictor: bool = True
    stop_gradient: bool = True
    supervise_activity: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BYBSettings":
        if not self.stop_gradient and self.momentum:
            raise ValueError(
                "stop_gradient: false goes with momentum: 0, where the teacher is the student itself; found momentum: "
                f"{self.momentum:g}"
            )
        return self

    @property
    def predicts(self) -> bool:
        """See `UserEncoderSettings`."""
        return self.predictor

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`; without the gradient's stop the teacher is the student, whatever is kept."""
        return (
            *super().reads(),
            settings.Reads(("momentum_schedule",), self.stop_gradient, "stop_gradient: true"),
        )
