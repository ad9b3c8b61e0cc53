"""Full-ranking evaluation within training: every target against the whole catalogue."""

import logging
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from schemas import names, ranks
from serving import catalogue, sets
from trainer import input as input_lib

_PROGRESS = logging.getLogger("footfall.progress")
# From this share of targets on that no ranking holds, one is told.
_MANY_SEEN = 0.01
_PERIOD = "period_"
# What `_sum` adds up.
_SUMS = ("hits", "gains", "windows", "seen", "period_gains", "periods")


class FullRanking:
    """HR@K and NDCG@K of a model over windows.

    Args:
      model: a `SequenceModel`.
      windows: blocks of `input.read` with `input.evaluation_features`.
      exclude_seen: leave the items that the user has seen out of the ranking; a target among them is a miss.
      cutoff: K.
      batch_size: windows at a time; scores are made in chunks of the catalogue, see `serving.catalogue`.
      period: whether windows have FUTURE_ITEM_INDEX, all items of a period: how these are ranked is measured, too
        (`schemas.ranks.set_values`). All unknown ones of a window count as one.
      stop_by_period: whether that is the objective, since it is what the model learns.
    """

    def __init__(
        self,
        model: Any,
        windows: tf.data.Dataset,
        exclude_seen: bool,
        cutoff: int = 10,
        batch_size: int = 256,
        period: bool = False,
        stop_by_period: bool = False,
    ):
        self._model, self._exclude_seen, self._cutoff, self._period = model, exclude_seen, cutoff, period
        # What early stopping goes by, the larger the better.
        self.objective = f"{_PERIOD if stop_by_period else ''}ndcg@{cutoff}"
        batches = windows.unbatch().batch(batch_size)
        # Dense rows of catalogue rows to leave out; -1 is nothing.
        batches = batches.map(self._prepare, num_parallel_calls=tf.data.AUTOTUNE).cache().prefetch(2)
        self._batches = input_lib.in_order(batches)
        # Called for one batch after the other: a graph that reads the dataset sets its pipeline up
        # anew at each evaluation, which took longer than to rank some thousand windows.
        self._sums = tf.function(self._sum, input_signature=[self._batches.element_spec], autograph=False)
        self._told = False

    def _prepare(self, batch: dict[str, Any]) -> dict[str, tf.Tensor]:
        batch = dict(batch)
        batch[names.SEEN_ITEM_INDEX] = catalogue.seen_rows(batch)
        if self._period:
            index = tf.pad(tf.sparse.to_dense(batch[names.FUTURE_ITEM_INDEX]), [[0, 0], [0, 1]])
            padding = tf.constant(names.PADDING_INDEX, index.dtype)
            batch[names.FUTURE_ITEM_INDEX] = tf.where(sets.is_first(index), index, padding)
        return batch

    def queries(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Queries `[B, D]` of the windows, and the catalogue rows `[B, E]` that are left out for each; negative: none."""

        @tf.function(autograph=False, reduce_retracing=True)
        def query(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            excluded = batch[names.SEEN_ITEM_INDEX]
            return catalogue.query(self._model, batch), excluded if self._exclude_seen else excluded[:, :0]

        return map(query, self._batches)

    def _sum(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """What `_SUMS` names, of a batch, float32."""
        query, target = catalogue.query(self._model, batch), catalogue.target_rows(batch)
        excluded = batch[names.SEEN_ITEM_INDEX] if self._exclude_seen else None
        size = self._model.catalogue.size
        rank = tf.cast(catalogue.full_rank(self._model, query, size, target, excluded), tf.float32)
        hit, gain = self._gains(rank)
        seen = catalogue.is_left_out(target, batch[names.SEEN_ITEM_INDEX])
        counted = [hit, gain, tf.ones_like(rank), tf.cast(seen, tf.float32)]
        if self._period:
            counted += self._of_periods(query, batch[names.FUTURE_ITEM_INDEX], excluded)
        else:
            counted += 2 * [tf.zeros_like(rank)]
        return tf.stack([tf.reduce_sum(part) for part in counted])

    def _gains(self, rank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of float32 ranks, which are hits, and their discounted gain. As `schemas.ranks.values`, in the graph."""
        hit = tf.cast(ranks.hit(rank, self._cutoff, float(self._model.catalogue.size)), tf.float32)
        return hit, hit * tf.math.log(2.0) / tf.math.log(1.0 + rank)

    def _of_periods(self, query: Any, index: tf.Tensor, excluded: tf.Tensor | None) -> list[tf.Tensor]:
        """NDCG@K of the items of each period `[B]`, and which periods have any. As `schemas.ranks.set_values`, in the graph.

        Args:
          query: of the windows.
          index: `[B, M]`, the items that follow, each once; PADDING_INDEX where there is none.
          excluded: rows to leave out of the ranking.
        """
        there = tf.cast(index != names.PADDING_INDEX, tf.float32)
        targets = tf.maximum(index - names.FIRST_INDEX, -1)
        found = sets.full_ranks(self._model, query, self._model.catalogue.size, targets, excluded)
        _, gain = self._gains(tf.cast(found, tf.float32))
        # The best that so many items could be: they have the first ranks.
        best = tf.cumsum(self._gains(tf.range(1.0, self._cutoff + 1.0))[1])
        number = tf.cast(tf.reduce_sum(there, axis=1), tf.int32)
        ideal = tf.gather(tf.pad(best, [[1, 0]]), tf.minimum(number, self._cutoff))
        return [
            tf.math.divide_no_nan(tf.reduce_sum(gain * there, axis=1), ideal),
            tf.cast(number > 0, tf.float32),
        ]

    def evaluate(self) -> dict[str, float]:
        """`hr@K`, `ndcg@K` and the number of `windows`; of periods `period_ndcg@K`, too."""
        sums = tf.zeros([len(_SUMS)])
        for batch in self._batches:
            sums += self._sums(batch)
        found = dict(zip(_SUMS, sums.numpy().tolist()))
        count = found["windows"]
        if self._exclude_seen and not self._told and found["seen"] > _MANY_SEEN * count:
            _PROGRESS.warning(
                "%.1f %% of the targets of eval are items that the user has seen, which are never recommended: "
                "if users come back to items, set evaluation.exclude_seen: false",
                100 * found["seen"] / count,
            )
        self._told = True
        measured = {
            f"hr@{self._cutoff}": found["hits"] / max(1.0, count),
            f"ndcg@{self._cutoff}": found["gains"] / max(1.0, count),
        }
        if self._period:
            measured[f"{_PERIOD}ndcg@{self._cutoff}"] = found["period_gains"] / max(1.0, found["periods"])
        return {**measured, "windows": int(count)}
