"""Settings of HSTU."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import ranking


class HSTUSettings(ranking.RankingSettings):
    """HSTU (Zhai et al., ICML 2024): attention without a softmax, which knows how long ago each event was.

    Attributes:
      dim: D, width of the embeddings and of every block.
      blocks, heads: number of blocks, and of heads in each.
      dropout: rate on embeddings and on what a block adds.
      time_bias: whether attention depends on the time between two events; else on the number of events alone.
    """

    model_class: ClassVar[str] = "trainer.models.hstu.HSTU"
    paper: ClassVar[str] = (
        "Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative "
        "Recommendations, ICML 2024"
    )
    summary: ClassVar[str] = "point-wise attention, gated, that knows the time between events"
    losses: ClassVar[tuple[str, ...]] = ranking.SAMPLED_FIRST

    name: Literal["hstu"]
    dim: int = pydantic.Field(default=64, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    time_bias: bool = True

    @pydantic.model_validator(mode="after")
    def _check(self) -> "HSTUSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self
