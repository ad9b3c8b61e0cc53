"""The command line with a window kind that Footfall does not know: `again`, a copy of `next` under another name.

A program adds a kind as this one does: an entry in each registry, before the type of an experiment is made.
"""

import dataclasses
import sys
from typing import ClassVar, Literal

from components.behavior_example_gen import windows
from components.behavior_example_gen.windows import next as next_windows
from components.transform import windows as transform_windows
from schemas import kinds
from trainer import registry
from trainer.settings import sasrec

KIND, MODEL = "again", "sasrec-again"


class AgainWindow(next_windows.NextWindow):
    """As `NextWindow`."""

    kind: Literal["again"] = "again"  # type: ignore[assignment]


class Again(next_windows.Next):
    """As `Next`."""

    settings = AgainWindow


class SASRecAgainSettings(sasrec.SASRecSettings):
    """SASRec on windows of the new kind."""

    window_kinds: ClassVar[tuple[str, ...]] = (KIND,)

    name: Literal["sasrec-again"]  # type: ignore[assignment]


def register() -> None:
    """Adds the kind, and a model of it, to all registries."""
    kinds.WINDOW_KINDS[KIND] = dataclasses.replace(kinds.WINDOW_KINDS["next"], name=KIND, noun="rounds")
    windows.KINDS[KIND] = Again()
    transform_windows.PREPROCESSING[KIND] = transform_windows.PREPROCESSING["next"]
    registry.MODELS[MODEL] = SASRecAgainSettings


if __name__ == "__main__":
    # Beam's workers find the classes where they can be imported from.
    from tests.e2e import third_kind

    third_kind.register()
    from pipeline import cli

    sys.exit(cli.execute(sys.argv[1:]))
