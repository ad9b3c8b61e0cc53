"""Caser: personalized top-N sequential recommendation via convolutional sequence embedding (Tang and
Wang, WSDM 2018)."""

from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import dropout
from trainer.models import ranking
from trainer.settings import caser as caser_settings


class Caser(ranking.EmbeddingModel):
    """Convolutions over the last `markov` items as over an image of their embeddings.

    At each position, of the embeddings E `[M, D]` of the last M events (zeros before the first):
    horizontal filters of each height h slide over the M - h + 1 places, and the largest value of
    each is kept; vertical filters are weighted sums of the M rows (section 3.2); a fully connected
    layer makes a vector of all of them (section 3.3).

    There is no user embedding P_u, which section 3.3 puts beside that vector: users whom training
    has not seen must be served, and TP (KDD 2020), which measures Caser on such users, scores a
    function of the items alone (its eq. (1)). Nor is there the bias b' of each item, so that a
    score is a dot product. As in the paper, the output has a table of its own, W', unless `tied`.

    All positions are computed in one pass: a filter's values at a place serve each of the M - h + 1
    windows that the place lies in.

    Args:
      settings: see `caser_settings.CaserSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    def __init__(self, settings: caser_settings.CaserSettings, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed, tied=settings.tied)
        self._filters: list[tf.Variable] = []
        self._biases: list[tf.Variable] = []
        for height in range(1, settings.heights + 1):
            shape = [height, settings.dim, settings.horizontal]
            self._filters.append(
                self.add_weight(name=f"horizontal_{height}", shape=shape, initializer="glorot_uniform")
            )
            self._biases.append(
                self.add_weight(name=f"bias_{height}", shape=[settings.horizontal], initializer="zeros")
            )
        self._vertical = None
        if settings.vertical:
            self._vertical = self.add_weight(
                name="vertical", shape=[settings.markov, settings.vertical], initializer="glorot_uniform"
            )
        self._dense = tf.keras.layers.Dense(settings.dim, activation=settings.activation)
        self._dropout = dropout.Dropout(settings.dropout, self.generator)

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`."""
        index = features[names.HISTORY_ITEM_INDEX]
        length = tf.shape(index)[1] if index.shape[1] is None else index.shape[1]
        # Embeddings of padding are zeros, as are those before the window.
        items = tf.pad(self._items(index), [[0, 0], [self.settings.markov - 1, 0], [0, 0]])
        convolved = self._horizontal(items, length)
        if self._vertical is not None:
            convolved += self._weighted_sums(items, length)
        hidden = self._dropout(tf.concat(convolved, axis=2), training=training)
        return self._dense(hidden)

    def _horizontal(self, items: tf.Tensor, length: Any) -> list[tf.Tensor]:
        """`[B, M - 1 + L, D]` to the largest values of the filters of each height, `[B, L, n]`.

        One matrix product applies all rows of all filters to all events; the convolutions are sums
        of what it makes.
        """
        number, dim = self.settings.horizontal, self.settings.dim
        rows = [tf.reshape(tf.transpose(filters, [1, 0, 2]), [dim, -1]) for filters in self._filters]
        rows = tf.cast(tf.concat(rows, axis=1), items.dtype)
        # As a matrix: the product of more dimensions with a matrix is slow, and TensorFlow 2.16's
        # (oneDNN) overwrites memory where one of them is 1.
        products = tf.matmul(tf.reshape(items, [-1, dim]), rows)
        products = tf.reshape(products, [-1, length + self.settings.markov - 1, rows.shape[1]])
        # Split rather than sliced: the gradient of a slice fills the whole tensor with zeros.
        of_row = iter(tf.split(products, rows.shape[1] // number, axis=2))
        values = []
        for height, bias in enumerate(self._biases, start=1):
            places = self.settings.markov - height + 1
            # The filter at place p of the frame of position t covers the events t + p to t + p + height - 1.
            steps = length + places - 1
            at_places = tf.add_n([next(of_row)[:, row : row + steps] for row in range(height)])
            largest = at_places[:, :length]
            for place in range(1, places):
                largest = tf.maximum(largest, at_places[:, place : place + length])
            # ReLU rises: that of the largest value is the largest of the ReLUs.
            values.append(tf.nn.relu(largest + tf.cast(bias, items.dtype)))
        return values

    def _weighted_sums(self, items: tf.Tensor, length: Any) -> list[tf.Tensor]:
        """`[B, M - 1 + L, D]` to the sums of each vertical filter, `[B, L, D]`."""
        markov, number = self.settings.markov, self.settings.vertical
        frames = tf.stack([items[:, m : m + length] for m in range(markov)])
        # Filters by events first: a product of two matrices, and nothing is transposed.
        sums = tf.matmul(
            tf.cast(self._vertical, items.dtype), tf.reshape(frames, [markov, -1]), transpose_a=True
        )
        return tf.unstack(tf.reshape(sums, [number, -1, length, self.settings.dim]))
