"""What settings of models have in common that embed users by their behaviours."""

from typing import ClassVar, Literal

import pydantic

from components.transform import checks
from schemas import settings
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
      encoder: what makes the user's embedding of the events. `buckets`: a Transformer over buckets of them, as BYB's;
        `causal`: one in which an event sees itself and those before it, as SASRec's; `gru`: layers of GRUs, `blocks` of them.
        The last two read the events in their order, each with the time since the one before, and behind them the moment with
        the time since the last one, whose state the embedding is.
      bucket: with `buckets`, what events are pooled by, counted back and on from the moment: `hour`, `day` or `week`;
        `none` leaves every event by itself (an ablation). `byb` pools what follows by it with any encoder.
      max_buckets: a history's largest number of buckets, those nearest to the moment; of `none` a window's length is.
      max_bucket_events: how many events of a bucket count at most, those nearest to the moment; None is all.
      activity: with `buckets`, whether it is told how much a user does, beside what: how many events each bucket has, how
        many the history has, and how long before the moment the last one was, all by powers of two. The paper has only
        means.
      pools_future: whether what follows is pooled by buckets, too, whatever the encoder.
    """

    features_read: ClassVar[str] = checks.EVENTS
    pools_future: ClassVar[bool] = False

    dim: int = pydantic.Field(default=64, ge=2)
    blocks: int = pydantic.Field(default=4, ge=1)
    heads: int = pydantic.Field(default=4, ge=1)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    encoder: Literal["buckets", "causal", "gru"] = "buckets"
    bucket: Literal["hour", "day", "week", "none"] = "day"
    max_buckets: int = pydantic.Field(default=128, ge=1)
    max_bucket_events: int | None = pydantic.Field(default=None, ge=1)
    activity: bool = True

    @property
    def predicts(self) -> bool:
        """Whether layers that are `ffn_ratio` times as wide stand behind the user's embedding."""
        return False

    @property
    def bucket_seconds(self) -> float | None:
        """Of a bucket; None where every event is by itself."""
        return BUCKETS[self.bucket]

    @pydantic.model_validator(mode="after")
    def _check_encoder(self) -> "UserEncoderSettings":
        if self.encoder != "gru" and self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        pooled = self.encoder == "buckets"
        by_time = self.bucket_seconds is not None
        return (
            *super().reads(),
            settings.Reads(("bucket",), pooled or self.pools_future, "encoder: buckets"),
            settings.Reads(
                ("max_bucket_events",),
                (pooled or self.pools_future) and by_time,
                "encoder: buckets, and a bucket of hour, day or week",
            ),
            settings.Reads(
                ("max_buckets",), pooled and by_time, "encoder: buckets, and a bucket of hour, day or week"
            ),
            settings.Reads(("activity",), pooled, "encoder: buckets"),
            settings.Reads(("heads",), self.encoder != "gru", "encoder: buckets or causal"),
            settings.Reads(
                ("ffn_ratio",),
                self.encoder != "gru" or self.predicts,
                "encoder: buckets or causal, or a predictor",
            ),
        )


class PretrainingSettings(UserEncoderSettings):
    """What settings of pretrainings of such a network have in common.

    Attributes:
      min_spread, min_rank: a training stops with an error if, on `eval`, the embeddings of users, or what is to be
        predicted, have less spread, or a lower effective rank, in `collapse_epochs` evaluated epochs in a row: they have
        collapsed. No such epoch is the best one. 0 never stops. See `schemas.embeddings`.
      collapse_epochs: how many; embeddings of users are near each other at the start, too.
      against_collapse: what helps besides a lower learning rate, with an "or " behind it.
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("period",)
    objective: ClassVar[str] = "user_embedding"
    training_read: ClassVar[tuple[str, ...]] = ("length_buckets",)
    targets: ClassVar[tuple[str, ...]] = ("period",)
    against_collapse: ClassVar[str] = ""

    min_spread: float = pydantic.Field(default=0.05, ge=0)
    min_rank: float = pydantic.Field(default=1.5, ge=0)
    collapse_epochs: int = pydantic.Field(default=3, ge=1)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(
                ("collapse_epochs",),
                self.min_spread > 0 or self.min_rank > 0,
                "min_spread or min_rank above 0",
            ),
        )
