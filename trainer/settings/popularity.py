"""Settings of the popularity ranking."""

from typing import ClassVar, Literal

from trainer.settings import ranking


class PopularitySettings(ranking.RankingSettings):
    """Ranks items by their number of training targets; the floor of every gate on next items."""

    model_class: ClassVar[str] = "trainer.models.popularity.Popularity"
    summary: ClassVar[str] = (
        "ranks items by their number of training targets; the floor of every gate on next items"
    )

    trains: ClassVar[bool] = False

    name: Literal["popularity"]
