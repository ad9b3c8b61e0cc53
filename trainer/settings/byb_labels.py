"""Settings of BYB's finetuning."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import labels, users


class BYBLabelsSettings(users.UserEncoderSettings, labels.LabelSettings):
    """BYB (Wu et al., 2025), the finetuning: labels of periods, from the embedding of a user. See `UserEncoderSettings`.

    Attributes:
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
    tower: labels.Widths = (64,)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    dim: int = pydantic.Field(default=64, ge=2)
