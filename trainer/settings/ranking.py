"""What settings of models of next items have in common."""

from typing import Any, ClassVar

from trainer.settings import model

# All losses of next items, of models whose own is a softmax over sampled negatives.
SAMPLED_FIRST = ("sampled_softmax", "softmax", "bce", "gbce", "bpr_max", "top1_max")


class RankingSettings(model.ModelSettings):
    """What settings of models of next items have in common."""

    window_kinds: ClassVar[tuple[str, ...]] = ("next", "period")
    objective: ClassVar[str] = "ranking"
    training_read: ClassVar[tuple[str, ...]] = ("length_buckets",)

    def check_window(self, window: Any) -> None:
        """See `ModelSettings`; without anything that comes next there is nothing to rank."""
        super().check_window(window)
        if not window.has_targets:
            raise model.WrongWindow(
                f"model {self.name} needs window.min_future of 1 or more: what comes next is what it learns; found 0"
            )
