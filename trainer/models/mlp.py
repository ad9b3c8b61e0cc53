"""MLP: a model of its own for each step, the baseline of multi-task learning."""

import tensorflow as tf

from trainer.layers import fields, towers
from trainer.models import labels
from trainer.settings import mlp as mlp_settings


class MLP(labels.LabelModel):
    """A perceptron on the embedded fields, for each step apart.

    Nothing is shared, embeddings included: the steps are trained together, but none learns from another.

    Args:
      settings: see `mlp_settings.MLPSettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: mlp_settings.MLPSettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embeddings = [
            fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
            for _ in exposures.steps
        ]
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        found = []
        for embedding, tower, head in zip(self._embeddings, self._towers, self._heads):
            hidden = tower(labels.flat(embedding(features)), training=training)
            found.append(head(hidden))
        return tf.stack(found, axis=1)
