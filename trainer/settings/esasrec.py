"""Settings of eSASRec."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import ranking


class ESASRecSettings(ranking.RankingSettings):
    """eSASRec (RecSys 2025): SASRec with today's blocks and loss.

    Attributes:
      dim: D, width of the embeddings and of every block.
      blocks, heads: number of self-attention blocks, and of heads in each.
      dropout: rate on embeddings, attention weights and the point-wise layers.
      ffn_ratio: inner width of the point-wise layer over `dim`.
    """

    model_class: ClassVar[str] = "trainer.models.esasrec.ESASRec"
    paper: ClassVar[str] = (
        "Tikhonovich et al., eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion, RecSys 2025"
    )
    summary: ClassVar[str] = (
        "SASRec with gated blocks (LiGR) and, by default, a softmax over sampled negatives"
    )
    losses: ClassVar[tuple[str, ...]] = ranking.SAMPLED_FIRST

    name: Literal["esasrec"]
    dim: int = pydantic.Field(default=128, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=4, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    ffn_ratio: int = pydantic.Field(default=4, ge=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ESASRecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self
