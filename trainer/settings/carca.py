"""Settings of CARCA."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import scenes


class CARCASettings(scenes.EncoderSettings):
    """CARCA (Rashed et al., RecSys 2022); see `SceneSettings`.

    Attributes:
      blocks: number of self-attention blocks of the profile.
      ffn_ratio: inner width of the point-wise layer over `dim`.
      context_dim: width of what becomes of an event's scene, hour and weekday together.
      residual: multiply what a candidate attends to by the candidate, as the authors' code does for two of its four data
        sets.
    """

    model_class: ClassVar[str] = "trainer.models.carca.CARCA"
    paper: ClassVar[str] = (
        "Rashed, Elsayed and Schmidt-Thieme, Context and Attribute-Aware Sequential Recommendation via Cross-Attention, "
        "RecSys 2022"
    )
    summary: ClassVar[str] = (
        "self-attention over items with scene, hour and weekday; each candidate attends to all of the history"
    )
    # The paper's first; those over the whole catalogue cost more, since no score is a dot product.
    losses: ClassVar[tuple[str, ...] | None] = (
        "bce",
        "sampled_softmax",
        "gbce",
        "softmax",
        "period_bce",
        "period_softmax",
    )

    dot_products: ClassVar[bool] = False

    name: Literal["carca"]
    blocks: int = pydantic.Field(default=3, ge=1)
    ffn_ratio: int = pydantic.Field(default=1, ge=1)
    context_dim: int = pydantic.Field(default=64, ge=1)
    residual: bool = True
