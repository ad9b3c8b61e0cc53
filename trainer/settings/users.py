"""What settings of models have in common that embed users by their behaviours."""

from typing import ClassVar, Literal

import pydantic

from components.transform import checks
from trainer.settings import model

# Seconds of a bucket.
BUCKETS: dict[str, float | None] = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "none": None}
# Settings of the encoder of buckets alone.
OF_BUCKETS = ("bucket", "max_buckets", "max_bucket_events", "activity")


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
        `none` leaves every event by itself (an ablation).
      max_buckets: a history's largest number of buckets, those nearest to the moment; of `none` a window's length is.
      max_bucket_events: how many events of a bucket count at most, those nearest to the moment; None is all.
      activity: with `buckets`, whether it is told how much a user does, beside what: how many events each bucket has, how
        many the history has, and how long before the moment the last one was, all by powers of two. The paper has only
        means.
    """

    features_read: ClassVar[str] = checks.EVENTS

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
    def bucket_seconds(self) -> float | None:
        """Of a bucket; None where every event is by itself."""
        return BUCKETS[self.bucket]

    @pydantic.model_validator(mode="after")
    def _check_encoder(self) -> "UserEncoderSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        fields = type(self).model_fields
        of_buckets = [name for name in OF_BUCKETS if getattr(self, name) != fields[name].default]
        if self.encoder != "buckets" and of_buckets:
            raise ValueError(
                f"{', '.join(of_buckets)} {'goes' if len(of_buckets) == 1 else 'go'} with encoder: buckets, found encoder: "
                f"{self.encoder}"
            )
        return self


class PretrainingSettings(UserEncoderSettings):
    """What settings of pretrainings of such a network have in common.

    Attributes:
      min_spread, min_rank: a training stops with an error if, on `eval`, the embeddings of users, or what is to be
        predicted, have less spread, or a lower effective rank, in `collapse_epochs` evaluated epochs in a row: they have
        collapsed. 0 never stops. See `schemas.embeddings`.
      collapse_epochs: how many; embeddings of users are near each other at the start, too.
      against_collapse: what helps besides a lower learning rate, with an "or " behind it.
    """

    window_kinds: ClassVar[tuple[str, ...]] = ("period",)
    objective: ClassVar[str] = "user_embedding"
    training_read: ClassVar[tuple[str, ...]] = ("length_buckets",)
    targets: ClassVar[tuple[str, ...]] = ("period",)
    against_collapse: ClassVar[str] = ""

    min_spread: float = pydantic.Field(default=0.02, ge=0)
    min_rank: float = pydantic.Field(default=1.5, ge=0)
    collapse_epochs: int = pydantic.Field(default=3, ge=1)
