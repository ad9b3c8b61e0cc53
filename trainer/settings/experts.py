"""What settings of models with experts have in common."""

import pydantic

from trainer.settings import labels


class ExpertSettings(labels.FieldSettings):
    """What settings of models with experts have in common.

    Attributes:
      expert: widths of the layers of each expert.
    """

    expert: labels.Widths = pydantic.Field(default=(64,), min_length=1)
    tower: labels.Widths = (32,)
