"""Settings of the popularity ranking."""

from typing import ClassVar, Literal

from trainer.settings import model


class PopularitySettings(model.ModelSettings):
    """Ranks items by their number of training targets; the floor of every gate on next items."""

    model_class: ClassVar[str] = "trainer.models.popularity.Popularity"
    summary: ClassVar[str] = (
        "ranks items by their number of training targets; the floor of every gate on next items"
    )
    window_kinds: ClassVar[tuple[str, ...]] = ("next",)
    objective: ClassVar[str] = "ranking"

    name: Literal["popularity"]
