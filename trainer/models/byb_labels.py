"""BYB's finetuning (Wu et al., arXiv 2506.11053, 2025): labels from the embedding of a user."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from schemas import names
from trainer.layers import towers
from trainer.models import labels, users
from trainer.settings import byb_labels as byb_labels_settings


class BYBLabels(labels.LabelModel):
    """The network that BYB pretrains (`users.UserEncoder`), and on its embedding a tower and a head for each label.

    Args:
      settings: see `byb_labels_settings.BYBLabelsSettings`.
      exposures, seed: see `labels.LabelModel`; `exposures.behaviors` is read.
    """

    def __init__(
        self, settings: byb_labels_settings.BYBLabelsSettings, exposures: labels.Exposures, seed: int = 0
    ):
        super().__init__(settings, exposures, seed)
        self.users = users.UserEncoder(settings, _behaviors(exposures), self.generator)
        self.users.trainable = not settings.frozen
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    @property
    def slow_variables(self) -> list[tf.Variable]:
        """The network's, where `settings.base_rate` is not 1; see `learner.Learner.slow_variables`."""
        return self.users.trainable_variables if self.settings.base_rate != 1 else []

    @property
    def slowness(self) -> float:
        """See `learner.Learner.slowness`."""
        return self.settings.base_rate

    @property
    def network(self) -> users.UserEncoder:
        """See `learner.Learner.network`."""
        return self.users

    @property
    def static_shapes(self) -> bool:
        """As of the network."""
        return self.users.static_shapes

    @static_shapes.setter
    def static_shapes(self, value: bool) -> None:
        self.users.static_shapes = value

    @classmethod
    def features_of(cls, exposures: labels.Exposures) -> tuple[str, ...]:
        """See `labels.LabelModel.features_of`."""
        return _behaviors(exposures).inputs_read

    @property
    def raw_inputs(self) -> tuple[str, ...]:
        """The raw features that these are computed from."""
        return _behaviors(self.exposures).sources

    def settled(self, features: labels.Features) -> labels.Features | None:
        """The embeddings, where the network is frozen; see `labels.LabelModel.settled`."""
        return {names.EMBEDDING: self.embed(features)} if self.settings.frozen else None

    def embed(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The embedding of each user, `[B, D]`; of a network that is frozen, without dropout."""
        if names.EMBEDDING in features:
            return features[names.EMBEDDING]
        return self.users(features, training=training and not self.settings.frozen)

    @property
    def rate_logits(self) -> list[float]:
        """The logit of each label's base rate."""
        return [towers.logit(rate) for rate in self.exposures.base_rates]

    def assign_heads(self, weights: np.ndarray, biases: Sequence[float]) -> None:
        """Takes these heads in place of its own: weights `[T, D]` of an embedding that no tower is above, and biases `[T]`.

        Raises:
          ValueError: if there are towers.
        """
        if self.settings.tower:
            raise ValueError(f"heads of embeddings go with tower: [], found {list(self.settings.tower)}")
        for head, own, bias in zip(self._heads, weights, biases):
            head.assign(own, bias)

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each label, `[B, T]` float32."""
        embedding = self.embed(features, training)
        found = [head(tower(embedding, training=training)) for tower, head in zip(self._towers, self._heads)]
        return tf.stack(found, axis=1)


def _behaviors(exposures: labels.Exposures) -> users.Behaviors:
    if exposures.behaviors is None:
        raise ValueError("users are embedded by the behaviours of windows of a period, found none")
    return exposures.behaviors
