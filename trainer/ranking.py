"""Full-ranking evaluation within training: every target against the whole catalogue."""

from typing import Any, Dict

import tensorflow as tf

from schemas import names
from serving import ranking
from trainer import input as input_lib


class FullRanking:
    """HR@K and NDCG@K of a model over windows.

    Args:
      model: a `SequenceModel`.
      windows: blocks of `input.read` with `input.evaluation_features`.
      exclude_seen: leave the items that the user has seen out of the ranking.
      cutoff: K.
      batch_size: windows at a time; scores are made in chunks of the catalogue, see `serving.ranking`.
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
        self._sums = tf.function(self._sum_batches)

    def _prepare(self, batch: Dict[str, Any]) -> Dict[str, tf.Tensor]:
        batch = dict(batch)
        batch[names.SEEN_ITEM_INDEX] = tf.sparse.to_dense(batch[names.SEEN_ITEM_INDEX]) - names.FIRST_INDEX
        return batch

    @tf.autograph.experimental.do_not_convert
    def ranks(self, batch: Dict[str, tf.Tensor]) -> tf.Tensor:
        """The targets' ranks `[B]`; see `serving.ranking`."""
        embedding = self._model.encode(batch, training=False)
        target = tf.maximum(batch[names.TARGET_ITEM_INDEX] - names.FIRST_INDEX, -1)
        excluded = batch[names.SEEN_ITEM_INDEX] if self._exclude_seen else None
        return ranking.full_rank(self._model, embedding, self._model.catalogue.size, target, excluded)

    def _sum_batches(self) -> tf.Tensor:
        sums = tf.zeros([3])
        for batch in self._batches:
            rank = tf.cast(self.ranks(batch), tf.float32)
            hit = tf.cast(rank <= self._cutoff, tf.float32)
            gain = hit * tf.math.log(2.0) / tf.math.log(1.0 + rank)
            sums += tf.stack([tf.reduce_sum(hit), tf.reduce_sum(gain), tf.cast(tf.size(rank), tf.float32)])
        return sums

    def evaluate(self) -> Dict[str, float]:
        """`hr@K`, `ndcg@K` and the number of `windows`."""
        hits, gains, count = self._sums().numpy().tolist()
        return {
            f"hr@{self._cutoff}": hits / max(1.0, count),
            f"ndcg@{self._cutoff}": gains / max(1.0, count),
            "windows": int(count),
        }
