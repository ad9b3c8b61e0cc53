"""An autoencoder of histories as a pretraining of a network of users (Srivastava et al., ICML 2015)."""

import tensorflow as tf

from schemas import names
from trainer.layers import recurrent
from trainer.models import pretraining, scoring, users
from trainer.settings import user_autoencoder as user_autoencoder_settings


class UserAutoencoder(pretraining.Pretraining):
    """Tells the items of a history, oldest first, from the user's embedding, by a GRU.

    At each place the decoder has the embedding and the item before, which is hidden by chance (word dropout: Bowman et al.,
    CoNLL 2016). Scores are dot products with the network's own table of items. A window's loss is the mean over its events.

    Args:
      settings: see `user_autoencoder_settings.UserAutoencoderSettings`.
      known, seed: see `pretraining.Pretraining`.
    """

    def __init__(
        self,
        settings: user_autoencoder_settings.UserAutoencoderSettings,
        known: users.Behaviors,
        seed: int = 0,
    ):
        super().__init__(settings, known, seed)
        dim = settings.dim
        self._scorer = scoring.Rows(self.users.behaviors.items, self.generator)
        self._told, self._said = tf.keras.layers.Dense(dim), tf.keras.layers.Dense(dim)
        self._decoder = recurrent.GRU(dim, width=dim)
        # Embedding alone, which makes a model's other variables, asks none of them.
        for layer in (self._told, self._said):
            layer.build([None, dim])

    @classmethod
    def loss_features(cls, known: users.Behaviors) -> tuple[str, ...]:
        """See `pretraining.Pretraining.loss_features`: what follows is not read."""
        return ()

    def judge(self, features: pretraining.Features, training: bool) -> pretraining.Judged:
        """See `pretraining.Pretraining.judge`; without `training` the decoder is told every event."""
        index = features[names.HISTORY_ITEM_INDEX]
        before = tf.pad(index, [[0, 0], [1, 0]])[:, :-1]
        if training and self.settings.hidden:
            hidden = self.generator.uniform(tf.shape(before)) < self.settings.hidden
            before = tf.where(hidden, tf.constant(names.PADDING_INDEX, before.dtype), before)
        embedding = self.encode(features, training)
        inputs = self.users.behaviors.items(before) + self._told(embedding)[:, tf.newaxis]
        states = self._decoder(inputs, index != names.PADDING_INDEX, unroll=False)
        return pretraining.Judged(*self.mean_losses(self._scorer, self._said(states), index), embedding)
