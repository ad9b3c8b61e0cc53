"""Settings of SceneCTC."""

from typing import ClassVar, Literal

from trainer.settings import scenes


class SceneCTCSettings(scenes.EncoderSettings):
    """SceneCTC, a baseline of DSPnet: scenes in the input, and no loss but that of the targets; see `SceneSettings`."""

    model_class: ClassVar[str] = "trainer.models.scenectc.SceneCTC"
    paper: ClassVar[str] = (
        "a baseline of Predicting User Behaviors with Scene via Dual Sequence Networks, under review at ICLR 2025"
    )
    summary: ClassVar[str] = "bidirectional self-attention over items with their scenes"

    name: Literal["scenectc"]
