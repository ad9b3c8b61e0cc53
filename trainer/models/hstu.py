"""HSTU: hierarchical sequential transduction units (Zhai et al., ICML 2024)."""

from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import attention, dropout, embedding, hstu
from trainer.models import ranking


class HSTU(ranking.EmbeddingModel):
    """Causal, gated attention without a softmax over the item history, that knows how far apart events are.

    Embeddings and positions are those of SASRec. The time between two events is that of the query's own event and of the
    one it looks at. The authors' code takes the time of the event after the query in place of its own; but that is part of
    what is to be predicted. What they divide by a temperature, dot products of vectors of length 1, are
    dot products here, as in all models.

    Args:
      settings: see `trainer.settings.hstu.HSTUSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    inputs_read: tuple[str, ...] = (names.HISTORY_ITEM_INDEX, names.HISTORY_LOG_GAP)

    def __init__(self, settings: Any, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        dim, length = settings.dim, catalogue.window_length
        self._positions = self.add_weight(
            name="positions", shape=[length, dim], initializer=tf.keras.initializers.RandomNormal(stddev=0.02)
        )
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._blocks = [
            hstu.HSTUBlock(dim, settings.heads, settings.dropout, self.generator, length, settings.time_bias)
            for _ in range(settings.blocks)
        ]
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`."""
        index = features[names.HISTORY_ITEM_INDEX]
        items = self._items(index)
        hidden = items * self.settings.dim**0.5 + embedding.last_positions(self._positions, items)
        hidden = self._dropout(hidden, training=training)
        seen = attention.causal(index != names.PADDING_INDEX)
        # The same for all blocks.
        bucket = hstu.time_buckets(hstu.seconds_apart(features[names.HISTORY_LOG_GAP]))
        for block in self._blocks:
            hidden = block(hidden, seen, bucket, training=training)
        return self._norm(hidden)
