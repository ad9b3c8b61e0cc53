"""BYB: bootstrapping your behavior, a pretraining on sequences of user behaviour (Wu et al., arXiv 2506.11053, 2025)."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer.layers import behavior_encoder, bucket_encoder, buckets
from trainer.losses import future as losses
from trainer.models import ranking
from trainer.settings import byb as byb_settings

Features = dict[str, tf.Tensor]
# Attributes of a behaviour: the vocabulary, and the feature of histories and of futures.
_ATTRIBUTES = {
    names.ITEM_VOCABULARY: (names.HISTORY_ITEM_INDEX, names.FUTURE_ITEM_INDEX),
    names.BEHAVIOR_VOCABULARY: (names.HISTORY_BEHAVIOR_INDEX, names.FUTURE_BEHAVIOR_INDEX),
    names.SCENE_VOCABULARY: (names.HISTORY_SCENE_INDEX, names.FUTURE_SCENE_INDEX),
}
_CALENDAR = {names.HISTORY_HOUR_INDEX: 24, names.HISTORY_WEEKDAY_INDEX: 7}
# Ages with a position of their own.
_MOST_AGES = 1024


@dataclasses.dataclass(frozen=True)
class Behaviors:
    """What a model has to know of the data.

    Attributes:
      sizes: how many known values the attributes of a behaviour have, by the name of the vocabulary; of the items first.
      window_length: L, the most events of a history.
      past_seconds, period_seconds: how far a history reaches back, and how long the period after it is.
    """

    sizes: dict[str, int]
    window_length: int
    past_seconds: float
    period_seconds: float


def inputs_read(known: Behaviors) -> tuple[str, ...]:
    """The features after Transform that a user's embedding is made of."""
    attributes = (_ATTRIBUTES[vocabulary][0] for vocabulary in known.sizes)
    return (*attributes, *_CALENDAR, names.HISTORY_SECONDS, names.SECONDS_SINCE_LAST)


def loss_inputs_read(known: Behaviors) -> tuple[str, ...]:
    """The features that what is predicted is made of."""
    return (*(_ATTRIBUTES[vocabulary][1] for vocabulary in known.sizes), names.FUTURE_SECONDS)


