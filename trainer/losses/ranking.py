"""Losses of next-item models, on the states of all supervised positions of a batch.

A loss is called with the model, the states `[T, D]`, the labels `[T]` (catalogue rows) and,
where some are only there to fill a static shape, which of them are real (`[T]` bool); a loss that
`reads_windows` takes the items of the targets' windows after that. It
returns a value for each target, `[T]` float32; that of one that is not real has no meaning.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.losses import loss, sets
from trainer.losses import negatives as sampling
from trainer.settings import losses as loss_settings

# Of a negative that is not used; finite, so that its gradient is 0 and not undefined.
_MASKED = -1e9


class Softmax(loss.Loss):
    """Cross-entropy over the whole catalogue."""

    def __call__(
        self, model: Any, states: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        return model.catalogue_losses(states, labels)


def prior_logit(ratio: float) -> float:
    """The score that suits all items best, where all have the same: the logarithm of positives over negatives.

    Binary losses start from it, as RetinaNet's (ICCV 2017) does: it is a constant, and changes no ranking.
    Without it the first thing to learn is that nearly all pairs are negative. Scores are products of
    embeddings, which then all get a large common part, inputs too, and training stays at the
    ranking by popularity for long.
    """
    return math.log(ratio)


class _Sampled(loss.Loss):
    """A loss over the target and some drawn items.

    Args:
      negatives: n, how many for each target.
      sampler: of `trainer.losses.negatives`; None draws uniformly.
      logq_correction: make up for items being drawn more often than others.
    """

    def __init__(self, negatives: int, sampler: sampling.Sampler | None = None, logq_correction: bool = True):
        self._negatives = negatives
        self._sampler = sampler or sampling.Uniform()
        self._corrects = logq_correction
        self.reads_windows = self._sampler.reads_windows


class SampledSoftmax(_Sampled):
    """Cross-entropy over the target and sampled negatives.

    A negative's logit is lowered by log(n q'), where q' is its probability in a draw that is
    not the target. So the sampled partition function estimates the whole one without bias,
    and the loss is comparable with `Softmax`. Without the correction q' is 1 / (N - 1).
    """

    def __call__(
        self, model: Any, states: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        sample = self._sampler.draw(model, states, labels, self._negatives, counted)
        size, negative = model.catalogue.size, sample.negative
        # The sampler says both or neither.
        if self._corrects and sample.negative_q is not None and sample.positive_q is not None:
            negative -= tf.math.log(sample.negative_q) - tf.math.log1p(-sample.positive_q)[:, tf.newaxis]
        else:
            negative += math.log(size - 1)
        if sample.used is None:
            negative -= math.log(self._negatives)
        else:
            used = tf.reduce_sum(tf.cast(sample.used, tf.float32), axis=1, keepdims=True)
            negative = tf.where(sample.used, negative - tf.math.log(tf.maximum(used, 1.0)), _MASKED)
        logits = tf.concat([sample.positive[:, tf.newaxis], negative], axis=1)
        return tf.reduce_logsumexp(logits, axis=1) - sample.positive


class BCE(_Sampled):
    """Binary cross-entropy of the target plus that of each of its negatives.

    SASRec (ICDM 2018), eq. (7), for n = 1; TP (KDD 2020), eq. (2): these have `negatives.Unmet` ones. By default
    negatives may be items that the user has at other places. With more negatives, scores are counted from
    `prior_logit`.
    Where negatives are not drawn uniformly, all logits are lowered by log(N q) (noise-contrastive estimation:
    Gutmann and Hyvarinen, AISTATS 2010), so that the scores come to what uniform draws make
    of them (but for the target's being left out), with another variance. Without the
    correction they come to the logarithm of how much likelier an item is than q says.
    """

    def __call__(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        counted: tf.Tensor | None = None,
        windows: tf.Tensor | None = None,
    ) -> tf.Tensor:
        return tf.add(*self.parts(model, states, labels, counted, windows))

    def parts(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        counted: tf.Tensor | None = None,
        windows: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The terms of the targets, and of their negatives, `[T]` float32 each; see the module and `reads_windows`."""
        given = (counted, windows) if self.reads_windows else (counted,)
        sample = self._sampler.draw(model, states, labels, self._negatives, *given)
        positive, negative = sample.positive, sample.negative
        # The sampler says both or neither.
        if self._corrects and sample.negative_q is not None and sample.positive_q is not None:
            positive -= tf.math.log(model.catalogue.size * sample.positive_q)
            negative -= tf.math.log(model.catalogue.size * sample.negative_q)
        prior = prior_logit(1 / self._negatives)
        positive, negative = positive + prior, negative + prior
        if sample.used is not None:
            negative = tf.where(sample.used, negative, _MASKED)
        return tf.nn.softplus(-positive), tf.reduce_sum(tf.nn.softplus(negative), axis=1)


class GBCE(_Sampled):
    """Generalised binary cross-entropy: the target's probability is raised to the power beta.

    gSASRec (Petrov and Macdonald, RecSys 2023), eq. (9): with the sampling rate
    alpha = n / (N - 1), beta = alpha (t (1 - 1 / alpha) + 1 / alpha). t = 0 is BCE with n
    negatives; t = 1 is calibrated to the whole catalogue. Negatives are drawn uniformly, as
    the calibration assumes. Scores are counted from `prior_logit`.

    Args:
      negatives, sampler: see `_Sampled`.
      calibration: t.
    """

    def __init__(self, negatives: int, calibration: float, sampler: sampling.Sampler | None = None):
        super().__init__(negatives, sampler)
        self._calibration = calibration

    def beta(self, size: int) -> float:
        """The exponent for a catalogue of `size` items."""
        alpha = min(1.0, self._negatives / (size - 1))
        return alpha * (self._calibration * (1 - 1 / alpha) + 1 / alpha)

    def __call__(
        self, model: Any, states: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        sample = self._sampler.draw(model, states, labels, self._negatives, counted)
        # -log(sigmoid(s) ** beta) = beta softplus(-s): no power is ever computed.
        beta = self.beta(model.catalogue.size)
        prior = prior_logit(beta / self._negatives)
        negative = sample.negative + prior
        if sample.used is not None:
            negative = tf.where(sample.used, negative, _MASKED)
        against = tf.reduce_sum(tf.nn.softplus(negative), axis=1)
        return beta * tf.nn.softplus(-sample.positive - prior) + against


class _Max(_Sampled):
    """Losses of pairs of the target with each negative, which count by a softmax over the negatives' scores (section 4).

    Losses of pairs are not corrected for items that are drawn more often than others. Where all that was drawn is the target
    itself there is no pair, and the loss is 0.
    """

    def __call__(
        self, model: Any, states: tf.Tensor, labels: tf.Tensor, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        sample = self._sampler.draw(model, states, labels, self._negatives, counted)
        positive, negative = sample.positive[:, tf.newaxis], sample.negative
        if sample.used is None:
            return self._of_pairs(positive, negative, tf.nn.log_softmax(negative))
        log_share = tf.nn.log_softmax(tf.where(sample.used, negative, _MASKED))
        found = self._of_pairs(positive, negative, log_share)
        return tf.where(tf.reduce_any(sample.used, axis=1), found, 0.0)

    def _of_pairs(self, positive: tf.Tensor, negative: tf.Tensor, log_share: tf.Tensor) -> tf.Tensor:
        """The loss `[T]`, of targets' scores `[T, 1]`, those of negatives and the logarithm of what each counts, `[T, n]`."""
        raise NotImplementedError


class BPRMax(_Max):
    """`-log sum_j s_j sigmoid(r - r_j) + lambda sum_j s_j r_j^2` with s the softmax of the negatives' scores r_j.

    Hidasi and Karatzoglou (CIKM 2018), eq. (10).

    Args:
      negatives, sampler: see `_Sampled`.
      regularization: lambda.
    """

    def __init__(self, negatives: int, sampler: sampling.Sampler | None = None, regularization: float = 1.0):
        super().__init__(negatives, sampler)
        self._regularization = regularization

    def _of_pairs(self, positive: tf.Tensor, negative: tf.Tensor, log_share: tf.Tensor) -> tf.Tensor:
        likely = tf.reduce_logsumexp(log_share - tf.nn.softplus(negative - positive), axis=1)
        large = tf.reduce_sum(tf.exp(log_share) * tf.square(negative), axis=1)
        return self._regularization * large - likely


class TOP1Max(_Max):
    """`sum_j s_j (sigmoid(r_j - r) + sigmoid(r_j^2))` with s the softmax of the negatives' scores r_j.

    Hidasi and Karatzoglou (CIKM 2018), eq. (8).

    Args:
      negatives, sampler: see `_Sampled`.
    """

    def _of_pairs(self, positive: tf.Tensor, negative: tf.Tensor, log_share: tf.Tensor) -> tf.Tensor:
        of_pair = tf.sigmoid(negative - positive) + tf.sigmoid(tf.square(negative))
        return tf.reduce_sum(tf.exp(log_share) * of_pair, axis=1)


# What makes a loss of its settings, by name.
LOSSES: dict[str, Callable[[Any], Any]] = {
    "softmax": lambda settings: Softmax(),
    "sampled_softmax": lambda settings: SampledSoftmax(
        settings.negatives, sampling.build(settings), settings.logq_correction
    ),
    "bce": lambda settings: BCE(settings.negatives, sampling.build(settings), settings.logq_correction),
    "gbce": lambda settings: GBCE(settings.negatives, settings.calibration, sampling.build(settings)),
    "bpr_max": lambda settings: BPRMax(settings.negatives, sampling.build(settings), settings.regularization),
    "top1_max": lambda settings: TOP1Max(settings.negatives, sampling.build(settings)),
    "period_bce": lambda settings: sets.PeriodBCE(settings.negatives),
    "period_softmax": lambda settings: sets.PeriodSoftmax(settings.negatives),
}


def build(settings: loss_settings.LossSettings) -> Any:
    """The loss of its settings; see `trainer.settings.losses`."""
    return LOSSES[settings.name](settings)
