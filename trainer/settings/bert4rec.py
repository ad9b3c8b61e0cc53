"""Settings of BERT4Rec."""

from typing import ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import ranking


class BERT4RecSettings(ranking.RankingSettings):
    """BERT4Rec (Sun et al., CIKM 2019).

    Attributes:
      dim, blocks, heads, dropout, activation, ffn_ratio: as of SASRec.
      mask_ratio: share of a window's items that are masked in training (the paper's rho).
      last_share: share of the training windows of which only the last item is masked.
    """

    model_class: ClassVar[str] = "trainer.models.bert4rec.BERT4Rec"
    paper: ClassVar[str] = (
        "Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from "
        "Transformer, CIKM 2019"
    )
    summary: ClassVar[str] = "bidirectional self-attention that fills in masked items"

    name: Literal["bert4rec"]
    dim: int = pydantic.Field(default=64, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "gelu"
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    mask_ratio: float = pydantic.Field(default=0.2, gt=0, lt=1)
    last_share: float = pydantic.Field(default=0.1, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BERT4RecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("mask_ratio",), self.last_share < 1, "last_share below 1"),
        )
