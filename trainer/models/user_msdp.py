"""MSDP's pretraining of a network of users (Fu et al., CIKM 2023): how often each item follows, in windows of several lengths."""

import tensorflow as tf

from schemas import names
from trainer.losses import consistency, scales
from trainer.models import pretraining, scoring, users
from trainer.settings import user_msdp as user_msdp_settings


class UserMSDP(pretraining.Pretraining):
    """Predicts the distribution over items of what follows in (T, T + W], with W drawn for each training window.

    As `msdp.MSDP`, but the network is that of BYB (`users.UserEncoder`) and what is told W, by a prompt that is added to the
    user's embedding, is two layers behind it (as many as BYB's predictor has). Their output scores the items of the
    network's own table. For the consistency, events are left out rather than masked.

    Args:
      settings: see `user_msdp_settings.UserMSDPSettings`.
      known, seed: see `pretraining.Pretraining`.
    """

    def __init__(self, settings: user_msdp_settings.UserMSDPSettings, known: users.Behaviors, seed: int = 0):
        super().__init__(settings, known, seed)
        dim = settings.dim
        self._ends = [scale * known.period_seconds for scale in settings.scales]
        self._prompts = self.add_weight(
            name="prompts",
            shape=[len(settings.scales), dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        self._scorer = scoring.Rows(self.users.behaviors.items, self.generator)
        self._head, self._predictor = tf.keras.Sequential(), tf.keras.Sequential()
        for layers, inner, activation in (
            (self._head, settings.ffn_ratio * dim, "gelu"),
            (self._predictor, dim, "relu"),
        ):
            layers.add(tf.keras.layers.Dense(inner, activation=activation))
            layers.add(tf.keras.layers.Dense(dim))
            # No answer needs them, so that no call of the model would make their variables.
            layers.build([None, dim])

    @classmethod
    def loss_features(cls, known: users.Behaviors) -> tuple[str, ...]:
        """See `pretraining.Pretraining.loss_features`."""
        return names.FUTURE_ITEM_INDEX, names.FUTURE_SECONDS

    def judge(self, features: pretraining.Features, training: bool) -> pretraining.Judged:
        """See `pretraining.Pretraining.judge`; without `training`, W is the longest and nothing is left out."""
        settings, following = self.settings, features[names.FUTURE_ITEM_INDEX]
        wanted = scales.drawn(self.generator, tf.shape(following)[0], len(settings.scales), training)
        kept, chosen = scales.within(following, features[names.FUTURE_SECONDS], self._ends, wanted)
        rows = tf.where(kept, tf.maximum(following - names.FIRST_INDEX, -1), -1)
        embedding = self.encode(features, training)
        query = self._head(embedding + tf.cast(tf.gather(self._prompts, chosen), embedding.dtype))
        losses = self.training_loss(self._scorer, query, rows)
        if settings.consistency:
            other = embedding
            if training:
                index = features[names.HISTORY_ITEM_INDEX]
                left_out = self.generator.uniform(tf.shape(index)) < settings.mask_ratio
                fewer = tf.where(left_out, tf.constant(names.PADDING_INDEX, index.dtype), index)
                other = self.encode({**features, names.HISTORY_ITEM_INDEX: fewer}, training)
            losses += settings.consistency * consistency.unlike(self._predictor, embedding, other)
        counted = self.with_history(features) & tf.reduce_any(rows >= 0, axis=1)
        return pretraining.Judged(losses, counted, embedding)
