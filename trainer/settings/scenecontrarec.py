"""Settings of SceneContraRec."""

from typing import ClassVar, Literal

from trainer.settings import contrastive


class SceneContraRecSettings(contrastive.ContrastSettings):
    """SceneContraRec, a baseline of DSPnet: ContraRec with scenes in the input; see `ContrastSettings`."""

    model_class: ClassVar[str] = "trainer.models.scenecontrarec.SceneContraRec"
    paper: ClassVar[str] = (
        "a baseline of Predicting User Behaviors with Scene via Dual Sequence Networks, under review at ICLR 2025"
    )
    summary: ClassVar[str] = "ContraRec over items with their scenes"

    name: Literal["scenecontrarec"]
