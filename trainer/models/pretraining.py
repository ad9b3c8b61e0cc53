"""What all pretrainings of a network of users have in common."""

from typing import Any, NamedTuple

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer.models import learner, ranking, users

Features = users.Features


class Judged(NamedTuple):
    """What a model makes of a batch, in one pass.

    Attributes:
      losses: of each window, `[B]` float32.
      counted: which windows count, `[B]` bool; others fill a batch up.
      embedding: of each user, `[B, D]`.
      predicted, target: what is predicted and what is to be predicted, `[B, D]`, where both are embeddings.
    """

    losses: tf.Tensor
    counted: tf.Tensor
    embedding: tf.Tensor
    predicted: tf.Tensor | None = None
    target: tf.Tensor | None = None


class Pretraining(learner.Learner):
    """Trains a `users.UserEncoder`, which is exported, by a task that needs no labels.

    A subclass implements `judge`. The first weights are those of the network, so that `trainer.pretrained` can give
    them to another model.

    Args:
      settings: see `trainer.settings.users.PretrainingSettings`.
      known: of the data.
      seed: of everything random in training.
    """

    def __init__(self, settings: Any, known: users.Behaviors, seed: int = 0):
        # Seconds must not become bfloat16.
        super().__init__(autocast=False)
        self.settings, self.known = settings, known
        self.generator = ranking.random_generator(seed)
        # Of `trainer.losses`; needed for training alone.
        self.training_loss: Any = None
        self.users = users.UserEncoder(settings, known, self.generator)

    @classmethod
    def loss_features(cls, known: users.Behaviors) -> tuple[str, ...]:
        """The features that the loss reads besides those of a history."""
        raise NotImplementedError

    @property
    def network(self) -> users.UserEncoder:
        """See `learner.Learner.network`."""
        return self.users

    @property
    def static_shapes(self) -> bool:
        """As of the network."""
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
        """See `loss_features`."""
        return self.loss_features(self.known)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """Those of the network."""
        return list(self.users.variables)

    @property
    def teacher_pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """Each variable of a teacher, and the student's that it follows; none where there is no teacher."""
        return []

    def momentum_at(self, step: Any, steps: int) -> Any:
        """The share of a teacher that is kept after a step of so many, float32."""
        raise NotImplementedError

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

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """A window is one target, however long."""
        return tf.ones_like(lengths)

    def judge(self, features: Features, training: bool) -> Judged:
        """The loss of each window, and what it is of."""
        raise NotImplementedError

    def window_losses(self, features: Features, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each window, and which windows count; see `judge`."""
        found = self.judge(features, training)
        return found.losses, found.counted

    def summed_loss(self, features: Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the windows of a batch that count, and their number, both float32 scalars."""
        losses, counted = self.window_losses(features, training)
        # Chosen, not multiplied by 0: what fills a batch up may give no number at all.
        return tf.reduce_sum(tf.where(counted, losses, 0.0)), tf.reduce_sum(tf.cast(counted, tf.float32))

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """The mean loss, for `compile` and `fit` of Keras."""
        total, count = self.summed_loss(inputs, training)
        return tf.math.divide_no_nan(total, count)

    def mean_losses(self, scorer: Any, states: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean of `training_loss`, one of `trainer.losses.ranking`, over the items of each window.

        Args:
          scorer: of the items, see `scoring.Rows`.
          states: `[B, L, D]`.
          index: of the items that they are to say, `[B, L]`; those without a row of the catalogue do not count.

        Returns:
          `[B]` float32, and which windows have an item that counts, `[B]` bool.
        """
        counted, rows = index >= names.FIRST_INDEX, tf.shape(index)[0]
        if self.static_shapes:
            real = tf.reshape(counted, [-1])
            labels = tf.where(real, tf.reshape(index, [-1]) - names.FIRST_INDEX, 0)
            found = self.training_loss(scorer, tf.reshape(states, [-1, states.shape[-1]]), labels, real)
            losses = tf.reduce_sum(tf.reshape(tf.where(real, found, 0.0), tf.shape(index)), axis=1)
        else:
            where = tf.where(counted)
            labels = tf.gather_nd(index, where) - names.FIRST_INDEX
            found = self.training_loss(scorer, tf.gather_nd(states, where), labels)
            losses = tf.math.unsorted_segment_sum(found, where[:, 0], rows)
        number = tf.reduce_sum(tf.cast(counted, tf.float32), axis=1)
        return tf.math.divide_no_nan(losses, number), number > 0

    @staticmethod
    def with_history(features: Features) -> tf.Tensor:
        """Which windows have something before the moment, `[B]` bool."""
        return tf.reduce_any(features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, axis=1)
