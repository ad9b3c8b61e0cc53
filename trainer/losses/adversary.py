"""Regularisation by an adversary: what a model encodes is to look like draws from a prior (Makhzani et al., 2016)."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a discriminator makes of encoded vectors and of draws from the prior, `[B]` float32 each.

    Attributes:
      value: log D(prior) + log(1 - D(z)), see `judge`.
      prior, encoded: D of the draws, and of the vectors; no gradient.
    """

    value: tf.Tensor
    prior: tf.Tensor
    encoded: tf.Tensor


def judge(
    discriminator: Callable[[tf.Tensor], tf.Tensor], encoded: tf.Tensor, prior: tf.Tensor, strength: float
) -> Judged:
    """DSPnet, eq. (4), of one kind of vectors: log D(prior) + log(1 - D(z)), times a strength.

    The discriminator is to ascend it, and the encoder to descend it. Its value is that of the loss's term, `strength`
    times the sum of logarithms, and so is the gradient of the encoder. That of the discriminator is of the sum itself: a
    strength may be 1e-9, and what is left of a gradient then Adam's epsilon would swallow.

    Args:
      discriminator: of vectors to logits, `[B, D]` to `[B]`.
      encoded: z, `[B, D]`.
      prior: draws from the prior, of the same shape.
      strength: alpha.
    """
    encoded = _scaled_gradient(tf.cast(encoded, tf.float32), strength)
    on_prior, on_encoded = tf.split(discriminator(tf.concat([prior, encoded], axis=0)), 2)
    value = -tf.nn.softplus(-on_prior) - tf.nn.softplus(on_encoded)
    chances = (tf.stop_gradient(tf.sigmoid(logits)) for logits in (on_prior, on_encoded))
    return Judged(_scaled_value(value, strength), *chances)


def _scaled_gradient(values: tf.Tensor, factor: float) -> tf.Tensor:
    """The values, whose gradient is multiplied by a factor."""

    @tf.custom_gradient
    def scaled(values: tf.Tensor) -> Any:
        return tf.identity(values), lambda upstream: upstream * factor

    return scaled(values)


def _scaled_value(values: tf.Tensor, factor: float) -> tf.Tensor:
    """The values times a factor, whose gradient is that without it."""

    @tf.custom_gradient
    def scaled(values: tf.Tensor) -> Any:
        return values * factor, tf.identity

    return scaled(values)


def _normal(shape: Any, generator: tf.random.Generator) -> tf.Tensor:
    return generator.normal(shape)


def _uniform(shape: Any, generator: tf.random.Generator) -> tf.Tensor:
    return generator.uniform(shape, -math.sqrt(3.0), math.sqrt(3.0))


def _laplace(shape: Any, generator: tf.random.Generator) -> tf.Tensor:
    # The difference of two exponential numbers; of 1 - u, which is not 0.
    one, two = (-tf.math.log(1.0 - generator.uniform(shape)) for _ in range(2))
    return (one - two) / math.sqrt(2.0)


# Each of mean 0 and variance 1, so that priors differ in their form alone.
PRIORS: dict[str, Callable[[Any, tf.random.Generator], tf.Tensor]] = {
    "normal": _normal,
    "uniform": _uniform,
    "laplace": _laplace,
}
