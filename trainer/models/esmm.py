"""ESMM: entire space multi-task model (Ma et al., SIGIR 2018)."""

import tensorflow as tf

from trainer.layers import fields, towers
from trainer.models import labels
from trainer.settings import esmm as esmm_settings

# The largest chance that a later step starts with.
_MOST = 0.9


def chain_logits(logits: tf.Tensor) -> tf.Tensor:
    """The logits of the products of probabilities, from the logits of the factors.

    p_t = prod_{s <= t} sigmoid(l_s), so log p_t is a sum of log-sigmoids, and
    1 - p_t = (1 - p_{t-1}) + p_{t-1} (1 - sigmoid(l_t)) a sum of positive numbers, taken as
    logarithms: nothing cancels, whatever the size of the logits, and p_t never exceeds p_{t-1}.

    Args:
      logits: `[B, T]` float32.

    Returns:
      `[B, T]` float32; the first column is as it was.
    """
    found = [logits[:, 0]]
    likely, unlikely = tf.math.log_sigmoid(logits[:, 0]), tf.math.log_sigmoid(-logits[:, 0])
    for own in tf.unstack(logits, axis=1)[1:]:
        unlikely = labels.log_sum(unlikely, likely + tf.math.log_sigmoid(-own))
        likely += tf.math.log_sigmoid(own)
        found.append(likely - unlikely)
    return tf.stack(found, axis=1)


class ESMM(labels.LabelModel):
    """A tower for each step given the one before, on shared embeddings; their product is a step's chance.

    Eq. (1): pCTCVR = pCTR pCVR, for a chain of any length. The losses are of the products
    over all exposures, eq. (3), so that no step is trained only on those that got to it.

    Args:
      settings: see `esmm_settings.ESMMSettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: esmm_settings.ESMMSettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embedding = fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        rates = exposures.base_rates
        # A head's bias is that of its step among those that got to it. Where the steps are no chain, as purchases without a cart,
        # that may be 1 and more, from which no gradient would lead away.
        given = [min(rate / before, _MOST) if before else 0.0 for rate, before in zip(rates, (1.0, *rates))]
        self._heads = [towers.Head(rate) for rate in given]

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step for every exposure, `[B, T]` float32."""
        inputs = labels.flat(self._embedding(features))
        factors = [head(tower(inputs, training=training)) for tower, head in zip(self._towers, self._heads)]
        return chain_logits(tf.stack(factors, axis=1))
