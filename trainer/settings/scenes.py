"""What settings of models of scenes and items have in common."""

from typing import Any, ClassVar

import pydantic

from schemas import settings
from trainer.settings import ranking


class SceneSettings(ranking.RankingSettings):
    """What settings of models that rank the next scene beside the items have in common.

    Attributes:
      reads_scenes: whether histories are read with their scenes.
      dim: D, width of the item embeddings.
      scene_dim: width of the scene embeddings.
      blocks, heads: number of self-attention blocks of an encoder, and of heads in each.
      dropout: rate on embeddings, attention weights and the point-wise layers.
      ffn_ratio: inner width of the point-wise layer over the block's.
      scene_weight: what the loss of scenes counts for beside that of items (lambda of DSPnet, eq. 9).
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("period",)
    needs_columns: ClassVar[tuple[str, ...]] = ("scene",)
    targets: ClassVar[tuple[str, ...]] = ("next", "period")
    ranks_scenes: ClassVar[bool] = True
    reads_scenes: ClassVar[bool] = True

    dim: int = pydantic.Field(default=64, ge=1)
    scene_dim: int = pydantic.Field(default=16, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    scene_weight: float = pydantic.Field(default=0.2, ge=0)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(
                ("scene_dim",), self.reads_scenes or self.scene_weight > 0, "scene_weight above 0"
            ),
        )

    def miscorrected(self, loss: Any) -> str | None:
        """See `ModelSettings`; counts are of all events, and a window has one target here, what comes first."""
        if not loss.in_batch or not getattr(loss, "logq_correction", False):
            return None
        return (
            f"model {self.name} does not know how often items are the one target of a window: loss.logq_correction has to be "
            "false with negative_sampling: in_batch, found true; negative_sampling: popularity, with shared_negatives: true, "
            "is corrected"
        )


class EncoderSettings(SceneSettings):
    """What settings of models of scenes have in common whose encoder is as wide as an item's embedding; see `SceneSettings`."""

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> "EncoderSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self
