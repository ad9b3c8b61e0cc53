"""Where the rows of a catalogue stand in a list by how often recent training targets have them."""

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from serving import among as among_lib
from serving import catalogue, sets, values


class RecentPlaces(tf.Module):
    """A list of all rows by recent training count, equal ones by all of it.

    Args:
      transform_output: of TFX Transform.
      vocabulary: of recent targets, lines of `<number> <value>`.
      known: the values of the catalogue.
    """

    def __init__(self, transform_output: tft.TFTransformOutput, vocabulary: str, known: values.Values):
        super().__init__()
        self._size = size = known.size
        pairs = [line.split(b" ", 1) for line in transform_output.vocabulary_by_name(vocabulary)]
        rows = known.rows(tf.constant([value for _, value in pairs], tf.string)).numpy()
        counts = np.zeros(size, np.int64)
        # Of no recent target at all, the vocabulary holds a word that is no value.
        counts[rows[rows >= 0]] = np.array([int(count) for count, _ in pairs], np.int64)[rows >= 0]
        places = np.empty(size, np.int64)
        places[np.argsort(-counts, kind="stable")] = np.arange(size)
        # A variable, as a constant of the size of a catalogue would be read with every graph.
        self._place = tf.Variable(places, trainable=False)

    def of(self, rows: tf.Tensor) -> tf.Tensor:
        """The places of catalogue rows; -1 for negative ones."""
        return tf.where(rows >= 0, tf.gather(self._place, tf.maximum(rows, 0)), -1)

    def rank(
        self,
        target: tf.Tensor,
        excluded: tf.Tensor | None = None,
        among: among_lib.Among | None = None,
    ) -> tf.Tensor:
        """The ranks of targets `[B]` in the list `among` the candidates without the rows `[B, E]` left out, `[B]` int64."""
        return catalogue.popularity_rank(self._size, self.of(target), *self._places(excluded, among))

    def ranks(
        self,
        targets: tf.Tensor,
        excluded: tf.Tensor | None = None,
        among: among_lib.Among | None = None,
    ) -> tf.Tensor:
        """As `rank`, of each target of a set `[B, M]`."""
        return sets.popularity_ranks(self._size, self.of(targets), *self._places(excluded, among))

    def _places(
        self, excluded: tf.Tensor | None, among: among_lib.Among | None
    ) -> tuple[tf.Tensor | None, among_lib.Among | None]:
        """Both by places in the list."""
        left_out = None if excluded is None else self.of(excluded)
        return left_out, None if among is None else among.reordered(tf.math.invert_permutation(self._place))
