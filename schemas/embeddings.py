"""What can be told of the embeddings of users without any label: whether they differ, and what near ones have in common."""

from collections.abc import Sequence

import numpy as np

# How many other users a user's neighbours are.
NEIGHBORS = 10
# Names of what is measured.
AGREEMENT, RANDOM_AGREEMENT = "neighbor_agreement", "random_agreement"
SPREAD, EFFECTIVE_RANK = "spread", "effective_rank"
# Where there are labels: what a linear probe tells of them, the mean and each by `PROBE_AUC/LABEL`.
PROBE_AUC = "probe_auc"
# Measured is a sample of so many: what takes all pairs grows with the square.
MOST = 2048


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[N, D]` of length 1, float64; one of 0 stays 0."""
    found = np.asarray(vectors, np.float64)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def spread(vectors: np.ndarray) -> float:
    """How far vectors `[N, D]` point in different directions: 0 if all in one, about 1 if in any.

    The standard deviation of each dimension of vectors of length 1, of which the root of the mean square is taken
    over that of vectors in any direction, 1 / sqrt(D); what SimSiam (Chen and He, CVPR 2021, section 4.1) watches.
    """
    found = unit(vectors)
    return float(np.sqrt(found.var(axis=0).sum())) if len(found) else float("nan")


def effective_rank(vectors: np.ndarray) -> float:
    """How many dimensions vectors `[N, D]` make use of, from 1 to D: exp of the entropy of the singular values' shares.

    Roy and Vetterli, EUSIPCO 2007, of vectors of length 1 less their mean, so that what all have in common is no
    dimension. Of equal vectors it is 1.

    >>> round(effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
    2.0
    """
    found = unit(vectors)
    if not len(found):
        return float("nan")
    values = np.linalg.svd(found - found.mean(axis=0), compute_uv=False)
    # What is left of equal vectors is rounding.
    values = values[values > 1e-6 * np.sqrt(len(found))]
    shares = values / values.sum() if len(values) else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def jaccard(sets: Sequence[np.ndarray]) -> np.ndarray:
    """How alike sets are, `[N, N]`: the size of what two have in common over that of both together; 0 of empty ones.

    Args:
      sets: N arrays of int64, in which a value may come again.
    """
    # Names of metrics are asked for where it would take longer to import than all else.
    from scipy import sparse

    distinct = [np.unique(each) for each in sets]
    sizes = np.array([len(each) for each in distinct], np.int64)
    columns = np.unique(np.concatenate([np.zeros(0, np.int64), *distinct]), return_inverse=True)[1]
    rows = np.repeat(np.arange(len(distinct)), sizes)
    table = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(sizes), max(len(rows), 1)))
    common = (table @ table.T).toarray()
    together = sizes[:, None] + sizes[None, :] - common
    return np.divide(common, together, out=np.zeros_like(common), where=together > 0)


def agreements(
    vectors: np.ndarray, users: np.ndarray, sets: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """How alike what a user does next is with what the nearest other users do, and with what any others do.

    The nearest are those whose vectors have the largest cosine; where several are as near and not all are needed, each
    counts for the same share. Of other windows of the same user nothing counts.

    Args:
      vectors: of N windows, `[N, D]`.
      users: of the windows, `[N]`.
      sets: what follows each window, see `jaccard`.

    Returns:
      `[N]` each; not a number for a user beside whom there is no other.
    """
    alike, found = jaccard(sets), unit(vectors)
    other = np.asarray(users)[:, None] != np.asarray(users)[None, :]
    near = np.where(other, found @ found.T, -np.inf)
    number = other.sum(axis=1)
    wanted = np.minimum(NEIGHBORS, number)
    nearest, of_all = np.full(len(found), np.nan), np.full(len(found), np.nan)
    for row in np.flatnonzero(wanted):
        bound = np.partition(near[row], -wanted[row])[-wanted[row]]
        above, at = near[row] > bound, near[row] == bound
        share = (wanted[row] - above.sum()) / at.sum()
        nearest[row] = (alike[row, above].sum() + share * alike[row, at].sum()) / wanted[row]
        of_all[row] = alike[row, other[row]].mean()
    return nearest, of_all
