"""Losses of models of labels: on the logits of all steps, `[B, T]`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import errors
from trainer.settings import losses as loss_settings


class StepBCE:
    """Binary cross-entropy of each step whose label is known, BPCM's eq. (11) with weights.

    Args:
      weights: of the steps, T numbers.
    """

    def __init__(self, weights: Sequence[float]):
        self._weights = tuple(weights)

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The sum over the steps for each exposure.

        Args:
          logits: `[B, T]` float32.
          labels: `[B, T]` int64; a negative one is unknown: no loss, and no gradient.

        Returns:
          `[B]` float32.
        """
        known = labels >= 0
        positive = tf.cast(labels > 0, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(positive, logits)
        return tf.reduce_sum(tf.where(known, losses, 0.0) * tf.constant(self._weights), axis=1)


def order_violation(logits: tf.Tensor) -> tf.Tensor:
    """By how much later steps are likelier than the ones before: sum over t of max(y_t - y_{t-1}, 0).

    The calibrator of AITM (Xi et al., KDD 2021) and of BPCM. BPCM's eq. (12) is printed with a
    leading minus, which would reward what the text means to punish, and compares y_{t+1} with y_t for
    t = 2..T, which leaves out the first pair and has no last one. This is what the text says, and AITM.

    Args:
      logits: `[B, T]` float32.

    Returns:
      `[B]` float32; 0 where T is 1.
    """
    likely = tf.sigmoid(logits)
    return tf.reduce_sum(tf.nn.relu(likely[:, 1:] - likely[:, :-1]), axis=1)


# What makes a loss of its settings and the steps, by name.
LOSSES: dict[str, Callable[[Any, Sequence[str]], Any]] = {
    "step_bce": lambda settings, steps: StepBCE(_weights(settings.weights, steps)),
}


def build(settings: loss_settings.LossSettings, steps: Sequence[str]) -> Any:
    """The loss of its settings; see `trainer.settings.losses`.

    Raises:
      errors.InputError: if a weight is for a step that there is not.
    """
    return LOSSES[settings.name](settings, steps)


def _weights(given: Mapping[str, float], steps: Sequence[str]) -> list[float]:
    """The weight of each step, 1 where nothing is said."""
    for name in given:
        if name not in steps:
            raise errors.InputError(
                f"loss.weights: the window has no step {name!r}; it has {', '.join(steps)}"
            )
    return [given.get(step, 1.0) for step in steps]
