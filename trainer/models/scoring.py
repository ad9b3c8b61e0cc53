"""How models score items: what the catalogue kernel (`serving.catalogue`) and the losses ask of them."""

import dataclasses
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import embedding

# What a model makes of a history to score items with; of several tensors, if it has to be, `[B, ...]` each.
Query = Any


class Scoring:
    """Scores of items for queries, in any way.

    A *query* is what a model makes of a history, and a *row* an item's place in the catalogue, from 0. In
    training the states of supervised positions are queries. A score means the same by all of these methods.
    """

    def scores(self, query: Query, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """The scores of `count` items from catalogue row `first` on: `[B, count]`; without `count` of all, `[B, N]`."""
        raise NotImplementedError

    def pair_scores(self, query: Query, rows: tf.Tensor) -> tf.Tensor:
        """The scores of each query's own rows, `[B]` or `[B, C]`: of the same shape."""
        raise NotImplementedError

    def shared_scores(self, query: Query, rows: tf.Tensor) -> tf.Tensor:
        """The scores of the same rows `[C]` for all queries: `[B, C]`, summed as in `scores` if that is possible."""
        number = tf.shape(tf.nest.flatten(query)[0])[0]
        return self.pair_scores(query, tf.repeat(rows[tf.newaxis], number, axis=0))

    def catalogue_losses(self, query: Query, rows: tf.Tensor) -> tf.Tensor:
        """The cross-entropy of the softmax over all items, for the rows `[B]` of the targets: `[B]` float32."""
        logits = tf.cast(self.scores(query), tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(rows, logits)


class DotProduct(Scoring):
    """Scores that are dot products of a query `[B, D]` with the items' vectors."""

    def item_table(self) -> tf.Tensor:
        """The vectors of the real items, `[N, D]`."""
        raise NotImplementedError

    def item_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """The vectors of catalogue rows `[...]`: `[..., D]`."""
        return tf.gather(self.item_table(), rows)

    def scores(self, query: tf.Tensor, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """See `Scoring.scores`."""
        table = self.item_table()
        if count is not None:
            table = tf.slice(table, [first, 0], [count, -1])
        return tf.matmul(query, tf.cast(table, query.dtype), transpose_b=True)

    def pair_scores(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `Scoring.pair_scores`."""
        vectors = tf.cast(self.item_vectors(rows), query.dtype)
        if rows.shape.rank == 1:
            return tf.reduce_sum(query * vectors, axis=-1)
        return tf.einsum("bd,bcd->bc", query, vectors)

    def shared_scores(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `Scoring.shared_scores`."""
        return tf.matmul(query, tf.cast(self.item_vectors(rows), query.dtype), transpose_b=True)

    def catalogue_losses(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `Scoring.catalogue_losses`; with its own gradient, see `softmax_losses`."""
        return softmax_losses(query, tf.cast(self.item_table(), query.dtype), rows)


@dataclasses.dataclass(frozen=True)
class Size:
    """A catalogue, as losses that draw uniformly want to know it.

    Attributes:
      size: N, the number of its rows.
    """

    size: int


class Rows(DotProduct):
    """Scores the rows of a table, for the losses of a model that has it beside what it ranks.

    Args:
      table: of the embeddings.
      generator: of draws.
    """

    def __init__(self, table: embedding.ItemEmbedding, generator: tf.random.Generator):
        self._table, self.generator = table, generator
        self.catalogue = Size(table.size)

    def item_table(self) -> tf.Tensor:
        """`[N, D]`."""
        return self._table.items()

    def item_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `DotProduct.item_vectors`; other rows are not touched."""
        return self._table.vectors(rows)

    def scores(self, query: tf.Tensor, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """See `Scoring.scores`."""
        return self._table.scores(query, first, count)


@tf.custom_gradient
def softmax_losses(states: tf.Tensor, table: tf.Tensor, labels: tf.Tensor) -> Any:
    """Cross-entropy of dot products with a table, with a third of the memory traffic of TensorFlow's own.

    `[T, N]` logits are the largest tensors of a training step. TensorFlow makes and reads
    several of their size; here only exp(logit - max) is kept, and both gradients are products
    with it: of the states sum_n p_n v_n - v_label, of the table the same seen from its rows.

    Args:
      states: `[T, D]`.
      table: `[N, D]` of the same type.
      labels: `[T]` int64 rows of the table.

    Returns:
      `[T]` float32.
    """
    logits = tf.cast(tf.matmul(states, table, transpose_b=True), tf.float32)
    top = tf.reduce_max(logits, axis=1, keepdims=True)
    own = tf.gather(logits, labels, axis=1, batch_dims=1)
    unscaled = tf.exp(logits - top)
    total = tf.reduce_sum(unscaled, axis=1)

    def gradient(upstream: tf.Tensor) -> Any:
        kept, share = tf.cast(unscaled, states.dtype), upstream / total
        if states.dtype == tf.float16:
            # The sum of a large catalogue's rows may be beyond float16, which no smaller loss scale would mend, and all of the
            # division before it beneath: the root of the total goes to either side.
            root = tf.math.rsqrt(total)
            kept, share = kept * tf.cast(root, states.dtype)[:, tf.newaxis], upstream * root
        share = tf.cast(share, states.dtype)[:, tf.newaxis]
        weight = tf.cast(upstream, states.dtype)[:, tf.newaxis]
        of_states = tf.matmul(kept, table) * share - tf.gather(table, labels) * weight
        of_table = tf.matmul(kept, states * share, transpose_a=True)
        # In half precision a sum of many small terms stands still.
        own_rows = tf.cast(states * weight, tf.float32)
        of_labels = tf.math.unsorted_segment_sum(own_rows, labels, tf.shape(table)[0])
        return of_states, of_table - tf.cast(of_labels, of_table.dtype), None

    return tf.math.log(total) + top[:, 0] - own, gradient
