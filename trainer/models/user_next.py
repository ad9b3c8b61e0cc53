"""Next items as a pretraining of a network of users, as SASRec's (Kang and McAuley, ICDM 2018)."""

import tensorflow as tf

from schemas import names
from trainer.models import pretraining, scoring, users
from trainer.settings import user_next as user_next_settings


class UserNext(pretraining.Pretraining):
    """Each event's state says the next event's item, and that of the moment the first one that follows.

    Scores are dot products with the network's own table of items. A window's loss is the mean over what it has to say.

    Args:
      settings: see `user_next_settings.UserNextSettings`.
      known, seed: see `pretraining.Pretraining`.
    """

    def __init__(self, settings: user_next_settings.UserNextSettings, known: users.Behaviors, seed: int = 0):
        super().__init__(settings, known, seed)
        self._scorer = scoring.Rows(self.users.behaviors.items, self.generator)

    @classmethod
    def loss_features(cls, known: users.Behaviors) -> tuple[str, ...]:
        """See `pretraining.Pretraining.loss_features`."""
        return (names.TARGET_ITEM_INDEX,)

    def judge(self, features: pretraining.Features, training: bool) -> pretraining.Judged:
        """See `pretraining.Pretraining.judge`."""
        states, index = self.users.states(features, training), features[names.HISTORY_ITEM_INDEX]
        # The last event's own state says nothing: the moment, which is told how long ago it was, does.
        nothing = tf.fill([tf.shape(index)[0], 1], tf.constant(names.PADDING_INDEX, index.dtype))
        following = tf.reshape(features[names.TARGET_ITEM_INDEX], [-1, 1])
        # Before the first event there is nothing to say it by.
        later = tf.where(index[:, :-1] != names.PADDING_INDEX, index[:, 1:], nothing)
        losses, some = self.mean_losses(self._scorer, states, tf.concat([later, nothing, following], axis=1))
        return pretraining.Judged(losses, self.with_history(features) & some, states[:, -1])
