"""PLE: progressive layered extraction (Tang et al., RecSys 2020)."""

from collections.abc import Sequence

import tensorflow as tf

from trainer.layers import experts, fields, towers
from trainer.models import labels
from trainer.settings import ple as ple_settings


class Extraction(tf.keras.layers.Layer):
    """A level: experts of each step and shared ones.

    The gate of a step mixes its own experts and the shared ones; that of the shared part
    mixes all. Each gate sees what its own part got from the level below.

    Args:
      steps: T.
      inputs: X, the width of what each part gets.
      settings: see `ple_settings.PLESettings`.
      generator: of the dropout.
      last: the last level has no shared part to hand on, and so no gate for it.
    """

    def __init__(
        self,
        steps: int,
        inputs: int,
        settings: ple_settings.PLESettings,
        generator: tf.random.Generator,
        last: bool,
    ):
        super().__init__()
        counts = [settings.step_experts] * steps + [settings.shared_experts]
        self._experts = [
            experts.Experts(count, inputs, settings.expert, settings.dropout, generator) for count in counts
        ]
        self._gates = [experts.Gate(settings.step_experts + settings.shared_experts) for _ in range(steps)]
        self._shared_gate = None if last else experts.Gate(sum(counts))

    def call(self, parts: Sequence[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
        """`[B, X]` for each step and the shared part to `[B, Y]` for each; without the shared one if last."""
        found = [group(part, training=training) for group, part in zip(self._experts, parts)]
        mixed = [
            gate(part, tf.concat([own, found[-1]], axis=1))
            for gate, part, own in zip(self._gates, parts, found)
        ]
        if self._shared_gate is not None:
            mixed.append(self._shared_gate(parts[-1], tf.concat(found, axis=1)))
        return mixed


class PLE(labels.LabelModel):
    """Levels of extraction on the embedded fields, and a tower for each step; one level is the paper's CGC.

    Args:
      settings: see `ple_settings.PLESettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: ple_settings.PLESettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embedding = fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
        widths = [len(exposures.fields) * settings.dim] + [settings.expert[-1]] * (settings.levels - 1)
        self._levels = [
            Extraction(len(exposures.steps), width, settings, self.generator, level + 1 == settings.levels)
            for level, width in enumerate(widths)
        ]
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        parts = [labels.flat(self._embedding(features))] * (len(self._towers) + 1)
        for level in self._levels:
            parts = level(parts, training=training)
        return tf.stack(
            [
                head(tower(part, training=training))
                for part, tower, head in zip(parts, self._towers, self._heads)
            ],
            axis=1,
        )
