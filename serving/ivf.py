"""An inverted file (IVF): the best items of a large catalogue from a part of it.

The vectors are divided into lists of neighbours; a query is compared with the lists' centres, and with all vectors of the
best few lists (the probes) alone. What is found is exact in its scores and in what is left out; what may be missing
are items of lists that were not probed. The recall of that is measured on real queries where the model is exported.

Sources: Jégou et al., "Product quantization for nearest neighbor search", TPAMI 2011, section IV (inverted file); for
dot products the vectors are made equally long by one more coordinate, Bachrach et al., RecSys 2014.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from serving import catalogue, search, sets

# Vectors that the centres are fitted to, per list: more make no better ones.
_FITTED_TO = 64
# Vectors that are compared with all centres at once.
_AT_ONCE = 8192
# A list has at most so many times the mean; a larger one is cut.
_LARGEST = 1.5


@dataclasses.dataclass(frozen=True)
class Lists:
    """How a catalogue is divided.

    Attributes:
      centres: `[C, D]` float32.
      rows: `[C, M]` int32: the catalogue rows of each list, ascending, then -1.
    """

    centres: np.ndarray
    rows: np.ndarray


def divide(vectors: np.ndarray, lists: int, seed: int = 0) -> Lists:
    """Divides vectors `[N, D]` into about so many lists of neighbours, none much longer than the others.

    Raises:
      ValueError: if there are more lists than vectors, or none.
    """
    from sklearn import cluster

    vectors = np.ascontiguousarray(vectors, np.float32)
    count = len(vectors)
    if not 1 <= lists <= count:
        raise ValueError(f"a catalogue of {count} items has 1 to {count} lists, found {lists}")
    # Of vectors of one length, the nearest is the one with the largest dot product.
    squares = np.sum(vectors.astype(np.float64) ** 2, axis=1)
    rest = np.sqrt(np.maximum(squares.max() - squares, 0)).astype(np.float32)
    even = np.concatenate([vectors, rest[:, np.newaxis]], axis=1)
    rng = np.random.default_rng(seed)
    sample = even[rng.permutation(count)[: max(lists, _FITTED_TO * lists)]]
    means = cluster.MiniBatchKMeans(
        lists,
        batch_size=4096,
        n_init=1,
        max_iter=20,
        init="random",
        random_state=seed,
        reassignment_ratio=0.01,
    ).fit(sample)
    nearest = _nearest(even, means.cluster_centers_.astype(np.float32))
    groups = _cut(even, nearest, max(1, int(np.ceil(_LARGEST * count / lists))))
    width = max(len(group) for group in groups)
    rows = np.full([len(groups), width], -1, np.int32)
    for number, group in enumerate(groups):
        rows[number, : len(group)] = np.sort(group)
    centres = np.stack([vectors[group].mean(axis=0) for group in groups])
    return Lists(centres, rows)


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    half = 0.5 * np.sum(centres**2, axis=1)
    return np.concatenate(
        [
            np.argmax(vectors[first : first + _AT_ONCE] @ centres.T - half, axis=1)
            for first in range(0, len(vectors), _AT_ONCE)
        ]
    )


def _cut(vectors: np.ndarray, nearest: np.ndarray, most: int) -> list[np.ndarray]:
    """The rows of each centre; where they are too many, in parts along the direction in which they differ most."""
    order = np.argsort(nearest, kind="stable")
    groups: list[np.ndarray] = []
    for group in np.split(order, np.flatnonzero(np.diff(nearest[order])) + 1):
        if len(group) > most:
            around = vectors[group] - vectors[group].mean(axis=0)
            direction = np.linalg.eigh(around.T @ around)[1][:, -1]
            ordered = group[np.argsort(around @ direction, kind="stable")]
            groups.extend(np.array_split(ordered, -(-len(group) // most)))
        else:
            groups.append(group)
    return groups


def _have(scores: tf.Tensor, wanted: Any) -> tf.Tensor:
    """Which queries have so many items to be given, of their scores `[B, N]`: `[B]` bool."""
    return tf.math.count_nonzero(scores > float("-inf"), axis=1, dtype=tf.int32) >= wanted


class Index(tf.Module):
    """Lists of a catalogue as variables of a SavedModel, and the search in them.

    Args:
      lists: of `divide`.
      probes: how many lists are searched; at most C.
    """

    def __init__(self, lists: Lists, probes: int):
        super().__init__()
        width = lists.rows.shape[1]
        there = lists.rows >= 0
        place = np.empty(int(there.sum()), np.int32)
        place[lists.rows[there]] = np.flatnonzero(there.ravel())
        self._centres = tf.Variable(lists.centres, trainable=False, name="centres")
        self._rows = tf.Variable(lists.rows, trainable=False, name="rows")
        # Where each catalogue row is: list * M + place in it.
        self._place = tf.Variable(place, trainable=False, name="place")
        self._width = width
        self.probes = min(probes, len(lists.rows))

    def best(
        self,
        model: Any,
        query: tf.Tensor,
        size: int,
        k: tf.Tensor,
        excluded: tf.Tensor,
        wanted: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `catalogue.best`, of the items in the lists that are probed.

        For a query to which these have fewer items to give than it wants, the whole catalogue is searched.

        Args:
          model: scores by dot products, see `scoring.DotProduct`.
          query: `[B, D]`.
          size, k, excluded: see `catalogue.best`.
          wanted: how many of the k each query wants, `[B]`; None: all.
        """
        _, rows, scores = self._probe(model, query, excluded)
        # At least k columns to take the best of.
        lacking = [[0, 0], [0, tf.maximum(k - scores.shape[1], 0)]]
        rows, scores = tf.pad(rows, lacking), tf.pad(scores, lacking, constant_values=float("-inf"))
        top, columns = tf.math.top_k(scores, k)
        found = tf.gather(rows, columns, axis=1, batch_dims=1)
        enough = _have(scores, k if wanted is None else tf.minimum(wanted, k))

        def completed() -> tuple[tf.Tensor, tf.Tensor]:
            """Query by query: what one is answered does not depend on those that it shares a batch with."""
            exact, exact_rows = catalogue.best(model, query, size, k, excluded)
            row = enough[:, tf.newaxis]
            return tf.where(row, top, exact), tf.where(row, found, exact_rows)

        return tf.cond(tf.reduce_all(enough), lambda: (top, found), completed)

    def rank(
        self, model: Any, query: tf.Tensor, size: int, target: tf.Tensor, excluded: tf.Tensor | None = None
    ) -> tf.Tensor:
        """As `catalogue.full_rank`, in what `best` would give of `search.DEFAULT_K` items.

        A target in no list that is probed has the rank N + 1, but for a query to which the lists have too few items to give.
        """
        return self.ranks(model, query, size, target[:, tf.newaxis], excluded)[:, 0]

    def rank_and_unmet(
        self, model: Any, query: tf.Tensor, size: int, target: tf.Tensor, seen: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `catalogue.full_and_unmet_rank`, in what `best` would give."""
        met = catalogue.met_before(target, seen)
        return self.rank(model, query, size, target), self.rank(model, query, size, target, met)

    def ranks(
        self, model: Any, query: tf.Tensor, size: int, targets: tf.Tensor, excluded: tf.Tensor | None = None
    ) -> tf.Tensor:
        """As `rank`, of each target of a set `[B, M]`; see `sets.full_ranks`."""
        nothing = tf.zeros([tf.shape(query)[0], 0], tf.int64)
        lists, _, scores = self._probe(model, query, nothing if excluded is None else excluded)
        if excluded is not None:
            targets = tf.where(sets.are_left_out(targets, excluded), tf.constant(-1, tf.int64), targets)
        place = tf.gather(self._place, tf.maximum(targets, 0))
        probed = lists[:, tf.newaxis, :] == (place // self._width)[:, :, tf.newaxis]
        column = tf.argmax(probed, axis=2, output_type=tf.int32) * self._width + place % self._width
        own = tf.gather(scores, column, axis=1, batch_dims=1)
        # What is not lower stands before a target, or is it.
        rank = tf.shape(scores, tf.int64)[1] - sets.below(scores, own)
        rank = tf.where((targets >= 0) & tf.reduce_any(probed, axis=2), rank, tf.constant(size + 1, tf.int64))
        enough = _have(scores, min(search.DEFAULT_K, size))

        def completed() -> tf.Tensor:
            """As that of `best`, of the queries that need it alone: a batch may be large, and each of it have many targets."""
            few = ~enough
            left_out = None if excluded is None else tf.boolean_mask(excluded, few)
            exact = sets.full_ranks(
                model, tf.boolean_mask(query, few), size, tf.boolean_mask(targets, few), left_out
            )
            return tf.tensor_scatter_nd_update(rank, tf.where(few), exact)

        return tf.cond(tf.reduce_all(enough), lambda: rank, completed)

    def _probe(
        self, model: Any, query: tf.Tensor, excluded: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The lists `[B, P]` that are probed, their catalogue rows `[B, P * M]` and what these score.

        Where there is no row it is -1, and its score, as that of one that is left out, minus infinity.
        """
        near = tf.matmul(query, tf.cast(self._centres, query.dtype), transpose_b=True)
        lists = tf.math.top_k(near, self.probes).indices
        rows = tf.reshape(tf.gather(self._rows, lists), [tf.shape(query)[0], self.probes * self._width])
        # One query after the other: the vectors of all probes of a batch would not fit the caches, or the memory.
        scores = tf.map_fn(
            lambda pair: tf.cast(model.pair_scores(pair[0][tf.newaxis], pair[1][tf.newaxis])[0], tf.float32),
            (query, tf.maximum(rows, 0)),
            fn_output_signature=tf.TensorSpec([self.probes * self._width], tf.float32),
            parallel_iterations=1,
        )
        scores = tf.where(rows >= 0, scores, float("-inf"))
        return lists, rows, catalogue.lower(scores, *self._columns(lists, excluded))

    def _columns(self, lists: tf.Tensor, excluded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Batch rows and columns, `[P]` int64 each, of what is left out among what is probed."""
        where = tf.where(excluded >= 0)
        batch_rows = where[:, 0]
        place = tf.gather(self._place, tf.gather_nd(excluded, where))
        probed = tf.gather(lists, batch_rows) == (place // self._width)[:, tf.newaxis]
        hit = tf.where(probed)
        columns = hit[:, 1] * self._width + tf.cast(tf.gather(place, hit[:, 0]) % self._width, tf.int64)
        return tf.gather(batch_rows, hit[:, 0]), columns
