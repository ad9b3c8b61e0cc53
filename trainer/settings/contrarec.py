"""Settings of ContraRec."""

from typing import ClassVar, Literal

from trainer.settings import contrastive


class ContraRecSettings(contrastive.ContrastSettings):
    """ContraRec (Wang et al., TOIS 2023); scenes are predicted, but not read. See `ContrastSettings`."""

    model_class: ClassVar[str] = "trainer.models.contrarec.ContraRec"
    paper: ClassVar[str] = (
        "Wang et al., Sequential Recommendation with Multiple Contrast Signals, ACM TOIS 41(1), 2023"
    )
    summary: ClassVar[str] = (
        "bidirectional self-attention over items, and a contrast of histories with the same target"
    )

    reads_scenes: ClassVar[bool] = False

    name: Literal["contrarec"]
