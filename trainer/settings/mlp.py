"""Settings of the perceptrons."""

from typing import ClassVar, Literal

from trainer.settings import labels


class MLPSettings(labels.FieldSettings):
    """A perceptron for each step, with embeddings of its own; see `FieldSettings`."""

    model_class: ClassVar[str] = "trainer.models.mlp.MLP"
    summary: ClassVar[str] = "a perceptron for each step, nothing shared; the baseline of BPCM"

    name: Literal["mlp"]
