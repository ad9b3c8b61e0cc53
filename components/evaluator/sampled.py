"""Expected metrics of a sampled ranking, from the full one: nothing is drawn.

Some papers rank a target among n negatives drawn at random from what the user has not met. Where the
ranking of the target and all of these has M candidates and the target at rank r, r - 1 of the other
M - 1 candidates stand before it; of n drawn uniformly without replacement, X do:

  sampled rank = 1 + X,  X ~ Hypergeometric(M - 1, r - 1, n)

so that a metric's expectation over all draws is a closed sum over n + 1 ranks. Krichene and
Rendle (On Sampled Metrics for Item Recommendation, KDD 2020, section 4) show that such
metrics may order models otherwise than the full ones do.
"""

from collections.abc import Callable

import numpy as np

# Probabilities of one chunk of examples: 8 MB.
_CHUNK = 1 << 20


def expected_values(
    ranks: np.ndarray,
    candidates: np.ndarray,
    negatives: int,
    of_ranks: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Metrics of each example, averaged over all draws of its negatives.

    Args:
      ranks: `[B]` in the ranking of all M, 1 is best; infinity for a target outside the catalogue,
        which stays a miss.
      candidates: `[B]`, M of each example, the target included. Where M - 1 <= n all others
        are negatives, and the values are those of the full ranking.
      negatives: n, how many are drawn.
      of_ranks: gives the metrics of ranks, `[S]` to `[S, metrics]`.

    Returns:
      float64 `[B, metrics]`.

    >>> # Of 3 candidates the target has rank 2: one of the other 2 is drawn, the better one in half of the draws.
    >>> expected_values(np.array([2]), np.array([3]), 1, lambda ranks: (ranks <= 1)[:, np.newaxis]).tolist()
    [[0.5]]
    """
    ranks = np.asarray(ranks, np.float64)
    others = np.asarray(candidates, np.float64) - 1.0
    # A score that is no number stands behind what was left out, too: then r > M.
    ahead = np.minimum(ranks - 1.0, others)
    values = np.array(of_ranks(ranks), np.float64)
    by_sampled_rank = of_ranks(np.arange(1.0, negatives + 2.0))
    drawn = np.flatnonzero(np.isfinite(ranks) & (others > negatives))
    size = max(1, _CHUNK // (negatives + 1))
    for start in range(0, len(drawn), size):
        part = drawn[start : start + size]
        values[part] = _probabilities(ahead[part], others[part], negatives) @ by_sampled_rank
    return values


def _probabilities(ahead: np.ndarray, others: np.ndarray, negatives: int) -> np.ndarray:
    """P(X = x) for x = 0..n, `[B, n + 1]`, where `ahead` `[B]` of more than n `others` `[B]` are better.

    With a of N better, b = N - a and falling factorials [a]_x = a (a - 1) ... (a - x + 1),

      P(X = x) = C(n, x) [a]_x [b]_(n - x) / [N]_n.

    Sums of at most n logarithms keep 12 digits at any N; differences of log-gammas of N lose
    as many digits as log(N!) has.
    """
    drawn = np.arange(negatives, dtype=np.float64)
    choose = np.concatenate([[0.0], np.cumsum(np.log((negatives - drawn) / (drawn + 1.0)))])
    logs = choose + _log_falling(ahead, negatives) + _log_falling(others - ahead, negatives)[:, ::-1]
    return np.exp(logs - _log_falling(others, negatives)[:, -1:])


def _log_falling(values: np.ndarray, most: int) -> np.ndarray:
    """log [v]_k for k = 0..most, `[B, most + 1]`; minus infinity where k > v."""
    result = np.zeros([len(values), most + 1])
    factors = np.maximum(values[:, None] - np.arange(most, dtype=np.float64), 0.0)
    with np.errstate(divide="ignore"):
        np.cumsum(np.log(factors), axis=1, out=result[:, 1:])
    return result
