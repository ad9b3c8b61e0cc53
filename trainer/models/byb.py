"""BYB: bootstrapping your behavior, a pretraining on sequences of user behaviour (Wu et al., arXiv 2506.11053, 2025)."""

import math
from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import behavior_encoder, buckets
from trainer.losses import future as losses
from trainer.models import pretraining, users
from trainer.settings import byb as byb_settings

Features = users.Features


class BYB(pretraining.Pretraining):
    """Predicts, from what a user did, a teacher's embedding of what the user does next.

    A predictor of two layers makes of the user's embedding (`users.UserEncoder`) what is compared with the supervision: the
    mean over buckets of the means of what follows, by an encoder of behaviours of its own, the teacher. The teacher is no
    variable of the optimiser's: it follows the student's encoder (`follow`, `loops.teacher`). That buckets of the future
    weigh alike is a guess.

    Args:
      settings: see `byb_settings.BYBSettings`.
      known: of the data.
      seed: of everything random in training.
    """

    def __init__(self, settings: byb_settings.BYBSettings, known: users.Behaviors, seed: int = 0):
        super().__init__(settings, known, seed)
        self.training_loss: losses.Loss = losses.FutureCE()
        dim = settings.dim
        self._teacher = behavior_encoder.BehaviorEncoder(known.rows, dim)
        self._teacher.trainable = False
        self._predictor: Any = None
        if settings.predictor:
            self._predictor = tf.keras.Sequential()
            self._predictor.add(tf.keras.layers.Dense(settings.ffn_ratio * dim, activation="gelu"))
            self._predictor.add(tf.keras.layers.Dense(dim))
            # No answer needs it, so that no call of the model would make its variables.
            self._predictor.build([None, dim])
        self.follow(0.0)

    @classmethod
    def loss_features(cls, known: users.Behaviors) -> tuple[str, ...]:
        """See `pretraining.Pretraining.loss_features`."""
        return (*(field.future for field in known.sizes), names.FUTURE_SECONDS)

    @property
    def teacher_pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """See `pretraining.Pretraining.teacher_pairs`."""
        return list(
            zip(self._teacher.variables_in_order, self.users.behaviors.variables_in_order, strict=True)
        )

    def momentum_at(self, step: Any, steps: int) -> Any:
        """The share of the teacher that is kept after a step, float32.

        With the schedule `cosine` it is 1 - (1 - m) (cos(pi k / K) + 1) / 2, as in BYOL.

        Args:
          step: k, how many steps have been taken, an integer tensor.
          steps: K, of the whole training.
        """
        settings = self.settings
        if settings.momentum_schedule == "constant":
            return tf.constant(settings.momentum, tf.float32)
        done = tf.minimum(tf.cast(step, tf.float32) / float(max(1, steps)), 1.0)
        return 1.0 - (1.0 - settings.momentum) * (tf.cos(math.pi * done) + 1.0) / 2.0

    def predict_future(self, embedding: tf.Tensor) -> tf.Tensor:
        """What of users' embeddings `[B, D]` is compared with `supervision`: `[B, D]`."""
        return self._predictor(embedding) if self.settings.predictor else embedding

    def supervision(self, features: Features) -> tf.Tensor:
        """What is to be predicted: the embedding of what follows, `[B, D]`; 0 where nothing does."""
        return self._supervision_of(features, self._following(features))

    def activity(self, features: Features) -> tf.Tensor | None:
        """How large what is to be predicted is, `[B]` float32; None where `supervise_activity` is off."""
        return self._activity_of(self._following(features))

    def _supervision_of(self, features: Features, found: buckets.Buckets) -> tf.Tensor:
        attributes = [features[field.future] for field in self.known.sizes]
        encoder = self._teacher if self.settings.stop_gradient else self.users.behaviors
        pooled = tf.reduce_sum(found.mean(encoder(attributes)), axis=1)
        number = tf.reduce_sum(tf.cast(found.present, pooled.dtype), axis=1, keepdims=True)
        embedding = tf.math.divide_no_nan(pooled, number)
        return tf.stop_gradient(embedding) if self.settings.stop_gradient else embedding

    def _activity_of(self, found: buckets.Buckets) -> tf.Tensor | None:
        if not self.settings.supervise_activity:
            return None
        number = tf.reduce_sum(tf.cast(found.present, tf.float32), axis=1)
        return tf.math.log1p(number) / math.log(2.0)

    def _following(self, features: Features) -> buckets.Buckets:
        """The buckets of what follows."""
        items = features[names.FUTURE_ITEM_INDEX]
        width = self.settings.bucket_seconds
        most = items.shape[1] or tf.shape(items)[1]
        if width is not None:
            most = math.ceil(self.known.period_seconds / width)
        return buckets.assign(
            features[names.FUTURE_SECONDS],
            items != names.PADDING_INDEX,
            width,
            most,
            self.settings.max_bucket_events,
            static=self.static_shapes,
        )

    def judge(self, features: Features, training: bool) -> pretraining.Judged:
        """See `pretraining.Pretraining.judge`; with `supervise_activity` nothing has to follow."""
        counted, found = self.with_history(features), self._following(features)
        if not self.settings.supervise_activity:
            counted &= tf.reduce_any(features[names.FUTURE_ITEM_INDEX] != names.PADDING_INDEX, axis=1)
        embedding = self.encode(features, training)
        predicted, target = self.predict_future(embedding), self._supervision_of(features, found)
        losses_of = self.training_loss(predicted, target, self._activity_of(found))
        return pretraining.Judged(losses_of, counted, embedding, predicted, target)
