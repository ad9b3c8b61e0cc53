"""Settings of ESMM."""

from typing import ClassVar, Literal

from trainer.settings import labels


class ESMMSettings(labels.FieldSettings):
    """ESMM (Ma et al., SIGIR 2018), of steps that are a chain (`window.chain`); see `FieldSettings`."""

    window_kinds: ClassVar[tuple[str, ...]] = ("exposure",)
    model_class: ClassVar[str] = "trainer.models.esmm.ESMM"
    paper: ClassVar[str] = (
        "Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click "
        "Conversion Rate, SIGIR 2018"
    )
    summary: ClassVar[str] = "a step is the product of the chances of all steps up to it"

    name: Literal["esmm"]

    def presupposes_chain(self) -> str:
        """All of it does."""
        return "it multiplies the chances of the steps before; mlp, omoe, mmoe and ple need no chain"
