"""Settings of MMoE."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import experts


class MMoESettings(experts.ExpertSettings):
    """MMoE (Ma et al., KDD 2018).

    Attributes:
      experts: how many.
      expert, dim, tower, dropout: see `LabelSettings` and `ExpertSettings`.
    """

    model_class: ClassVar[str] = "trainer.models.mmoe.MMoE"
    paper: ClassVar[str] = (
        "Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, "
        "KDD 2018"
    )
    summary: ClassVar[str] = "experts mixed by a gate for each step"

    name: Literal["mmoe"]
    experts: int = pydantic.Field(default=4, ge=1)
