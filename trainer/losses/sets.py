"""Losses over all that follows in a period: the target of a history is a set of items, or how often each of them comes.

A loss is called with what scores (a `scoring.Scoring` with `catalogue.size` and `generator`), the queries of `[B]`
histories, and the catalogue rows that follow, `[B, M]` in any order, negative where there is none. It returns a value for
each history, `[B]` float32; that of one after which nothing known follows has no meaning.
"""

import math
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from serving import sets as served
from trainer.losses import loss

# Of a score that does not count; finite, so that its gradient is 0 and not undefined.
_MASKED = -1e9


def first_of_each(rows: tf.Tensor) -> tf.Tensor:
    """Which rows `[B, M]` of a history no other before it equals, `[B, M]` bool; none of the negative ones."""
    return (rows >= 0) & served.is_first(rows)


def _own(scorer: Any, query: Any, rows: tf.Tensor) -> tf.Tensor:
    """The scores of the rows that follow, `[B, M]` float32."""
    return tf.cast(scorer.pair_scores(query, tf.maximum(rows, 0)), tf.float32)


class _OfPeriod(loss.Loss):
    """A loss against the whole catalogue, or some of it.

    Args:
      negatives: n, how many rows are drawn, once for all histories of a step; None: all rows are there.
    """

    targets = "period"

    def __init__(self, negatives: int | None = None):
        self._negatives = negatives

    def _drawn(self, scorer: Any, query: Any, rows: tf.Tensor, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores `[B, n]` float32 of rows drawn uniformly, and which of them do not follow, `[B, n]` bool."""
        drawn = scorer.generator.uniform([number], maxval=scorer.catalogue.size, dtype=tf.int64)
        scores = tf.cast(scorer.shared_scores(query, drawn), tf.float32)
        return scores, tf.reduce_all(rows[:, :, tf.newaxis] != drawn[tf.newaxis, tf.newaxis, :], axis=1)


class PeriodBCE(_OfPeriod):
    """Binary cross-entropy over the catalogue: 1 for what follows in the period, 0 for the rest.

      sum_{v in F} softplus(-s_v) + sum_{v not in F} softplus(s_v)

    DSPnet, eq. (6), has the mean over the N items, N times less: of gradients that small, Adam's epsilon leaves nothing, and
    what stands beside the loss would depend on N. With drawn negatives the second sum is estimated without bias: (N - |F|)
    times the mean over those drawn that are not in F. A score is counted from log(1/N), the rate of one item a history,
    which changes no ranking (see `ranking.prior_logit`).
    """

    def __call__(self, scorer: Any, query: Any, rows: tf.Tensor) -> tf.Tensor:
        size = scorer.catalogue.size
        prior = -math.log(size)
        counts = tf.cast(first_of_each(rows), tf.float32)
        own = _own(scorer, query, rows) + prior
        if self._negatives is None:
            # Of what follows, softplus(-s) = softplus(s) - s.
            scores = tf.cast(scorer.scores(query), tf.float32) + prior
            total = tf.reduce_sum(tf.nn.softplus(scores), axis=1) - tf.reduce_sum(counts * own, axis=1)
            return total
        scores, negative = self._drawn(scorer, query, rows, self._negatives)
        against = tf.reduce_sum(tf.where(negative, tf.nn.softplus(scores + prior), 0.0), axis=1)
        number = tf.reduce_sum(tf.cast(negative, tf.float32), axis=1)
        rest = (size - tf.reduce_sum(counts, axis=1)) * tf.math.divide_no_nan(against, number)
        return tf.reduce_sum(counts * tf.nn.softplus(-own), axis=1) + rest


class PeriodSoftmax(_OfPeriod):
    """Cross-entropy of the softmax over the catalogue with the share that each item has of what follows.

      log sum_v exp(s_v) - sum_v c_v s_v / sum_v c_v,   c_v: how often v follows

    With drawn negatives the sum over those that do not follow is estimated without bias, as in `ranking.SampledSoftmax`.
    """

    def __call__(self, scorer: Any, query: Any, rows: tf.Tensor) -> tf.Tensor:
        size = scorer.catalogue.size
        follows = tf.cast(rows >= 0, tf.float32)
        own = _own(scorer, query, rows)
        wanted = tf.math.divide_no_nan(tf.reduce_sum(follows * own, axis=1), tf.reduce_sum(follows, axis=1))
        if self._negatives is None:
            return tf.reduce_logsumexp(tf.cast(scorer.scores(query), tf.float32), axis=1) - wanted
        scores, negative = self._drawn(scorer, query, rows, self._negatives)
        first = first_of_each(rows)
        number = tf.reduce_sum(tf.cast(negative, tf.float32), axis=1, keepdims=True)
        rest = size - tf.reduce_sum(tf.cast(first, tf.float32), axis=1, keepdims=True)
        # Where all is drawn that follows, nothing stands for the rest.
        weight = tf.math.log(tf.maximum(rest, 1.0)) - tf.math.log(tf.maximum(number, 1.0))
        logits = tf.concat(
            [tf.where(first, own, _MASKED), tf.where(negative, scores + weight, _MASKED)], axis=1
        )
        return tf.reduce_logsumexp(logits, axis=1) - wanted
