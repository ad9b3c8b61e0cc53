"""Settings of the perceptrons."""

from typing import ClassVar, Literal

from trainer.settings import conversion


class MLPSettings(conversion.ConversionSettings):
    """A perceptron for each step, with embeddings of its own; see `ConversionSettings`."""

    model_class: ClassVar[str] = "trainer.models.mlp.MLP"
    summary: ClassVar[str] = "a perceptron for each step of the chain, nothing shared; the baseline of BPCM"

    name: Literal["mlp"]
