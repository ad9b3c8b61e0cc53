"""What a behaviour is: the weighted sum of what its attributes are (BYB, section 4.1)."""

from collections.abc import Mapping

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import embedding


class BehaviorEncoder(tf.keras.layers.Layer):
    """Behaviours of any number of attributes as vectors: the embeddings of the attributes, added up by learned weights.

    BYB (Wu et al., 2025) has a weighted sum that starts uniform. That the weights are a softmax, so that they add up to 1,
    is a guess.

    Args:
      sizes: how many known values each attribute has, by the name of the vocabulary (of a number, by its own); their order
        is that of the inputs.
      dim: D.
      stddev: of the normal initial embeddings.
    """

    def __init__(self, sizes: Mapping[str, int], dim: int, stddev: float = 0.02):
        super().__init__()
        self._tables = [
            embedding.ItemEmbedding(size, dim, stddev, vocabulary) for vocabulary, size in sizes.items()
        ]
        self._weights_of = self.add_weight(name="weights", shape=[len(sizes)], initializer="zeros")

    @property
    def items(self) -> embedding.ItemEmbedding:
        """The table of the first attribute, which is the item."""
        return self._tables[0]

    @property
    def variables_in_order(self) -> list[tf.Variable]:
        """The tables and the weights, in an order that is the same for all encoders of these sizes."""
        return [*(one.table for one in self._tables), self._weights_of]

    def call(self, indices: list[tf.Tensor]) -> tf.Tensor:
        """Indices of each attribute, `[B, L]`, to `[B, L, D]`; padding becomes zero."""
        weights = tf.unstack(tf.cast(tf.nn.softmax(self._weights_of), self.compute_dtype))
        parts = zip(self._tables, indices, weights, strict=True)
        return tf.add_n([weight * table(index) for table, index, weight in parts])
