"""What settings of models with a contrast of histories have in common."""

import pydantic

from schemas import settings
from trainer.settings import scenes


class ContrastSettings(scenes.EncoderSettings):
    """What settings of models with a contrast of histories have in common.

    Attributes:
      contrast: what the contrast of views counts for beside the loss of targets (gamma of ContraRec); 0 leaves it out.
      temperature: of the contrast (tau of ContraRec).
    """

    contrast: float = pydantic.Field(default=1.0, ge=0)
    temperature: float = pydantic.Field(default=0.2, gt=0)

    @property
    def in_batch(self) -> bool:
        """See `ModelSettings`."""
        return self.contrast > 0

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("temperature",), self.contrast > 0, "contrast above 0"),
        )
