"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018)."""

from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import attention, dropout, embedding, transformer
from trainer.models import ranking


class SASRec(ranking.EmbeddingModel):
    """Causal self-attention over the item history; item embeddings serve input and output, eq. (6).

    Args:
      settings: see `trainer.settings.sasrec.SASRecSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    def __init__(self, settings: Any, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        dim = settings.dim
        self._positions = self.add_weight(
            name="positions",
            shape=[catalogue.window_length, dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._blocks = [self._block() for _ in range(settings.blocks)]
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)

    def _block(self) -> Any:
        settings = self.settings
        return transformer.TransformerBlock(
            settings.dim,
            settings.heads,
            settings.ffn_ratio * settings.dim,
            settings.activation,
            settings.dropout,
            self.generator,
        )

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`."""
        index = features[names.HISTORY_ITEM_INDEX]
        # Section III-A: item plus position; scaled as in the authors' code.
        items = self._items(index)
        hidden = items * self.settings.dim**0.5 + embedding.last_positions(self._positions, items)
        hidden = self._dropout(hidden, training=training)
        bias = attention.causal_bias(index != names.PADDING_INDEX, hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        return self._norm(hidden)
