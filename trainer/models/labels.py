"""What all models of labels have in common."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.transform import fields as fields_lib
from schemas import names
from trainer.layers import towers
from trainer.losses import labels as losses
from trainer.models import learner, ranking, users

Features = learner.Features


@dataclasses.dataclass(frozen=True)
class Exposures:
    """What a model has to know of the data.

    Attributes:
      fields: F of them.
      steps: T names, of a chain in its order.
      base_rates: share of positives among the training exposures whose label is known, of each step.
      keep_negatives: r, the share of the training exposures without any step that was kept.
      behaviors: of windows of a period, what a model has to know that reads the events of a history one by one.
    """

    fields: tuple[fields_lib.Field, ...]
    steps: tuple[str, ...]
    base_rates: tuple[float, ...]
    keep_negatives: float = 1.0
    behaviors: users.Behaviors | None = None

    def __post_init__(self) -> None:
        if not self.fields or not self.steps or len(self.base_rates) != len(self.steps):
            raise ValueError(
                f"exposures have fields, steps and a base rate for each step, found {len(self.fields)} "
                f"fields, {len(self.steps)} steps and {len(self.base_rates)} rates"
            )


def inputs_read(fields: Sequence[fields_lib.Field]) -> tuple[str, ...]:
    """The transformed features that a model of these fields reads."""
    return tuple(dict.fromkeys(field.key for field in fields))


def label_features(steps: Sequence[str]) -> tuple[str, ...]:
    """The features with the labels of the steps."""
    return tuple(names.LABEL_PREFIX + step for step in steps)


def correct_for_sampling(logits: tf.Tensor, keep_negatives: float) -> tf.Tensor:
    """Logits for all exposures, from those of a model whose training left negatives out.

    Training saw every exposure with any step and a share r of those without. Chains are consistent, so
    an exposure has a step just if it has the first: among x, what training saw is the share
    W = p_1 + r (1 - p_1), and each step's share of that is p'_t = p_t / W. With p_1 = W p'_1 follows
    W = r + (1 - r) W p'_1, so

        W = r / (1 - (1 - r) p'_1),  p_t = p'_t W

    and the logit of p_t, with 1 - p_t = ((1 - r) (1 - p'_1) + r (1 - p'_t)) / (1 - (1 - r) p'_1), is
    log(r p'_t) - log((1 - r) (1 - p'_1) + r (1 - p'_t)): sums of positive numbers, taken as logarithms.
    For the first step that is its logit plus log r.

    Args:
      logits: `[B, T]` float32, of p'.
      keep_negatives: r, above 0 and at most 1.

    Returns:
      `[B, T]` float32, of p.
    """
    if keep_negatives == 1:
        return logits
    kept, left = math.log(keep_negatives), math.log1p(-keep_negatives)
    against = tf.math.log_sigmoid(-logits)
    return kept + tf.math.log_sigmoid(logits) - log_sum(left + against[:, :1], kept + against)


def log_sum(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """log(exp(a) + exp(b)), never below either."""
    return tf.maximum(first, second) + tf.math.softplus(-tf.abs(first - second))


class LabelModel(learner.Learner):
    """A model of how likely each step is for an exposure.

    A subclass implements `logits`; features are those after Transform. Its logits are those of the
    training exposures; `probabilities` are for all exposures, and calibrated.

    Args:
      settings: of the model; see `trainer.settings`.
      exposures: of the data.
      seed: of everything random in training.
    """

    def __init__(self, settings: Any, exposures: Exposures, seed: int = 0):
        super().__init__(autocast=False)
        self.settings = settings
        self.exposures = exposures
        self.generator = ranking.random_generator(seed)
        self.training_loss: Any = losses.StepBCE([1.0] * len(exposures.steps))
        count = len(exposures.steps)
        self._slopes = tf.Variable(tf.ones([count]), trainable=False, name="calibration_slopes")
        self._offsets = tf.Variable(tf.zeros([count]), trainable=False, name="calibration_offsets")

    @classmethod
    def features_of(cls, exposures: Exposures) -> tuple[str, ...]:
        """The features after Transform that such a model reads of these exposures."""
        return inputs_read(exposures.fields)

    @property
    def inputs_read(self) -> tuple[str, ...]:
        """The features that `logits` reads."""
        return self.features_of(self.exposures)

    @property
    def raw_inputs(self) -> tuple[str, ...]:
        """The raw features that these are computed from."""
        return fields_lib.raw_inputs(self.exposures.fields)

    @property
    def loss_inputs_read(self) -> tuple[str, ...]:
        """The features that the loss reads besides."""
        return label_features(self.exposures.steps)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """What is exported; a model leaves out what training alone reads, as a teacher."""
        return list(self.variables)

    def logits(self, features: Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        raise NotImplementedError

    def settled(self, features: Features) -> Features | None:
        """What `logits` makes of features before anything that training moves, and takes in their place; None of nothing.

        It is computed once, not in each epoch.
        """
        del features
        return None

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """As `logits`."""
        return self.logits(features, training=training)

    def calibrated_logits(self, features: Features, training: bool = False) -> tf.Tensor:
        """The logits of `probabilities`, `[B, T]` float32, which also tell apart what is near 0 or 1."""
        logits = correct_for_sampling(self.logits(features, training), self.exposures.keep_negatives)
        return logits * self._slopes + self._offsets

    def probabilities(self, features: Features, training: bool = False) -> tf.Tensor:
        """How likely each step is, `[B, T]` float32: corrected for negatives left out, and calibrated."""
        return tf.sigmoid(self.calibrated_logits(features, training))

    def calibrate(self, slopes: np.ndarray, offsets: np.ndarray) -> None:
        """Sets a and b of each step, each `[T]`: `calibrated_logits` are a times the corrected ones, plus b.

        Steps are calibrated apart, so a later one may come out likelier than the one before.
        """
        self._slopes.assign(slopes)
        self._offsets.assign(offsets)

    def labels(self, features: Features) -> tf.Tensor:
        """`[B, T]` int64: 1, 0, or negative where it is not known."""
        return tf.stack([features[name] for name in self.loss_inputs_read], axis=1)

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        """What the loss of each exposure has besides the cross-entropy: `[B]` float32."""
        return tf.zeros(tf.shape(logits)[:1])

    def summed_loss(self, features: Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the exposures of a batch, and their number, both float32 scalars.

        Exposures of which no label is known do not count.
        """
        logits, labels = self.logits(features, training), self.labels(features)
        counted = tf.reduce_any(labels >= 0, axis=1)
        losses = tf.where(counted, self.training_loss(logits, labels) + self.penalty(logits), 0.0)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(counted, tf.float32))

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """The mean loss, for `compile` and `fit` of Keras."""
        total, count = self.summed_loss(inputs, training)
        return tf.math.divide_no_nan(total, count)

    def heads(self) -> list[towers.Head]:
        """A head for each step, whose bias starts at the step's base rate."""
        return [towers.Head(rate) for rate in self.exposures.base_rates]


def flat(tokens: tf.Tensor) -> tf.Tensor:
    """Tokens `[B, F, D]` beside each other, `[B, F D]`."""
    return tf.reshape(tokens, [-1, tokens.shape[1] * tokens.shape[2]])
