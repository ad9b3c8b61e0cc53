"""Other views of a history that mean the same: some of its events masked, or reordered.

DSPnet, section 3.3, and ContraRec (Wang et al., TOIS 2023), whose share of masked events is Beta(3, 3). What is drawn is
places and a mask, not a sequence, so that the items and the scenes of a history can be given the same view or one each.
"""

from typing import NamedTuple

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# Uniform numbers a history besides one a place: five for the share, and one each for the kind, the size and the start.
_SHARE, _KIND, _SIZE, _START, _DRAWN = slice(0, 5), 5, 6, 7, 8


class View(NamedTuple):
    """How histories `[B, W]` are seen.

    Attributes:
      places: which place of the history stands at each, `[B, W]` int32; a permutation of each row.
      masked: which places of the view are masked, `[B, W]` bool.
    """

    places: tf.Tensor
    masked: tf.Tensor

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """The values `[B, W, ...]` of the histories in the order of the view."""
        return tf.gather(values, self.places, axis=1, batch_dims=1)


def draw(present: tf.Tensor, generator: tf.random.Generator) -> View:
    """A view of each history, by chance either masked or reordered.

    Masked: of n events, n times a share, rounded down, which are any of them; the share is drawn from Beta(3, 3). One
    event at least so stays, and of a history of one nothing is masked. Reordered: neighbouring events, a number from 2
    to n, beginning anywhere, are shuffled.

    Args:
      present: `[B, W]` bool, False for padding, which stands at the left and stays there.
      generator: of all that is drawn.
    """
    rows, width = tf.unstack(tf.shape(present))
    drawn = generator.uniform([rows, _DRAWN + width])
    chances = drawn[:, _DRAWN:]
    # Those of float32 are below 1, and so are shares.
    number = tf.reduce_sum(tf.cast(present, tf.float32), axis=1)
    reordered = drawn[:, _KIND, tf.newaxis] < 0.5
    unmoved = tf.broadcast_to(tf.range(width), [rows, width])
    places = tf.where(reordered, _shuffled(number, drawn, chances), unmoved)
    # The middle one of five uniform numbers is Beta(3, 3).
    share = tf.sort(drawn[:, _SHARE], axis=1)[:, 2]
    return View(places, _chosen(present, tf.floor(number * share), chances) & ~reordered)


def _chosen(present: tf.Tensor, number: tf.Tensor, chances: tf.Tensor) -> tf.Tensor:
    """`number` `[B]` of the events, any of them: `[B, W]` bool; less than there are."""
    keys = tf.where(present, chances, 2.0)
    bound = tf.gather(tf.sort(keys, axis=1), tf.cast(number, tf.int32), axis=1, batch_dims=1)
    return keys < bound[:, tf.newaxis]


def _shuffled(number: tf.Tensor, drawn: tf.Tensor, chances: tf.Tensor) -> tf.Tensor:
    """The places `[B, W]` of histories of `number` `[B]` events after neighbours of each were shuffled."""
    width = tf.shape(chances)[1]
    # Of one event, or none, there is nothing to shuffle; what is said of two then moves no event.
    size = tf.minimum(2.0 + tf.floor(drawn[:, _SIZE] * (number - 1.0)), number)
    before = tf.floor(drawn[:, _START] * (number - size + 1.0))
    first = (tf.cast(width, tf.float32) - number + before)[:, tf.newaxis]
    size = size[:, tf.newaxis]
    place = tf.cast(tf.range(width), tf.float32)[tf.newaxis]
    inside = (place >= first) & (place < first + size)
    # Halfway before their places, so that none is as far as what stands behind them.
    keys = tf.where(inside, first - 0.5 + chances * size, place)
    return tf.argsort(keys, axis=1)
