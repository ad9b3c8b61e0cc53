"""MLP: a model of its own for each step, the baseline of multi-task learning."""

import tensorflow as tf

from trainer.layers import fields, towers
from trainer.models import conversion
from trainer.settings import mlp as mlp_settings


class MLP(conversion.ConversionModel):
    """A perceptron on the embedded fields, for each step apart.

    Nothing is shared, embeddings included: the steps are trained together, but none learns from another.

    Args:
      settings: see `mlp_settings.MLPSettings`.
      exposures, seed: see `conversion.ConversionModel`.
    """

    def __init__(self, settings: mlp_settings.MLPSettings, exposures: conversion.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embeddings = [fields.FieldEmbedding(exposures.fields, settings.dim) for _ in exposures.steps]
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    def logits(self, features: conversion.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        found = []
        for embedding, tower, head in zip(self._embeddings, self._towers, self._heads):
            hidden = tower(conversion.flat(embedding(features)), training=training)
            found.append(head(hidden))
        return tf.stack(found, axis=1)
