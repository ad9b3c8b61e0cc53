"""BYB: bootstrapping your behavior, a pretraining on sequences of user behaviour (Wu et al., arXiv 2506.11053, 2025)."""

import math
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer.layers import behavior_encoder, buckets
from trainer.losses import future as losses
from trainer.models import ranking, users
from trainer.settings import byb as byb_settings

Features = users.Features


def loss_inputs_read(known: users.Behaviors) -> tuple[str, ...]:
    """The features that what is predicted is made of."""
    return (*(field.future for field in known.sizes), names.FUTURE_SECONDS)


class BYB(tfrs.Model):
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

    # How many places of padding have to stay before a history: none counts.
    padding_needed = 0
    graph_per_width = False

    def __init__(self, settings: byb_settings.BYBSettings, known: users.Behaviors, seed: int = 0):
        # Seconds must not become bfloat16.
        super().__init__(autocast=False)
        self.settings, self.known = settings, known
        self.generator = ranking.random_generator(seed)
        self.training_loss: losses.Loss = losses.FutureCE()
        dim = settings.dim
        self.users = users.UserEncoder(settings, known, self.generator)
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

    @property
    def static_shapes(self) -> bool:
        """Whether shapes depend on nothing that is in a batch, as XLA needs it."""
        return self.users.static_shapes

    @static_shapes.setter
    def static_shapes(self, value: bool) -> None:
        self.users.static_shapes = value

    @property
    def inputs_read(self) -> tuple[str, ...]:
        """The features that `encode` reads."""
        return self.known.inputs_read

    @property
    def raw_inputs(self) -> tuple[str, ...]:
        """The raw features that these are computed from."""
        return self.known.sources

    @property
    def loss_inputs_read(self) -> tuple[str, ...]:
        """The features that the loss reads besides."""
        return loss_inputs_read(self.known)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """All but the teacher and the predictor."""
        of_training = [*self._teacher.variables]
        if self.settings.predictor:
            of_training += self._predictor.variables
        left_out = {variable.ref() for variable in of_training}
        return [variable for variable in self.variables if variable.ref() not in left_out]

    @property
    def teacher_pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """Each variable of the teacher, and the student's that it follows."""
        return list(
            zip(self._teacher.variables_in_order, self.users.behaviors.variables_in_order, strict=True)
        )

    def follow(self, momentum: float) -> None:
        """Moves the teacher: `momentum` times what it is and the rest the student's; outside of a step."""
        for teacher, student in self.teacher_pairs:
            teacher.assign(momentum * teacher + (1.0 - momentum) * student)

    def encode(self, features: Features, training: bool = False) -> tf.Tensor:
        """The embedding of each user, `[B, D]`; see `users.UserEncoder`."""
        return self.users(features, training=training)

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """As `encode`."""
        return self.encode(features, training=training)

    def predict_future(self, embedding: tf.Tensor) -> tf.Tensor:
        """What of users' embeddings `[B, D]` is compared with `supervision`: `[B, D]`."""
        return self._predictor(embedding) if self.settings.predictor else embedding

    def supervision(self, features: Features) -> tf.Tensor:
        """What is to be predicted: the embedding of what follows, `[B, D]`; 0 where nothing does."""
        attributes = [features[field.future] for field in self.known.sizes]
        encoder = self._teacher if self.settings.stop_gradient else self.users.behaviors
        found = self._following(features)
        pooled = tf.reduce_sum(found.mean(encoder(attributes)), axis=1)
        number = tf.reduce_sum(tf.cast(found.present, pooled.dtype), axis=1, keepdims=True)
        embedding = tf.math.divide_no_nan(pooled, number)
        return tf.stop_gradient(embedding) if self.settings.stop_gradient else embedding

    def activity(self, features: Features) -> tf.Tensor | None:
        """How large what is to be predicted is, `[B]` float32; None where `supervise_activity` is off."""
        if not self.settings.supervise_activity:
            return None
        number = tf.reduce_sum(tf.cast(self._following(features).present, tf.float32), axis=1)
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

    def counted(self, features: Features) -> tf.Tensor:
        """Which windows have something before and (but with `supervise_activity`) after the moment, `[B]` bool.

        Others fill a batch up.
        """
        before = tf.reduce_any(features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, axis=1)
        if self.settings.supervise_activity:
            return before
        return before & tf.reduce_any(features[names.FUTURE_ITEM_INDEX] != names.PADDING_INDEX, axis=1)

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """A window is one target, however long."""
        return tf.ones_like(lengths)

    def summed_loss(self, features: Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the windows of a batch that count, and their number, both float32 scalars."""
        counted = self.counted(features)
        predicted = self.predict_future(self.encode(features, training))
        losses_of = self.training_loss(predicted, self.supervision(features), self.activity(features))
        found = tf.where(counted, losses_of, 0.0)
        return tf.reduce_sum(found), tf.reduce_sum(tf.cast(counted, tf.float32))

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """The mean loss, for `compile` and `fit` of Keras."""
        total, count = self.summed_loss(inputs, training)
        return tf.math.divide_no_nan(total, count)


def momentum_at(settings: byb_settings.BYBSettings, step: Any, steps: int) -> Any:
    """The share of the teacher that is kept after a step, float32.

    Args:
      settings: with `momentum` and its schedule: `cosine` is 1 - (1 - m) (cos(pi k / K) + 1) / 2, as in BYOL.
      step: k, how many steps have been taken, an integer tensor.
      steps: K, of the whole training.
    """
    if settings.momentum_schedule == "constant":
        return tf.constant(settings.momentum, tf.float32)
    done = tf.minimum(tf.cast(step, tf.float32) / float(max(1, steps)), 1.0)
    return 1.0 - (1.0 - settings.momentum) * (tf.cos(math.pi * done) + 1.0) / 2.0
