"""What a rank means: 1 is best, and a rank beyond the catalogue is that of a target which cannot be recommended.

`candidates` are the items that one example ranks (the catalogue without what is left out, the target included), and
`catalogue_size` is how many there are at most: see `schemas.names`.
"""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from schemas import names


def miss(size: Any) -> Any:
    """The rank of a target that cannot be recommended, in a catalogue of `size` items."""
    return size + 1


def reached(rank: Any, size: Any) -> Any:
    """Whether the target is among what a model ranks; a miss at any cutoff if not, also of a small catalogue.

    Of arrays of NumPy, tensors and numbers alike.
    """
    return rank <= size


def hit(rank: Any, cutoff: int, size: Any) -> Any:
    """Whether the target is among the first `cutoff`, of arrays of NumPy, tensors and numbers alike."""
    return (rank <= cutoff) & reached(rank, size)


def or_infinite(rank: Any, size: Any) -> np.ndarray:
    """Ranks in which infinity stands for every miss, as `values` takes them: float64 of the shape of `rank`.

    >>> or_infinite(np.array([1, 5, 6]), 5).tolist()
    [1.0, 5.0, inf]
    """
    rank = np.asarray(rank, np.float64)
    return np.where(reached(rank, size), rank, np.inf)


def among_unmet(output: str, outputs: Container[str]) -> str | None:
    """Of what a model gives, the name of a rank or of the number of candidates among what the user has not met.

    Sampled metrics draw their negatives from these. A model that leaves out what was seen ranks no others.

    Returns:
      None where the model ranks seen items, and is too old to tell how it ranks without them.
    """
    for name in (names.of_unmet(output), output):
        if name in outputs and (name != output or names.OWN_FREQUENT_RANK not in outputs):
            return name
    return None


def values(ranks: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """HR, NDCG and MRR of each rank r, with one relevant item (the ideal DCG is 1: Jarvelin and Kekalainen, 2002).

      HR@K = [r <= K]        NDCG@K = [r <= K] / log2(1 + r)        MRR = 1 / r

    `trainer.evaluation.ranking` has the first two once more, in the graph that ranks.

    Args:
      ranks: `[B]`, infinity for a miss.
      cutoffs: the K's.

    Returns:
      float64 `[B, 2 C + 1]`: HR of each of the C cutoffs, NDCG of each, MRR.

    >>> values(np.array([3, np.inf]), [2, 10]).round(2).tolist()
    [[0.0, 1.0, 0.0, 0.5, 0.33], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    ranks = np.asarray(ranks, np.float64)
    within = ranks[:, None] <= np.asarray(cutoffs, np.float64)[None, :]
    gain = 1.0 / np.log2(1.0 + ranks)
    return np.concatenate([within, within * gain[:, None], 1.0 / ranks[:, None]], axis=1)


def set_values(ranks: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """Recall and NDCG of a set of relevant items F, from the rank r of each of them.

      recall@K = |{r <= K}| / |F|        capped_recall@K = |{r <= K}| / min(K, |F|)
      NDCG@K = sum over r <= K of 1 / log2(1 + r), over that of the ranks 1 to min(K, |F|)

    With more items than K, `recall@K` cannot be 1; `capped_recall@K` can.

    Args:
      ranks: `[|F|]`, at least one, infinity for a miss.
      cutoffs: the K's.

    Returns:
      float64 `[3 C]`: recall of each of the C cutoffs, capped recall of each, NDCG of each.

    >>> set_values(np.array([1, 4, np.inf]), [2]).round(2).tolist()
    [0.33, 0.5, 0.61]
    """
    return values_of_sets(np.asarray(ranks, np.float64)[None], cutoffs)[0]


def values_of_sets(ranks: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """As `set_values`, of many sets.

    Args:
      ranks: `[B, M]`, of each set at least one, infinity for a miss and not a number where there is no further item.
      cutoffs: the K's.

    Returns:
      float64 `[B, 3 C]`.
    """
    ranks, wanted = np.asarray(ranks, np.float64)[:, None], np.asarray(cutoffs, np.int64)
    number = np.count_nonzero(~np.isnan(ranks), axis=2)
    within = ranks <= wanted[:, None]
    hits, most = within.sum(axis=2), np.minimum(wanted, number)
    gains = np.where(within, 1.0 / np.log2(1.0 + ranks), 0.0).sum(axis=2)
    best = np.cumsum(1.0 / np.log2(1.0 + np.arange(1, ranks.shape[2] + 1)))[most - 1]
    return np.concatenate([hits / number, hits / most, gains / best], axis=1)
