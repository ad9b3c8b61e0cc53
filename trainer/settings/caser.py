"""Settings of Caser."""

from typing import Any, ClassVar, Literal

import pydantic

from trainer.settings import model, ranking


class CaserSettings(ranking.RankingSettings):
    """Caser (Tang and Wang, WSDM 2018).

    Attributes:
      dim: D, width of the embeddings.
      markov: M, how many of the last items are looked at.
      max_height: horizontal filters have heights 1 to this; None is `markov`.
      horizontal: number of horizontal filters of each height.
      vertical: number of vertical filters; 0 leaves them out (an ablation).
      activation: of the fully connected layer.
      dropout: rate on the input of the fully connected layer.
      tied: score with the input's embeddings rather than with a second table.
    """

    model_class: ClassVar[str] = "trainer.models.caser.Caser"
    paper: ClassVar[str] = (
        "Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, "
        "WSDM 2018"
    )
    summary: ClassVar[str] = "horizontal and vertical convolutions over the last items"

    name: Literal["caser"]
    dim: int = pydantic.Field(default=64, ge=1)
    markov: int = pydantic.Field(default=5, ge=1)
    max_height: int | None = pydantic.Field(default=None, ge=1)
    horizontal: int = pydantic.Field(default=16, ge=1)
    vertical: int = pydantic.Field(default=4, ge=0)
    activation: Literal["relu", "gelu", "tanh", "linear"] = "relu"
    dropout: float = pydantic.Field(default=0.3, ge=0, lt=1)
    tied: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "CaserSettings":
        if self.max_height is not None and self.max_height > self.markov:
            raise ValueError(f"max_height must be at most markov ({self.markov}), found {self.max_height}")
        return self

    def check_window(self, window: Any) -> None:
        """See `ModelSettings`; of more events than a window has, the filters would see zeros."""
        super().check_window(window)
        events = window.history_events
        if events is not None and self.markov > events:
            raise model.WrongWindow(
                f"model.markov must be at most window.length ({events}), found {self.markov}"
            )

    @property
    def heights(self) -> int:
        """The largest height of a filter."""
        return self.max_height or self.markov

    @property
    def reads_other_items(self) -> bool:
        """See `ModelSettings`."""
        return not self.tied
