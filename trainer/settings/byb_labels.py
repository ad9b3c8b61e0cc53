"""Settings of BYB's finetuning."""

from typing import ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import labels, users


class BYBLabelsSettings(users.UserEncoderSettings, labels.LabelSettings):
    """BYB (Wu et al., 2025), the finetuning: labels of periods, from the embedding of a user. See `UserEncoderSettings`.

    Attributes:
      base_model: a pretrained model, as `byb`, whose network of users the training starts from: the folder that it is pushed to
        (the newest version is meant), one version of it, or the folder of the run that pushed it. None starts from initial
        weights.
      frozen: whether that network stays as it was pretrained, so that the towers alone learn.
      base_rate: the learning rate of that network over `training.learning_rate`.
      tower: widths of the layers of each label's tower, below its head; none is logistic regression on the embedding.
    """

    model_class: ClassVar[str] = "trainer.models.byb_labels.BYBLabels"
    paper: ClassVar[str] = (
        "Wu et al., Bootstrapping your behavior: a new pretraining strategy for user behavior sequence data, "
        "arXiv 2506.11053, 2025"
    )
    summary: ClassVar[str] = "labels from the embedding of a user by pooled behaviours and a Transformer"
    window_kinds: ClassVar[tuple[str, ...]] = ("period",)

    name: Literal["byb_labels"]
    base_model: settings.Path | None = None
    frozen: bool = False
    base_rate: float = pydantic.Field(default=1.0, gt=0, le=1)
    tower: labels.Widths = (64,)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    dim: int = pydantic.Field(default=64, ge=2)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("frozen", "base_rate"), self.base_model is not None, "base_model"),
            settings.Reads(("base_rate",), not self.frozen, "frozen: false"),
            settings.Reads(
                ("dropout",), not self.heads_only, "a tower, or a network that learns (frozen: false)"
            ),
        )

    @property
    def keeps_pretrained(self) -> bool:
        """See `ModelSettings`."""
        return self.frozen

    @property
    def heads_only(self) -> bool:
        """See `ModelSettings`."""
        return self.frozen and not self.tower

    @property
    def pretrained(self) -> str | None:
        """See `ModelSettings`."""
        return self.base_model
