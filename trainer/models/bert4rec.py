"""BERT4Rec: sequential recommendation with bidirectional encoders (Sun et al., CIKM 2019)."""

import tensorflow as tf

from schemas import names
from trainer.layers import attention, dropout, embedding, transformer
from trainer.models import ranking
from trainer.settings import bert4rec as bert4rec_settings


class BERT4Rec(ranking.EmbeddingModel):
    """Bidirectional self-attention, trained to fill in masked items (the Cloze task, section 3.6).

    To predict the next item, the history moves left by one, a mask is appended, and the state
    at the mask scores the items. The mask is a vector of the model, not an id of the
    vocabulary. Training masks a share of a window's items and its target, drawn from the
    generator that is part of the checkpoint, and for a share of the windows only the last one,
    as serving does. A score is a dot product with the item's embedding: eq. (7) without the
    bias b^O of each item, which no index of vectors could serve.

    Args:
      settings: see `bert4rec_settings.BERT4RecSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    # The target stands behind the history, whose first event would otherwise fall out.
    padding_needed = 1

    def __init__(
        self, settings: bert4rec_settings.BERT4RecSettings, catalogue: ranking.Catalogue, seed: int = 0
    ):
        super().__init__(settings, catalogue, seed)
        dim = settings.dim
        self._mask = self.add_weight(
            name="mask", shape=[dim], initializer=tf.keras.initializers.RandomNormal(stddev=0.02)
        )
        self._positions = self.add_weight(
            name="positions",
            shape=[catalogue.window_length, dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        self._input_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._blocks = [
            transformer.TransformerBlock(
                dim,
                settings.heads,
                settings.ffn_ratio * dim,
                settings.activation,
                settings.dropout,
                self.generator,
                post_norm=True,
            )
            for _ in range(settings.blocks)
        ]
        self._project = tf.keras.layers.Dense(dim, activation="gelu")
        self._output_norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The states of the history moved left by one, with a mask at the end: `[B, L, D]`.

        Each depends on all positions, earlier and later.
        """
        shifted = tf.pad(
            features[names.HISTORY_ITEM_INDEX][:, 1:], [[0, 0], [0, 1]], constant_values=names.PADDING_INDEX
        )
        last = tf.range(tf.shape(shifted)[1]) == tf.shape(shifted)[1] - 1
        return self._states(shifted, tf.broadcast_to(last, tf.shape(shifted)), training)

    def _states(self, index: tf.Tensor, masked: tf.Tensor, training: bool) -> tf.Tensor:
        """Items `[B, L]`, of which `masked` ones are not looked at, to states `[B, L, D]`."""
        items = self._items(index)
        hidden = tf.where(masked[:, :, tf.newaxis], tf.cast(self._mask, items.dtype), items)
        # Section 3.4, and the normalisation and dropout of BERT's input.
        hidden = self._input_norm(hidden + embedding.last_positions(self._positions, items))
        hidden = self._dropout(hidden, training=training)
        bias = attention.key_bias(masked | (index != names.PADDING_INDEX), hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        # Eq. (7), with the normalisation that BERT has after this layer.
        return self._output_norm(self._project(hidden))

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """One in a window of which only the last item is masked, else `mask_ratio` of it, but at least one."""
        ratio, alone = self.settings.mask_ratio, self.settings.last_share
        return alone + (1.0 - alone) * (ratio * lengths + (1.0 - ratio) ** lengths)

    def masks(self, known: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Draws which items are masked, and so are targets.

        Each known item with probability `mask_ratio`; in a share `last_share` of the windows,
        and in those where nothing was drawn, only the last. Without `training` nothing is
        random: only the last, in each window.

        Args:
          known: which places hold an item of the catalogue, `[B, L]` bool.

        Returns:
          `[B, L]` bool, a subset of `known`.
        """
        batch, length = tf.shape(known)[0], tf.shape(known)[1]
        last = known & (tf.range(length) == length - 1)
        if not training:
            return last
        drawn = known & (self.generator.uniform([batch, length]) < self.settings.mask_ratio)
        only_last = self.generator.uniform([batch, 1]) < self.settings.last_share
        only_last |= ~tf.reduce_any(drawn, axis=1, keepdims=True)
        return tf.where(only_last, last, drawn)

    def summed_loss(self, features: ranking.Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the masked items of a batch, eq. (8), and their number.

        The sequence is the history moved left by one with the target at its end, so that a
        window is as long in training as in serving. See `masks` for `training`.
        """
        index = self.targets(features)[0] + names.FIRST_INDEX
        masked = self.masks(index >= names.FIRST_INDEX, training)
        states, rows = self._states(index, masked, training), index - names.FIRST_INDEX
        return self.sum_losses(
            states, rows, masked, windows=ranking.windows_for(self.training_loss, features)
        )
