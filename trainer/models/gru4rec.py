"""GRU4Rec: session-based recommendation with recurrent networks (Hidasi et al., ICLR 2016)."""

import tensorflow as tf

from schemas import names
from trainer.layers import dropout, recurrent
from trainer.models import ranking
from trainer.settings import gru4rec as gru4rec_settings


class GRU4Rec(ranking.EmbeddingModel):
    """Layers of GRUs over the item history, section 3.1; the last state scores the items.

    Of "Recurrent Neural Networks with Top-k Gains" (Hidasi and Karatzoglou, CIKM 2018) it has
    the embedding that input and output share ("constrained embedding") and the loss over
    sampled items, which is `loss: {name: sampled_softmax, negative_sampling: in_batch}`; other
    losses of `trainer.losses` do as well. Where `hidden` is not `dim`, a linear layer takes
    the state to the width of the items.

    Args:
      settings: see `gru4rec_settings.GRU4RecSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    # Steps are unrolled.
    graph_per_width = True

    def __init__(
        self, settings: gru4rec_settings.GRU4RecSettings, catalogue: ranking.Catalogue, seed: int = 0
    ):
        super().__init__(settings, catalogue, seed, tied=settings.tied)
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._layers = [recurrent.GRU(settings.hidden) for _ in range(settings.layers)]
        self._project = tf.keras.layers.Dense(settings.dim) if settings.hidden != settings.dim else None

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`."""
        index = features[names.HISTORY_ITEM_INDEX]
        present = index != names.PADDING_INDEX
        hidden = self._dropout(self._items(index), training=training)
        for layer in self._layers:
            hidden = layer(hidden, present, unroll=not self.static_shapes)
            hidden = self._dropout(hidden, training=training)
        return self._project(hidden) if self._project else hidden
