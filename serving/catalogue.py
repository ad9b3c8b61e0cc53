"""Ranks and best items within the whole catalogue; shared by training, evaluation and serving.

Scores of a batch against N items are made and used up a chunk of the catalogue at a time, so that
memory does not grow with N. A model here has `query(features)`, what it makes of histories, a tensor `[B, ...]` or
several; and for queries `scores(query, first, count)`, the scores `[B, count]` of some neighbouring catalogue rows
(of all N without the last two), and `shared_scores(query, rows)`, of any rows `[C]`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from schemas import names, ranks
from serving import among as among_lib

# Scores that are in memory at once: 16 MB of float32.
AT_ONCE = 1 << 22
# A chunk has at least so many items, whatever the batch (below, it is all overhead), and at most so
# many, since it needs their vectors, too.
_SMALLEST, _LARGEST = 1024, 65_536
_LOWEST = float("-inf")


def query(model: Any, features: dict[str, Any]) -> Any:
    """The model's query for each history, in float32: of rounded scores, more would be equal than of exact ones."""
    return in_float32(model.query(features, training=False))


def in_float32(query: Any) -> Any:
    """A query of float32, see `query`."""
    return tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), query)


def target_rows(features: dict[str, Any]) -> tf.Tensor:
    """The catalogue rows of the targets of transformed windows, `[B]` int64; -1 where they are not in the catalogue."""
    return tf.maximum(features[names.TARGET_ITEM_INDEX] - names.FIRST_INDEX, -1)


def seen_rows(features: dict[str, Any]) -> tf.Tensor:
    """The catalogue rows of what users have seen, `[B, M]` int64; negative ones say nothing."""
    return tf.sparse.to_dense(features[names.SEEN_ITEM_INDEX]) - names.FIRST_INDEX


