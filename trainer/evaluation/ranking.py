"""Full-ranking evaluation within training: every target against the whole catalogue."""

import logging
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from schemas import names, ranks
from serving import catalogue
from trainer import input as input_lib

_PROGRESS = logging.getLogger("footfall.progress")
# From this share of targets on that no ranking holds, one is told.
_MANY_SEEN = 0.01


class FullRanking:
    """HR@K and NDCG@K of a model over windows.

    Args:
      model: a `SequenceModel`.
      windows: blocks of `input.read` with `input.evaluation_features`.
      exclude_seen: leave the items that the user has seen out of the ranking; a target among them is a miss.
      cutoff: K.
      batch_size: windows at a time; scores are made in chunks of the catalogue, see `serving.catalogue`.
    """

    def __init__(
        self,
        model: Any,
        windows: tf.data.Dataset,
        exclude_seen: bool,
        cutoff: int = 10,
        batch_size: int = 256,
    ):
        self._model, self._exclude_seen, self._cutoff = model, exclude_seen, cutoff
        # What early stopping goes by, the larger the better.
        self.objective = f"ndcg@{cutoff}"
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
        return batch

    def ranks(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The targets' ranks `[B]`; see `serving.catalogue`."""
        query, target = catalogue.query(self._model, batch), catalogue.target_rows(batch)
        excluded = batch[names.SEEN_ITEM_INDEX] if self._exclude_seen else None
        return catalogue.full_rank(self._model, query, self._model.catalogue.size, target, excluded)

    def queries(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Queries `[B, D]` of the windows, and the catalogue rows `[B, E]` that are left out for each; negative: none."""

        @tf.function(autograph=False, reduce_retracing=True)
        def query(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            excluded = batch[names.SEEN_ITEM_INDEX]
            return catalogue.query(self._model, batch), excluded if self._exclude_seen else excluded[:, :0]

        return map(query, self._batches)

    def _sum(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Of a batch: hits, gains, windows, and targets that the user has seen, `[4]` float32."""
        rank = tf.cast(self.ranks(batch), tf.float32)
        hit = tf.cast(ranks.hit(rank, self._cutoff, float(self._model.catalogue.size)), tf.float32)
        # As `schemas.ranks.values`, of tensors: ranks stay in the graph.
        gain = hit * tf.math.log(2.0) / tf.math.log(1.0 + rank)
        seen = catalogue.is_left_out(catalogue.target_rows(batch), batch[names.SEEN_ITEM_INDEX])
        counted = (hit, gain, tf.ones_like(rank), tf.cast(seen, tf.float32))
        return tf.stack([tf.reduce_sum(part) for part in counted])

    def evaluate(self) -> dict[str, float]:
        """`hr@K`, `ndcg@K` and the number of `windows`."""
        sums = tf.zeros([4])
        for batch in self._batches:
            sums += self._sums(batch)
        hits, gains, count, seen = sums.numpy().tolist()
        if self._exclude_seen and not self._told and seen > _MANY_SEEN * count:
            _PROGRESS.warning(
                "%.1f %% of the targets of eval are items that the user has seen, which are never recommended: "
                "if users come back to items, set evaluation.exclude_seen: false",
                100 * seen / count,
            )
        self._told = True
        return {
            f"hr@{self._cutoff}": hits / max(1.0, count),
            f"ndcg@{self._cutoff}": gains / max(1.0, count),
            "windows": int(count),
        }
