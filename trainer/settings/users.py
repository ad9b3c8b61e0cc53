"""What settings of models have in common that embed users by their behaviours."""

from typing import Literal

import pydantic

from trainer.settings import model

# Seconds of a bucket.
BUCKETS: dict[str, float | None] = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "none": None}


class UserEncoderSettings(model.ModelSettings):
    """What settings of models have in common that embed users by their behaviours.

    Attributes:
      dim: D, width of a behaviour's embedding, and of a user's.
      blocks, heads: number of self-attention blocks over the buckets of a history, and of heads in each.
      dropout: rate on what the blocks read, on attention weights and the point-wise layers.
      ffn_ratio: inner width of the point-wise layers, and of a predictor, over D.
      bucket: what events are pooled by, counted back and on from the moment: `hour`, `day` or `week`; `none` leaves
        every event by itself (an ablation).
      max_buckets: a history's largest number of buckets, those nearest to the moment; of `none` a window's length is.
      max_bucket_events: how many events of a bucket count at most, those nearest to the moment; None is all.
      activity: whether it is told how much a user does, beside what: how many events each bucket has, how many the history
        has, and how long before the moment the last one was, all by powers of two. The paper has only means.
    """

    dim: int = pydantic.Field(default=64, ge=2)
    blocks: int = pydantic.Field(default=4, ge=1)
    heads: int = pydantic.Field(default=4, ge=1)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    bucket: Literal["hour", "day", "week", "none"] = "day"
    max_buckets: int = pydantic.Field(default=128, ge=1)
    max_bucket_events: int | None = pydantic.Field(default=None, ge=1)
    activity: bool = True

    @property
    def bucket_seconds(self) -> float | None:
        """Of a bucket; None where every event is by itself."""
        return BUCKETS[self.bucket]

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> "UserEncoderSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self
