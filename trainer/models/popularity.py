"""The floor: everybody gets what is met most often."""

from typing import Any

import tensorflow as tf

from trainer.models import ranking, scoring


class Popularity(scoring.DotProduct, ranking.SequenceModel):
    """Ranks the catalogue by the number of training targets; nothing is trained."""

    def __init__(self, settings: Any, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        size = catalogue.size
        # By rank rather than by count, so that equal counts keep the vocabulary's order.
        self._table = tf.Variable(
            (size - tf.range(size, dtype=tf.float32))[:, tf.newaxis] / size, trainable=False
        )

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """Ones, `[B, L, 1]`."""
        return tf.ones_like(features[ranking.names.HISTORY_ITEM_INDEX], tf.float32)[:, :, tf.newaxis]

    def item_table(self) -> tf.Tensor:
        """Scores that fall with the rank, `[N, 1]`."""
        return tf.convert_to_tensor(self._table)
