"""OMoE: a one-gate mixture of experts (Ma et al., KDD 2018)."""

import tensorflow as tf

from trainer.layers import experts, fields, towers
from trainer.models import labels
from trainer.settings import omoe as omoe_settings


class OMoE(labels.LabelModel):
    """Experts on the embedded fields, mixed by one gate for all steps, and a tower for each.

    Args:
      settings: see `omoe_settings.OMoESettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: omoe_settings.OMoESettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embedding = fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
        self._experts = experts.Experts(
            settings.experts,
            len(exposures.fields) * settings.dim,
            settings.expert,
            settings.dropout,
            self.generator,
        )
        self._gates = [experts.Gate(settings.experts) for _ in range(self._gate_count())]
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    def _gate_count(self) -> int:
        return 1

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        inputs = labels.flat(self._embedding(features))
        found = self._experts(inputs, training=training)
        mixed = [gate(inputs, found) for gate in self._gates]
        # One mixture is everybody's.
        mixed *= len(self._towers) // len(mixed)
        return tf.stack(
            [
                head(tower(own, training=training))
                for own, tower, head in zip(mixed, self._towers, self._heads)
            ],
            axis=1,
        )