class BYB(tfrs.Model):
    """Predicts, from what a user did, a teacher's embedding of what the user does next.

    A behaviour is the weighted sum of the embeddings of its attributes (section 4.1, `behavior_encoder`). Those of a
    history are pooled by their distance from the moment (section 4.2, `buckets`), with the calendar (hour and weekday
    of each event, added to it, a guess) and a bucket's age as positions; a Transformer makes the user's embedding of them.
    A predictor of two layers makes of it what is compared with the supervision: the mean over buckets of the means of
    what follows, by an encoder of behaviours of its own, the teacher. The teacher is no variable of the optimiser's: it
    follows the student's encoder (`follow`, `loops.teacher`). That buckets of the future weigh alike is a guess.

    Args:
      settings: see `byb_settings.BYBSettings`.
      known: of the data.
      seed: of everything random in training.
    """

    # How many places of padding have to stay before a history: none counts.
    padding_needed = 0
    graph_per_width = False

    def __init__(self, settings: byb_settings.BYBSettings, known: Behaviors, seed: int = 0):
        # Seconds must not become bfloat16.
        super().__init__(autocast=False)
        self.settings, self.known = settings, known
        self.generator = ranking.random_generator(seed)
        self.training_loss: losses.Loss = losses.FutureCE()
        # With XLA shapes must be known.
        self.static_shapes = False
        dim = settings.dim
        self._student = behavior_encoder.BehaviorEncoder(known.sizes, dim)
        self._teacher = behavior_encoder.BehaviorEncoder(known.sizes, dim)
        self._teacher.trainable = False
        self._calendar = [
            tf.keras.layers.Embedding(size + names.FIRST_INDEX, dim, name=feature)
            for feature, size in _CALENDAR.items()
        ]
        unit = settings.bucket_seconds or buckets.DAY
        self._encoder = bucket_encoder.BucketEncoder(
            min(_MOST_AGES, math.ceil(known.past_seconds / unit)),
            dim,
            settings.blocks,
            settings.heads,
            settings.ffn_ratio * dim,
            settings.dropout,
            self.generator,
        )
        self._predictor: Any = None
        if settings.predictor:
            self._predictor = tf.keras.Sequential()
            self._predictor.add(tf.keras.layers.Dense(settings.ffn_ratio * dim, activation="gelu"))
            self._predictor.add(tf.keras.layers.Dense(dim))
            # No answer needs it, so that no call of the model would make its variables.
            self._predictor.build([None, dim])
        self.follow(0.0)

    @property
    def inputs_read(self) -> tuple[str, ...]:
        """The features that `encode` reads."""
        return inputs_read(self.known)

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
        return list(zip(self._teacher.variables_in_order, self._student.variables_in_order, strict=True))

    def follow(self, momentum: float) -> None:
        """Moves the teacher: `momentum` times what it is and the rest the student's; outside of a step."""
        for teacher, student in self.teacher_pairs:
            teacher.assign(momentum * teacher + (1.0 - momentum) * student)

    def encode(self, features: Features, training: bool = False) -> tf.Tensor:
        """The embedding of each user, `[B, D]`.

        Args:
          features: `inputs_read`; without SECONDS_SINCE_LAST, the moment is that of the last event.
          training: whether dropout is on.
        """
        # The latest first: of events at one time these count.
        read = {
            name: features[name][:, ::-1] for name in self.inputs_read if name != names.SECONDS_SINCE_LAST
        }
        attributes = [read[_ATTRIBUTES[vocabulary][0]] for vocabulary in self.known.sizes]
        vectors = self._student(attributes)
        for feature, table in zip(_CALENDAR, self._calendar):
            vectors += table(read[feature])
        seconds = read[names.HISTORY_SECONDS]
        if names.SECONDS_SINCE_LAST in features:
            seconds += tf.reshape(features[names.SECONDS_SINCE_LAST], [-1, 1])
        settings = self.settings
        found = buckets.assign(
            seconds,
            attributes[0] != names.PADDING_INDEX,
            settings.bucket_seconds,
            self.known.window_length if settings.bucket_seconds is None else settings.max_buckets,
            settings.max_bucket_events,
            static=self.static_shapes,
        )
        return self._encoder(found.mean(vectors), found.age, found.present, training=training)

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """As `encode`."""
        return self.encode(features, training=training)

    def predict_future(self, embedding: tf.Tensor) -> tf.Tensor:
        """What of users' embeddings `[B, D]` is compared with `supervision`: `[B, D]`."""
        return self._predictor(embedding) if self.settings.predictor else embedding

    def supervision(self, features: Features) -> tf.Tensor:
        """What is to be predicted: the embedding of what follows, `[B, D]`; 0 where nothing does."""
        attributes = [features[_ATTRIBUTES[vocabulary][1]] for vocabulary in self.known.sizes]
        encoder = self._teacher if self.settings.stop_gradient else self._student
        width = self.settings.bucket_seconds
        most = attributes[0].shape[1] or tf.shape(attributes[0])[1]
        if width is not None:
            most = math.ceil(self.known.period_seconds / width)
        found = buckets.assign(
            features[names.FUTURE_SECONDS],
            attributes[0] != names.PADDING_INDEX,
            width,
            most,
            self.settings.max_bucket_events,
            static=self.static_shapes,
        )
        pooled = tf.reduce_sum(found.mean(encoder(attributes)), axis=1)
        number = tf.reduce_sum(tf.cast(found.present, pooled.dtype), axis=1, keepdims=True)
        embedding = tf.math.divide_no_nan(pooled, number)
        return tf.stop_gradient(embedding) if self.settings.stop_gradient else embedding

    def counted(self, features: Features) -> tf.Tensor:
        """Which windows have something before and after the moment, `[B]` bool; others fill a batch up."""
        before = tf.reduce_any(features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, axis=1)
        return before & tf.reduce_any(features[names.FUTURE_ITEM_INDEX] != names.PADDING_INDEX, axis=1)

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """A window is one target, however long."""
        return tf.ones_like(lengths)

    def summed_loss(self, features: Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the windows of a batch that count, and their number, both float32 scalars."""
        counted = self.counted(features)
        predicted = self.predict_future(self.encode(features, training))
        found = tf.where(counted, self.training_loss(predicted, self.supervision(features)), 0.0)
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


def known_sizes(items: Sequence[Any], behaviors: Sequence[Any], scenes: Sequence[Any]) -> dict[str, int]:
    """`Behaviors.sizes` of vocabularies, without those that a log lacks."""
    sizes = dict(zip(_ATTRIBUTES, (len(items), len(behaviors), len(scenes)), strict=True))
    return {name: size for name, size in sizes.items() if size or name == names.ITEM_VOCABULARY}
