"""Embedding tables with the reserved ids of `schemas.names`."""

from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names


class Rows(tf.keras.initializers.RandomNormal):
    """Of a table: normal rows of values, and reserved rows of zeros.

    What nothing trains, as the row of unknown values where training has none, so stays at the mean of what is drawn, and says
    nothing. Others are trained from there as any row is.

    Args:
      stddev: of the rows of values.
    """

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        drawn = super().__call__(shape, dtype, **kwargs)
        return tf.concat([tf.zeros_like(drawn[: names.FIRST_INDEX]), drawn[names.FIRST_INDEX :]], axis=0)


class ItemEmbedding(tf.keras.layers.Layer):
    """The table of the items: looked up for inputs, and scored against (tied weights).

    Args:
      size: N, the number of real items.
      dim: D.
      stddev: of the initial values, see `Rows`.
      vocabulary: whose values the rows are.
    """

    def __init__(self, size: int, dim: int, stddev: float = 0.02, vocabulary: str = names.ITEM_VOCABULARY):
        super().__init__()
        self.size, self._vocabulary = size, vocabulary
        self.table = self.add_weight(
            name="table",
            shape=[size + names.FIRST_INDEX, dim],
            dtype=tf.float32,
            initializer=Rows(stddev=stddev),
        )

    @property
    def vocabulary_rows(self) -> tuple[tuple[tf.Variable, str], ...]:
        """The table, and the vocabulary that its rows are, see `trainer.warm_start`."""
        return ((self.table, self._vocabulary),)

    def call(self, index: tf.Tensor) -> tf.Tensor:
        """`[...]` int64 indices to `[..., D]`; padding becomes zero."""
        present = tf.cast(index != names.PADDING_INDEX, self.compute_dtype)
        return tf.cast(tf.gather(self.table, index), self.compute_dtype) * present[..., tf.newaxis]

    def items(self) -> tf.Tensor:
        """The rows of the real items, `[N, D]`."""
        return self.table[names.FIRST_INDEX :]

    def scores(self, embedding: tf.Tensor, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """Dot products `[B, D] -> [B, count]` with the items from catalogue row `first` on.

        Without `count` it is all of them, `[B, N]`; the reserved rows are cut off the (small) result.
        """
        if count is not None:
            # Gathered, not sliced: to read a variable that is ever gathered from is to copy all of it.
            vectors = tf.cast(self.vectors(tf.range(first, first + count)), embedding.dtype)
            return tf.matmul(embedding, vectors, transpose_b=True)
        table = tf.cast(self.table, embedding.dtype)
        return tf.matmul(embedding, table, transpose_b=True)[:, names.FIRST_INDEX :]

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """The vectors of catalogue rows `[...]` (0-based): `[..., D]`."""
        return tf.gather(self.table, rows + names.FIRST_INDEX)


def last_positions(table: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """The vectors of the positions of a sequence that may have lost padding at its left.

    Args:
      table: `[L, D]`, the last row for the last event.
      inputs: `[B, W, D]` with W of at most L.

    Returns:
      `[W, D]` of the type of `inputs`.

    Raises:
      ValueError: if it is known that W is more than L.
    """
    longest, width = table.shape[0], inputs.shape[1]
    if width is not None and width > longest:
        raise ValueError(f"sequences have at most {longest} positions, found {width}")
    width = tf.shape(inputs)[1] if width is None else width
    return tf.cast(table, inputs.dtype)[longest - width :]
