"""Losses of next-item models, on the states of all supervised positions of a batch.

A loss is called with the model, the states `[T, D]` and the labels `[T]` (catalogue rows),
and returns a value for each target, `[T]` float32.
"""

import math
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer import config


class Softmax:
    """Cross-entropy over the whole catalogue."""

    def __call__(self, model: Any, states: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(model.scores(states), tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


class _Negatives:
    """Draws items uniformly from the catalogue without the target.

    Args:
      negatives: how many for each target.
    """

    def __init__(self, negatives: int):
        self._negatives = negatives

    def _logits(self, model: Any, states: tf.Tensor, labels: tf.Tensor) -> Any:
        """Logits of the target `[T]` and of negatives `[T, n]`; other items are not computed on."""
        size = model.catalogue.size
        if size < 2:
            raise ValueError(f"a loss with negatives needs at least two items, found {size}")
        shape = [tf.shape(labels)[0], self._negatives]
        drawn = model.generator.uniform(shape, maxval=size - 1, dtype=tf.int64)
        # Stepping over the target keeps the draw uniform over all others.
        drawn += tf.cast(drawn >= labels[:, tf.newaxis], tf.int64)
        states = tf.cast(states, tf.float32)
        positive = tf.reduce_sum(states * tf.cast(model.item_vectors(labels), tf.float32), axis=-1)
        negative = tf.einsum("td,tnd->tn", states, tf.cast(model.item_vectors(drawn), tf.float32))
        return positive, negative


class SampledSoftmax(_Negatives):
    """Cross-entropy over the target and sampled negatives.

    The negatives' logits are raised by log((N - 1) / n), so that the sampled partition
    function estimates the whole one without bias and the loss is comparable with `Softmax`.
    """

    def __call__(self, model: Any, states: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        positive, negative = self._logits(model, states, labels)
        negative += math.log((model.catalogue.size - 1) / self._negatives)
        logits = tf.concat([positive[:, tf.newaxis], negative], axis=1)
        return tf.reduce_logsumexp(logits, axis=1) - positive


class BCE(_Negatives):
    """Binary cross-entropy of the target plus that of each of its negatives.

    SASRec (ICDM 2018), eq. (7), for n = 1; TP (KDD 2020), eq. (2).
    """

    def __call__(self, model: Any, states: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        positive, negative = self._logits(model, states, labels)
        return tf.nn.softplus(-positive) + tf.reduce_sum(tf.nn.softplus(negative), axis=1)


class GBCE(_Negatives):
    """Generalised binary cross-entropy: the target's probability is raised to the power beta.

    gSASRec (Petrov and Macdonald, RecSys 2023), eq. (9): with the sampling rate
    alpha = n / (N - 1), beta = alpha (t (1 - 1 / alpha) + 1 / alpha). t = 0 is BCE with n
    negatives; t = 1 is calibrated to the whole catalogue.
    """

    def __init__(self, negatives: int, calibration: float):
        super().__init__(negatives)
        self._calibration = calibration

    def beta(self, size: int) -> float:
        """The exponent for a catalogue of `size` items."""
        alpha = min(1.0, self._negatives / (size - 1))
        return alpha * (self._calibration * (1 - 1 / alpha) + 1 / alpha)

    def __call__(self, model: Any, states: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        positive, negative = self._logits(model, states, labels)
        # -log(sigmoid(s) ** beta) = beta softplus(-s): no power is ever computed.
        beta = self.beta(model.catalogue.size)
        return beta * tf.nn.softplus(-positive) + tf.reduce_sum(tf.nn.softplus(negative), axis=1)


def build(settings: Any) -> Any:
    """The loss of its settings; see `trainer.config`."""
    if isinstance(settings, config.SoftmaxSettings):
        return Softmax()
    if isinstance(settings, config.SampledSoftmaxSettings):
        return SampledSoftmax(settings.negatives)
    if isinstance(settings, config.BCESettings):
        return BCE(settings.negatives)
    if isinstance(settings, config.GBCESettings):
        return GBCE(settings.negatives, settings.calibration)
    raise TypeError(f"no loss for {type(settings).__name__}")