def _pairs(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What `[B, M]` catalogue rows name, as pairs of batch row and catalogue row: `[P]` int64 each."""
    where = tf.where(rows >= 0)
    return where[:, 0], tf.gather_nd(rows, where)


def lower(scores: tf.Tensor, batch_rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Scores `[B, N]` with those at some places, `[P]` int64 each, set to minus infinity."""
    lowest = tf.fill(tf.shape(columns), tf.constant(_LOWEST, scores.dtype))
    return tf.tensor_scatter_nd_update(scores, tf.stack([batch_rows, columns], axis=1), lowest)


def leave_out(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Scores with some catalogue rows set to minus infinity.

    Args:
      scores: `[B, N]` float.
      rows: `[B, M]` int64 catalogue rows to leave out; negative ones say nothing.

    Returns:
      `[B, N]`.
    """
    return lower(scores, *_pairs(rows))


class _ByItem:
    """What `[B, M]` catalogue rows name, by catalogue row: those of a chunk of the catalogue are neighbours."""

    def __init__(self, rows: tf.Tensor):
        batch_rows, rows = _pairs(rows)
        order = tf.argsort(rows)
        self._batch_rows, self._rows = tf.gather(batch_rows, order), tf.gather(rows, order)

    def within(self, first: Any, count: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Of `count` rows from `first` on: batch rows and places in the chunk, `[P]` int64 each."""
        ends = tf.cast(tf.stack([first, first + count]), tf.int64)
        low, high = tf.unstack(tf.searchsorted(self._rows, ends))
        return self._batch_rows[low:high], self._rows[low:high] - ends[0]


def met_before(target: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """The rows `[B, M]` that users have seen, but for their target `[B]`: no negatives are drawn from these."""
    return tf.where(seen == target[:, tf.newaxis], tf.constant(-1, tf.int64), seen)


def is_left_out(target: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
    """Which targets `[B]` are among the rows `[B, M]` to leave out: `[B]` bool; negative ones are not."""
    return tf.reduce_any((excluded == target[:, tf.newaxis]) & (excluded >= 0), axis=1)


def _ranked(target: tf.Tensor, excluded: tf.Tensor | None, among: among_lib.Among | None = None) -> tf.Tensor:
    """The targets, -1 for those that no ranking without `excluded` and `among` the candidates holds."""
    if among is not None:
        target = among.only(target)
    if excluded is None:
        return target
    return tf.where(is_left_out(target, excluded), tf.constant(-1, tf.int64), target)


def rank_of_target(
    scores: tf.Tensor,
    target: tf.Tensor,
    excluded: tf.Tensor | None = None,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """The target's rank in the catalogue; 1 is best.

    Ties and scores that are not numbers count against the model, so a constant model ranks
    every target last. A target that is left out stands behind all, as one that is not in the catalogue:
    a model that is served never gives it. (Were it ranked among what the user does not know, it would be
    told by being there.)

    Args:
      scores: `[B, N]` float, a score for every item.
      target: `[B]` int64 catalogue row, negative where the target is not in the catalogue;
        the rank of what is not there is N + 1.
      excluded: `[B, M]` int64 rows to leave out of the ranking (negative: nothing).
      among: the candidates; None: the whole catalogue. A target that is none of them is as one that is left out.

    Returns:
      `[B]` int64.
    """
    size = tf.shape(scores, out_type=tf.int64)[1]
    target = _ranked(target, excluded, among)
    if among is not None:
        scores = tf.where(among.columns(0, size), scores, tf.constant(_LOWEST, scores.dtype))
    if excluded is not None:
        scores = leave_out(scores, excluded)
    own = tf.gather(scores, tf.maximum(target, 0), axis=1, batch_dims=1)
    return _rank(size, target, _beaten(scores, own))


def _beaten(scores: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """How many scores of each row are below the target's: `[B]` int64; none where either is NaN."""
    return tf.cast(tf.reduce_sum(tf.cast(scores < own[:, tf.newaxis], tf.int32), axis=1), tf.int64)


def _not_beaten(scores: tf.Tensor, own: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """How many of some scores, by `[P]` batch rows and columns, are not below the target's: `[B]` int64."""
    # Not `~(a < b)`, which Grappler makes `a >= b` of: what is no number would not be counted.
    below = tf.gather_nd(scores, tf.stack([rows, columns], axis=1)) < tf.gather(own, rows)
    return tf.math.unsorted_segment_sum(1 - tf.cast(below, tf.int64), rows, tf.shape(own)[0])


def _rank(size: Any, target: tf.Tensor, beaten: tf.Tensor) -> tf.Tensor:
    """All that are not beaten stand before the target, or are it."""
    size = tf.cast(size, tf.int64)
    return tf.where(target >= 0, size - beaten, ranks.miss(size))


def _number(query: Any) -> tf.Tensor:
    """B."""
    return tf.shape(tf.nest.flatten(query)[0])[0]


class Chunks:
    """The scores of a batch, a chunk of the catalogue at a time.

    All chunks are as wide, so that all are made by the same kernels: the last one reaches back into
    the one before, and what it repeats is cut off.

    Args:
      model, query, size, excluded, at_once, among: see `full_rank`.

    Attributes:
      several: whether there are several chunks.
    """

    def __init__(
        self,
        model: Any,
        query: Any,
        size: int,
        excluded: tf.Tensor | None,
        at_once: int,
        among: among_lib.Among | None = None,
    ):
        self._model, self._query, self._size = model, query, size
        self._excluded, self._among = excluded, among
        widest = tf.clip_by_value(at_once // tf.maximum(_number(query), 1), _SMALLEST, _LARGEST)
        self._number = -(-size // widest)
        self._width = -(-size // self._number)
        self.several = self._number > 1

    def fold(self, function: Callable[..., Any], state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        """Calls `function(scores, first, *state)` for each chunk in order; it gives the next state.

        `scores` are `[B, count]` float32 of the rows from `first` (an int32 scalar) on. The state keeps
        its shapes.
        """

        left_out = None if self._excluded is None else _ByItem(self._excluded)

        def step(number: tf.Tensor, *before: tf.Tensor) -> tuple[tf.Tensor, ...]:
            first = number * self._width
            start = tf.minimum(first, self._size - self._width)
            scores = tf.cast(self._model.scores(self._query, start, self._width), tf.float32)
            if self._among is not None:
                scores = tf.where(self._among.columns(start, self._width), scores, _LOWEST)
            if left_out is not None:
                scores = lower(scores, *left_out.within(start, self._width))
            scores = scores[:, first - start :]
            return (number + 1, *function(scores, first, *before))

        # One chunk after the other: several at once would need the memory of several.
        return tf.while_loop(
            lambda number, *_: number < self._number, step, (0, *state), parallel_iterations=1
        )[1:]


def full_rank(
    model: Any,
    query: Any,
    size: int,
    target: tf.Tensor,
    excluded: tf.Tensor | None = None,
    at_once: int = AT_ONCE,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """As `rank_of_target` of all the model's scores, in the memory of `at_once` of them.

    A tie is a tie only if both scores were summed in the same order, so the target's score has to be
    the one in its chunk. It is not known before that chunk is made, yet every chunk is compared with
    it: what the scores of the targets alone say is used at first, and should the chunk say
    otherwise (no kernel that we met does), all is compared once more.

    Args:
      model: see the module.
      query: of `query`.
      size: N.
      target, excluded, among: see `rank_of_target`.
      at_once: how many scores there are at a time (but a chunk has 1024 to 65,536 items).

    Returns:
      `[B]` int64.
    """
    return _full_rank(model, query, size, target, excluded, at_once, among)[0]


def full_and_unmet_rank(
    model: Any, query: Any, size: int, target: tf.Tensor, seen: tf.Tensor, at_once: int = AT_ONCE
) -> tuple[tf.Tensor, tf.Tensor]:
    """`full_rank` in the whole catalogue, and among the target and the items that the user has not met, in one pass.

    Args:
      model, query, size, target, at_once: see `full_rank`.
      seen: `[B, M]` int64 rows of what the user has met, without repeats; negative ones say nothing. A target
        among them is ranked like any other.

    Returns:
      Two ranks `[B]` int64.
    """
    rank, ahead = _full_rank(model, query, size, target, None, at_once, None, met_before(target, seen))
    return rank, tf.where(target >= 0, rank - ahead, rank)


def _full_rank(
    model: Any,
    query: Any,
    size: int,
    target: tf.Tensor,
    excluded: tf.Tensor | None,
    at_once: int,
    among: among_lib.Among | None,
    counted: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The rank, and how many of the rows `counted` `[B, M]` stand before the target: `[B]` int64 each."""
    by_item = None if counted is None else _ByItem(counted)

    def before(scores: tf.Tensor, own: tf.Tensor, first: Any) -> tf.Tensor:
        if by_item is None:
            return tf.zeros_like(target)
        return _not_beaten(scores, own, *by_item.within(first, tf.shape(scores)[1]))

    chunks = Chunks(model, query, size, excluded, at_once, among)
    target = _ranked(target, excluded, among)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        scores = tf.cast(model.scores(query), tf.float32)
        own = tf.gather(scores, tf.maximum(target, 0), axis=1, batch_dims=1)
        return rank_of_target(scores, target, excluded, among), before(scores, own, 0)

    def compare(own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The score of each target in its chunk, how many are beaten, and of those counted how many are not."""

        def chunk(
            scores: tf.Tensor, first: tf.Tensor, found: tf.Tensor, beaten: tf.Tensor, ahead: tf.Tensor
        ) -> Any:
            last = tf.shape(scores, out_type=tf.int64)[1] - 1
            column = target - tf.cast(first, tf.int64)
            here = tf.gather(scores, tf.clip_by_value(column, 0, last), axis=1, batch_dims=1)
            found = tf.where((column >= 0) & (column <= last), here, found)
            return found, beaten + _beaten(scores, own), ahead + before(scores, own, first)

        return chunks.fold(chunk, (own, tf.zeros_like(target), tf.zeros_like(target)))

    def in_chunks() -> tuple[tf.Tensor, tf.Tensor]:
        scores = model.shared_scores(query, tf.maximum(target, 0))
        expected = tf.cast(tf.linalg.diag_part(scores), tf.float32)
        nothing = tf.zeros_like(target)
        _, _, beaten, ahead = tf.while_loop(
            lambda own, known, *_: tf.reduce_any(own != known),
            lambda own, known, *_: (known, *compare(known)),
            (tf.fill(tf.shape(expected), float("nan")), expected, nothing, nothing),
            maximum_iterations=2,
        )
        return _rank(size, target, beaten), ahead

    return tf.cond(chunks.several, in_chunks, whole)


def best(
    model: Any,
    query: Any,
    size: int,
    k: tf.Tensor,
    excluded: tf.Tensor,
    at_once: int = AT_ONCE,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The items with the highest scores; of equal ones those that come first in the catalogue.

    Args:
      model, query, size, at_once: see `full_rank`.
      k: int32 scalar, at most N.
      excluded: `[B, M]` int64 rows to leave out (negative: nothing).

    Returns:
      Scores `[B, k]` float32, best first, and int32 catalogue rows `[B, k]`. Where the score is minus
      infinity there was no item left, and the row has no meaning.
    """
    chunks = Chunks(model, query, size, excluded, at_once)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        return tuple(tf.math.top_k(leave_out(tf.cast(model.scores(query), tf.float32), excluded), k))

    def merge(scores: tf.Tensor, first: tf.Tensor, top: tf.Tensor, rows: tf.Tensor) -> Any:
        found, columns = tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))
        # Of equal scores top_k takes the first: the ones of earlier chunks.
        top, places = tf.math.top_k(tf.concat([top, found], axis=1), k)
        return top, tf.gather(tf.concat([rows, columns + first], axis=1), places, axis=1, batch_dims=1)

    def in_chunks() -> tuple[tf.Tensor, tf.Tensor]:
        shape = [_number(query), k]
        return chunks.fold(merge, (tf.fill(shape, _LOWEST), tf.zeros(shape, tf.int32)))

    return tf.cond(chunks.several, in_chunks, whole)


def candidates(
    size: int,
    target: tf.Tensor,
    excluded: tf.Tensor | None = None,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """How many items are ranked for each target: the catalogue, or its candidates, without what is left out.

    Args:
      size: N.
      target, excluded, among: as in `rank_of_target`; `excluded` without repeats.

    Returns:
      `[B]` int64.
    """
    count = tf.fill(tf.shape(target), tf.constant(size, tf.int64))
    if among is not None:
        count = among.sizes()
    if excluded is not None:
        excluded = excluded if among is None else among.only(excluded)
        count -= tf.math.count_nonzero(excluded >= 0, axis=1)
    return count


def popularity_rank(
    size: int,
    target: tf.Tensor,
    excluded: tf.Tensor | None = None,
    among: among_lib.Among | None = None,
) -> tf.Tensor:
    """The target's rank in a list of all items, without those left out.

    Args:
      size: N.
      target, excluded, among: as in `rank_of_target`, but places in the list; `excluded` without repeats. Catalogue
        rows are places by training count.

    Returns:
      `[B]` int64.
    """
    target = _ranked(target, excluded, among)
    before = target + 1 if among is None else among.places(target)
    if excluded is not None:
        excluded = excluded if among is None else among.only(excluded)
        ahead = (excluded >= 0) & (excluded < target[:, tf.newaxis])
        before -= tf.math.count_nonzero(ahead, axis=1)
    return tf.where(target >= 0, before, tf.constant(ranks.miss(size), tf.int64))


def own_ranks(
    size: int, target: tf.Tensor, history: tf.Tensor, among: among_lib.Among | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The target's rank in lists that begin with the items of the user's own history.

    The first list has those that are there most often first (equally often: the one that came last), the second
    the ones that came last. Both go on with all other items, by training count. There are no ties.

    Args:
      size: N.
      target: `[B]` int64 catalogue row, negative where the target is not in the catalogue.
      history: `[B, L]` int64 catalogue rows, oldest first; negative ones say nothing.
      among: see `rank_of_target`.

    Returns:
      Two ranks `[B]` int64.
    """
    place = target + 1
    if among is not None:
        target, history = among.only(target), among.only(history)
        place = among.places(target)
    order = tf.argsort(history, axis=1, stable=True)
    rows = tf.gather(history, order, axis=1, batch_dims=1)
    # The last of neighbours that are equal has the item's latest place in the history.
    latest = tf.concat([rows[:, 1:] != rows[:, :-1], tf.ones_like(rows[:, :1], tf.bool)], axis=1)
    item = latest & (rows >= 0)
    times = tf.searchsorted(rows, rows, side="right") - tf.searchsorted(rows, rows, side="left")
    own = item & (rows == target[:, tf.newaxis])
    own_times = tf.reduce_sum(tf.where(own, times, 0), axis=1, keepdims=True)
    own_place = tf.reduce_max(tf.where(own, order, -1), axis=1, keepdims=True)
    later = order > own_place
    oftener = (times > own_times) | ((times == own_times) & later)
    known = tf.reduce_any(own, axis=1)
    # All own items stand before the others, of which those of a lower row are more popular.
    other = place + tf.math.count_nonzero(item & (rows > target[:, tf.newaxis]), axis=1)

    def rank(ahead: tf.Tensor) -> tf.Tensor:
        found = tf.where(known, 1 + tf.math.count_nonzero(item & ahead, axis=1), other)
        return tf.where(target >= 0, found, tf.constant(ranks.miss(size), tf.int64))

    return rank(oftener), rank(later)
