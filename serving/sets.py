"""Ranks of sets of targets, as those of a period, in the whole catalogue; see `serving.catalogue` for the model."""

from typing import Any

import tensorflow as tf

from schemas import names, ranks
from serving import among as among_lib
from serving import catalogue

_HASHES = 2**63 - 1


def distinct(ids: tf.SparseTensor, index: tf.SparseTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The items of each row, each once, in the order in which they come.

    Args:
      ids: raw ids, sparse `[B, m]`; an empty one is none.
      index: after Transform, at the same places.

    Returns:
      Catalogue rows `[B, M]` int64, M at least 1, -1 for those that are not in the catalogue; and where there is an
      item, `[B, M]` bool.
    """
    shape = tf.maximum(ids.dense_shape, [0, 1])

    def dense(values: tf.Tensor, missing: int) -> tf.Tensor:
        there = tf.SparseTensor(ids.indices, values, shape)
        return tf.sparse.to_dense(there, default_value=tf.constant(missing, tf.int64))

    # Unknown items are told apart, too: a user who comes back to one has not met two.
    known_by = tf.strings.to_hash_bucket_fast(ids.values, _HASHES)
    key = dense(tf.where(ids.values == "", tf.constant(-1, tf.int64), known_by), -1)
    rows = tf.maximum(dense(index.values - names.FIRST_INDEX, -1), -1)
    return rows, (key >= 0) & is_first(key)


def is_first(keys: tf.Tensor) -> tf.Tensor:
    """Which keys `[B, M]` no earlier one of their row equals."""
    order = tf.argsort(keys, axis=1, stable=True)
    ordered = tf.gather(keys, order, axis=1, batch_dims=1)
    new = tf.concat([tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    return tf.gather(new, tf.argsort(order, axis=1), axis=1, batch_dims=1)


def are_left_out(targets: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
    """Which targets `[B, M]` are among the rows `[B, E]` to leave out, `[B, M]` bool; negative ones are not."""
    ordered = tf.sort(excluded, axis=1)
    low, high = (tf.searchsorted(ordered, targets, side=side) for side in ("left", "right"))
    return (high > low) & (targets >= 0)


def below(scores: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """How many scores of a row each of its own is above; of NaN none is, and NaN is above none.

    Args:
      scores: `[B, N]` float32.
      own: `[B, M]` float32, M at least 1.

    Returns:
      `[B, M]` int64. Memory does not grow with N times M.
    """
    own = tf.where(tf.math.is_nan(own), float("-inf"), own)
    scores = tf.where(tf.math.is_nan(scores), float("inf"), scores)
    order = tf.argsort(own, axis=1)
    ordered = tf.gather(own, order, axis=1, batch_dims=1)
    # Of how many of its row's own a score is not below.
    place = tf.searchsorted(ordered, scores, side="right")
    number = tf.shape(own)[1]
    counts = tf.math.bincount(place, minlength=number + 1, maxlength=number + 1, axis=-1)
    counts = tf.cast(tf.cumsum(counts, axis=1)[:, :-1], tf.int64)
    return tf.gather(counts, tf.argsort(order, axis=1), axis=1, batch_dims=1)


def full_ranks(
    model: Any,
    query: Any,
    size: int,
    targets: tf.Tensor,
    excluded: tf.Tensor | None = None,
    at_once: int = catalogue.AT_ONCE,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """The rank of each target of a set, as `catalogue.full_rank` gives it of one.

    The others of the set are ranked, too, so that of two targets one has rank 2 at best.

    Args:
      model, query, size, excluded, at_once, among: see there.
      targets: `[B, M]` int64 catalogue rows, M at least 1; negative where a target is not in the catalogue.

    Returns:
      `[B, M]` int64.
    """
    targets = _ranked(targets, excluded, among)
    chunks = catalogue.Chunks(model, query, size, excluded, at_once, among)

    def compare(own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The score of each target in its chunk, and how many are beaten."""

        def chunk(scores: tf.Tensor, first: tf.Tensor, beaten: tf.Tensor, found: tf.Tensor) -> Any:
            last = tf.shape(scores, out_type=tf.int64)[1] - 1
            column = targets - tf.cast(first, tf.int64)
            here = tf.gather(scores, tf.clip_by_value(column, 0, last), axis=1, batch_dims=1)
            return beaten + below(scores, own), tf.where((column >= 0) & (column <= last), here, found)

        beaten, found = chunks.fold(chunk, (tf.zeros_like(targets), own))
        return found, beaten

    # What pairs score is the sum of the same products in another order: the chunks have the last word, see
    # `catalogue.full_rank`.
    expected = tf.cast(model.pair_scores(query, tf.maximum(targets, 0)), tf.float32)
    _, _, beaten = tf.while_loop(
        lambda own, known, _: tf.reduce_any((own != known) & (targets >= 0)),
        lambda own, known, _: (known, *compare(known)),
        (tf.fill(tf.shape(expected), float("nan")), expected, tf.zeros_like(targets)),
        maximum_iterations=2,
    )
    return tf.where(targets >= 0, size - beaten, tf.constant(ranks.miss(size), tf.int64))


def _ranked(targets: tf.Tensor, excluded: tf.Tensor | None, among: among_lib.Among | None) -> tf.Tensor:
    """The targets `[B, M]`, -1 for those that no ranking holds."""
    if among is not None:
        targets = among.only(targets)
    if excluded is None:
        return targets
    return tf.where(are_left_out(targets, excluded), tf.constant(-1, tf.int64), targets)


def popularity_ranks(
    size: int,
    targets: tf.Tensor,
    excluded: tf.Tensor | None = None,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """As `catalogue.popularity_rank`, of each target `[B, M]`."""
    targets = _ranked(targets, excluded, among)
    before = targets + 1 if among is None else among.places(targets)
    if excluded is not None:
        excluded = excluded if among is None else among.only(excluded)
        ordered = tf.sort(excluded, axis=1)
        ahead = tf.searchsorted(ordered, targets) - tf.searchsorted(ordered, tf.zeros_like(targets[:, :1]))
        before -= tf.cast(ahead, tf.int64)
    return tf.where(targets >= 0, before, tf.constant(ranks.miss(size), tf.int64))


def own_ranks(
    size: int, targets: tf.Tensor, history: tf.Tensor, among: among_lib.Among | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `catalogue.own_ranks`, of each target `[B, M]`; `history` is `[B, L]`."""
    number = tf.shape(targets)[1]
    every = None if among is None else among.repeated(number)
    found = catalogue.own_ranks(size, tf.reshape(targets, [-1]), tf.repeat(history, number, axis=0), every)
    frequent, latest = (tf.reshape(one, tf.shape(targets)) for one in found)
    return frequent, latest
