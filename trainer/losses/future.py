"""Losses of a predicted embedding against a teacher's (BYB, Wu et al., 2025).

The paper names two, cross-entropy and mean squared error, of which either may be the better (section 5.6). Its equations
are not at hand; guesses are that the softmax goes over the dimensions of one embedding, as in DINO (Caron et al., ICCV
2021, eq. 1, without its centring), its temperatures, and that targets are standardised first, as in data2vec (Baevski et
al., ICML 2022, section 3.3).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# Of predicted embeddings and targets, `[B, D]` each, and by how much targets are scaled, `[B]` or None, to the loss of each
# row, `[B]` float32.
Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], tf.Tensor]
# Beside a variance, relative: of equal dimensions nothing becomes large.
_EPSILON = 1e-6
_LEAST = 1e-20


def standardized(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[B, D]`, each with mean 0 and variance 1 over its dimensions, float32; one of equal dimensions is 0."""
    vectors = tf.cast(vectors, tf.float32)
    mean, variance = tf.nn.moments(vectors, axes=[1], keepdims=True)
    # Relative, since embeddings begin small.
    size = tf.reduce_mean(tf.square(vectors), axis=1, keepdims=True)
    # A vector of 0 has no size to go by, and its gradient is not to be one of 1 / 0.
    spread = variance + _EPSILON * size
    return (vectors - mean) * tf.math.rsqrt(tf.where(spread > _LEAST, spread, 1.0))


class FutureCE:
    """`- sum_d softmax(t / tau_t)_d log softmax(p / tau_s)_d` of a target t and a prediction p.

    Args:
      teacher_temperature, student_temperature: tau_t and tau_s.
      standardize: whether t is standardised first.
    """

    def __init__(
        self,
        teacher_temperature: float = 1.0,
        student_temperature: float = 1.0,
        standardize: bool = True,
    ):
        self._teacher, self._student = teacher_temperature, student_temperature
        self._standardize = standardize

    def __call__(self, predicted: tf.Tensor, target: tf.Tensor, scale: tf.Tensor | None = None) -> tf.Tensor:
        """`[B, D]` twice, and `[B]`, to `[B]` float32."""
        target = _target(target, self._standardize, scale)
        logits = tf.cast(predicted, tf.float32) / self._student
        return tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(target / self._teacher), logits)


class FutureMSE:
    """The mean over dimensions of `(p - t)^2` of a target t and a prediction p.

    Args:
      standardize: whether t is standardised first.
    """

    def __init__(self, standardize: bool = True):
        self._standardize = standardize

    def __call__(self, predicted: tf.Tensor, target: tf.Tensor, scale: tf.Tensor | None = None) -> tf.Tensor:
        """`[B, D]` twice, and `[B]`, to `[B]` float32."""
        difference = tf.cast(predicted, tf.float32) - _target(target, self._standardize, scale)
        return tf.reduce_mean(tf.square(difference), axis=1)


def _target(target: tf.Tensor, standardize: bool, scale: tf.Tensor | None) -> tf.Tensor:
    found = standardized(target) if standardize else tf.cast(target, tf.float32)
    return found if scale is None else found * tf.cast(scale, tf.float32)[:, tf.newaxis]


_BUILDERS: dict[str, Callable[[Any], Loss]] = {
    "future_ce": lambda settings: FutureCE(
        settings.teacher_temperature, settings.student_temperature, settings.standardize
    ),
    "future_mse": lambda settings: FutureMSE(settings.standardize),
}


def build(settings: Any) -> Loss:
    """The loss of settings of `trainer.settings.losses`."""
    return _BUILDERS[settings.name](settings)
