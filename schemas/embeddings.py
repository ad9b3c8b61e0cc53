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
    """How alike sets are, `[N, N]`: the size of what two have in common over that of both together; 1 of two empty ones.

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
    # Of users who do nothing next no two are more alike.
    return np.divide(common, together, out=np.ones_like(common), where=together > 0)


class Agreements:
    """How alike what a user does next is with what the nearest other users do, and with what any others do.

    The nearest are those whose vectors have the largest cosine; where several are as near and not all are needed, each
    counts for the same share. Of other windows of the same user nothing counts.

    Args:
      vectors: of N windows, `[N, D]`.
      users: of the windows, `[N]`.
      sets: what follows each window, see `jaccard`.

    Attributes:
      nearest, of_all: `[N]` each; not a number for a user beside whom there is no other.
    """

    def __init__(self, vectors: np.ndarray, users: np.ndarray, sets: Sequence[np.ndarray]):
        from scipy import sparse

        alike, found = jaccard(sets), unit(vectors)
        self._user = np.unique(np.asarray(users), return_inverse=True)[1].reshape(-1)
        other = self._user[:, None] != self._user[None, :]
        near = np.where(other, found @ found.T, -np.inf)
        self._alike = np.where(other, alike, 0.0)
        number = other.sum(axis=1)
        wanted = np.minimum(NEIGHBORS, number)
        shares = np.zeros_like(near)
        for row in np.flatnonzero(wanted):
            bound = np.partition(near[row], -wanted[row])[-wanted[row]]
            above, at = near[row] > bound, near[row] == bound
            shares[row, above] = 1.0
            shares[row, at] = (wanted[row] - above.sum()) / at.sum()
        shared = shares * self._alike
        self._shares, self._shared = sparse.csr_matrix(shares), sparse.csr_matrix(shared)
        none = np.full(len(found), np.nan)
        self.nearest = np.divide(shared.sum(axis=1), wanted, out=none.copy(), where=wanted > 0)
        self.of_all = np.divide(self._alike.sum(axis=1), number, out=none, where=number > 0)

    def nearest_means(self, weights: np.ndarray) -> np.ndarray:
        """The mean of `nearest` where windows count more than once, or not at all, on both sides of a pair.

        The same users are near to many, so that it matters to all means which of them have been drawn: to weigh only whose
        neighbours they are would make an interval several times too narrow. (Both sides: the pigeonhole bootstrap of Owen,
        Annals of Applied Statistics 2007.) Who is near to whom stays.

        Args:
          weights: of the windows, `[N, R]`, the same for all of a user.

        Returns:
          `[R]`; not a number where no pair is left.
        """
        return _mean(self._shared @ weights, self._shares @ weights, weights)

    def of_all_means(self, weights: np.ndarray) -> np.ndarray:
        """The same of `of_all`, see `nearest_means`."""
        of_user = np.zeros([self._user.max(initial=-1) + 1, weights.shape[1]])
        np.add.at(of_user, self._user, weights)
        return _mean(self._alike @ weights, weights.sum(axis=0) - of_user[self._user], weights)


def _mean(total: np.ndarray, of: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean over windows of `total / of`, of those that have any: `[N, R]` each to `[R]`."""
    there = of > 1e-9
    each = np.divide(total, of, out=np.zeros_like(total), where=there)
    counted = np.where(there, weights, 0.0)
    size = counted.sum(axis=0)
    return np.divide((each * counted).sum(axis=0), size, out=np.full(len(size), np.nan), where=size > 0)
