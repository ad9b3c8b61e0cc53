"""Settings of PLE."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import experts


class PLESettings(experts.ExpertSettings):
    """PLE (Tang et al., RecSys 2020).

    Attributes:
      levels: of extraction; 1 is CGC.
      step_experts: experts of each step, on each level.
      shared_experts: experts of all steps, on each level.
      expert, dim, tower, dropout: see `LabelSettings` and `ExpertSettings`.
    """

    model_class: ClassVar[str] = "trainer.models.ple.PLE"
    paper: ClassVar[str] = (
        "Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for "
        "Personalized Recommendations, RecSys 2020"
    )
    summary: ClassVar[str] = "levels of experts, some shared and some of a step"

    name: Literal["ple"]
    levels: int = pydantic.Field(default=2, ge=1)
    step_experts: int = pydantic.Field(default=2, ge=1)
    shared_experts: int = pydantic.Field(default=2, ge=1)
