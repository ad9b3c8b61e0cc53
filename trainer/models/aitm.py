"""AITM: adaptive information transfer multi-task framework (Xi et al., KDD 2021)."""

import tensorflow as tf

from trainer.layers import fields, towers, transfer
from trainer.losses import labels as losses
from trainer.models import labels
from trainer.settings import aitm as aitm_settings


class AITM(labels.LabelModel):
    """Towers on shared embeddings; each step gets from the one before what its attention lets through.

    q_t is the tower's output, z_1 = q_1, z_t = AIT(p_{t-1}, q_t) with p_{t-1} = g_{t-1}(z_{t-1}),
    here g a ReLU layer with dropout, as in the authors' code; y_t = sigmoid(linear(z_t)). The behavioural
    expectation calibrator is `losses.labels.order_violation`.

    Args:
      settings: see `aitm_settings.AITMSettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: aitm_settings.AITMSettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        width = settings.tower[-1]
        self._embedding = fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._passes = [towers.Tower([width], settings.dropout, self.generator) for _ in exposures.steps[1:]]
        self._transfers = [transfer.AdaptiveTransfer(width) for _ in exposures.steps[1:]]
        self._heads = self.heads()

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        inputs = labels.flat(self._embedding(features))
        own = [tower(inputs, training=training) for tower in self._towers]
        states = own[:1]
        for found, passes, ait in zip(own[1:], self._passes, self._transfers):
            states.append(ait(passes(states[-1], training=training), found))
        return tf.stack([head(state) for head, state in zip(self._heads, states)], axis=1)

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        """alpha times the calibrator: `[B]` float32."""
        return self.settings.calibrator * losses.order_violation(logits)
