"""Settings of BYB."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import model

# Seconds of a bucket.
BUCKETS: dict[str, float | None] = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "none": None}


class BYBSettings(model.ModelSettings):
    """BYB (Wu et al., 2025), the pretraining: no labels, and no vocabulary of what is to be predicted.

    Attributes:
      dim: D, width of a behaviour's embedding, and of a user's.
      blocks, heads: number of self-attention blocks over the buckets of a history, and of heads in each.
      dropout: rate on what the blocks read, on attention weights and the point-wise layers.
      ffn_ratio: inner width of the point-wise layers, and of the predictor, over D.
      bucket: what events are pooled by, counted back and on from the moment: `hour`, `day` or `week`; `none` leaves
        every event by itself (an ablation).
      max_buckets: a history's largest number of buckets, those nearest to the moment; of `none` a window's length is.
      max_bucket_events: how many events of a bucket count at most, those nearest to the moment; None is all.
      momentum: what of the teacher is kept in a step, the rest is the student's; 0 makes them equal (an ablation).
      momentum_schedule: `constant`, or `cosine`, half a wave from `momentum` to 1 at the last of `training.epochs`
        (BYOL, Grill et al., NeurIPS 2020).
      predictor: whether two layers stand between a user's embedding and what is predicted; without, it is the
        embedding itself (an ablation).
      stop_gradient: False differentiates what is predicted, too, as far as it is the student's: with `momentum: 0`
        (an ablation, which collapses).
      min_spread, min_rank: a training stops with an error if, on `eval`, the embeddings of users, or what is to be
        predicted, have less spread, or a lower effective rank, in `collapse_epochs` evaluated epochs in a row: they have
        collapsed. 0 never stops. See `schemas.embeddings`.
      collapse_epochs: how many; embeddings of users are near each other at the start, too.
    """

    model_class: ClassVar[str] = "trainer.models.byb.BYB"
    paper: ClassVar[str] = (
        "Wu et al., Bootstrapping your behavior: a new pretraining strategy for user behavior sequence data, "
        "arXiv 2506.11053, 2025"
    )
    summary: ClassVar[str] = (
        "embeddings of users, learnt without labels by predicting the embedding of what each does next"
    )
    window_kinds: ClassVar[tuple[str, ...]] = ("period",)
    objective: ClassVar[str] = "future_embedding"
    training_read: ClassVar[tuple[str, ...]] = ("length_buckets",)
    targets: ClassVar[tuple[str, ...]] = ("period",)

    name: Literal["byb"]
    dim: int = pydantic.Field(default=64, ge=2)
    blocks: int = pydantic.Field(default=4, ge=1)
    heads: int = pydantic.Field(default=4, ge=1)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    bucket: Literal["hour", "day", "week", "none"] = "day"
    max_buckets: int = pydantic.Field(default=128, ge=1)
    max_bucket_events: int | None = pydantic.Field(default=None, ge=1)
    momentum: float = pydantic.Field(default=0.995, ge=0, lt=1)
    momentum_schedule: Literal["constant", "cosine"] = "constant"
    predictor: bool = True
    stop_gradient: bool = True
    min_spread: float = pydantic.Field(default=0.02, ge=0)
    min_rank: float = pydantic.Field(default=1.5, ge=0)
    collapse_epochs: int = pydantic.Field(default=3, ge=1)

    @property
    def bucket_seconds(self) -> float | None:
        """Of a bucket; None where every event is by itself."""
        return BUCKETS[self.bucket]

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BYBSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        if not self.stop_gradient and self.momentum:
            raise ValueError(
                "stop_gradient: false goes with momentum: 0, where the teacher is the student itself; found momentum: "
                f"{self.momentum:g}"
            )
        return self
