"""Settings of SASRec."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import ranking


class SASRecSettings(ranking.RankingSettings):
    """SASRec (Kang and McAuley, ICDM 2018).

    Attributes:
      dim: D, width of the embeddings and of every block.
      blocks, heads: number of self-attention blocks, and of heads in each.
      dropout: rate on embeddings, attention weights and the point-wise layers.
      activation: of the point-wise feed-forward layer.
      ffn_ratio: inner width of the point-wise layer over `dim`.
    """

    model_class: ClassVar[str] = "trainer.models.sasrec.SASRec"
    paper: ClassVar[str] = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018"
    summary: ClassVar[str] = "causal self-attention over the item history"

    name: Literal["sasrec"]
    dim: int = pydantic.Field(default=64, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "relu"
    ffn_ratio: int = pydantic.Field(default=1, ge=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SASRecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self
