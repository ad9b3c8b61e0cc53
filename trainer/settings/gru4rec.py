"""Settings of GRU4Rec."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import ranking


class GRU4RecSettings(ranking.RankingSettings):
    """GRU4Rec (Hidasi et al., ICLR 2016).

    Attributes:
      dim: D, width of the item embeddings.
      hidden: units of each GRU layer.
      layers: number of GRU layers.
      dropout: rate on the embeddings and on the output of each GRU layer.
      tied: score with the input's embeddings (CIKM 2018) rather than with a second table.
    """

    model_class: ClassVar[str] = "trainer.models.gru4rec.GRU4Rec"
    paper: ClassVar[str] = (
        "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016"
    )
    summary: ClassVar[str] = "gated recurrent units over the item history"

    name: Literal["gru4rec"]
    dim: int = pydantic.Field(default=64, ge=1)
    hidden: int = pydantic.Field(default=128, ge=1)
    layers: int = pydantic.Field(default=1, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    tied: bool = True

    @property
    def reads_other_items(self) -> bool:
        """See `ModelSettings`."""
        return not self.tied
