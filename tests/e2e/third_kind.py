"""The command line with a window kind that Footfall does not know: `again`, a copy of `period` under another name.

A program adds a kind as this one does: an entry in each registry, before the type of an experiment is made.
"""

import dataclasses
from typing import ClassVar, Literal

from components.behavior_example_gen import windows
from components.behavior_example_gen.windows import period
from components.transform import windows as transform_windows
from schemas import kinds
from trainer import registry
from trainer.settings import dspnet

KIND, MODEL = "again", "dspnet-again"


class AgainWindow(period.PeriodWindow):
    """As `PeriodWindow`."""

    kind: Literal["again"]  # type: ignore[assignment]


class Again(period.Period):
    """As `Period`."""

    settings = AgainWindow


class DSPnetAgainSettings(dspnet.DSPnetSettings):
    """DSPnet on windows of the new kind."""

    window_kinds: ClassVar[tuple[str, ...]] = (KIND,)

    name: Literal["dspnet-again"]  # type: ignore[assignment]


def register() -> None:
    """Adds the kind, and a model of it, to all registries."""
    kinds.WINDOW_KINDS[KIND] = dataclasses.replace(kinds.WINDOW_KINDS["period"], name=KIND, noun="rounds")
    windows.KINDS[KIND] = Again()
    transform_windows.PREPROCESSING[KIND] = transform_windows.PREPROCESSING["period"]
    registry.MODELS[MODEL] = DSPnetAgainSettings


if __name__ == "__main__":
    # Beam's workers find the classes where they can be imported from.
    from tests.e2e import third_kind

    third_kind.register()
    from pipeline import cli

    cli.main()
