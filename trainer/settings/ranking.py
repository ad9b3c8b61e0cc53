"""What settings of models of next items have in common."""

from typing import ClassVar

from trainer.settings import model


class RankingSettings(model.ModelSettings):
    """What settings of models of next items have in common."""

    window_kinds: ClassVar[tuple[str, ...]] = ("next", "period")
    objective: ClassVar[str] = "ranking"
    training_read: ClassVar[tuple[str, ...]] = ("length_buckets",)
