"""Caser: personalized top-N sequential recommendation via convolutional sequence embedding (Tang and
Wang, WSDM 2018)."""

from typing import List

import tensorflow as tf

from schemas import names
from trainer import config
from trainer.layers import dropout
from trainer.models import base


class Caser(base.EmbeddingModel):
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
      settings: see `config.CaserSettings`.
      catalogue, seed: see `base.SequenceModel`.
    """

    def __init__(self, settings: config.CaserSettings, catalogue: base.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed, tied=settings.tied)
        self._filters: List[tf.Variable] = []
        self._biases: List[tf.Variable] = []
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

    def encode_positions(self, features: base.Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`."""
        index = features[names.ITEM_INDEX]
        # Embeddings of padding are zeros, as are those before the window.
        items = tf.pad(self._items(index), [[0, 0], [self.settings.markov - 1, 0], [0, 0]])
        convolved = self._horizontal(items)
        if self._vertical is not None:
            convolved.append(self._weighted_sums(items))
        hidden = self._dropout(tf.concat(convolved, axis=2), training=training)
        return self._dense(hidden)

    def _horizontal(self, items: tf.Tensor) -> List[tf.Tensor]:
        """`[B, M - 1 + L, D]` to the largest values of the filters of each height, `[B, L, n]`."""
        markov, values = self.settings.markov, []
        for height, (filters, bias) in enumerate(zip(self._filters, self._biases), start=1):
            at_places = tf.nn.conv1d(items, tf.cast(filters, items.dtype), stride=1, padding="VALID")
            places = markov - height + 1
            length = at_places.shape[1] - places + 1
            largest = at_places[:, :length]
            for place in range(1, places):
                largest = tf.maximum(largest, at_places[:, place : place + length])
            # ReLU rises: that of the largest value is the largest of the ReLUs.
            values.append(tf.nn.relu(largest + tf.cast(bias, items.dtype)))
        return values

    def _weighted_sums(self, items: tf.Tensor) -> tf.Tensor:
        """`[B, M - 1 + L, D]` to `[B, L, D * n]`."""
        length = items.shape[1] - self.settings.markov + 1
        frames = tf.stack([items[:, m : m + length] for m in range(self.settings.markov)], axis=3)
        sums = tf.matmul(frames, tf.cast(self._vertical, items.dtype))
        return tf.reshape(sums, [-1, length, self.settings.dim * self.settings.vertical])
