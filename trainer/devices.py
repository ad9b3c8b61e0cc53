"""What a process trains on. A module of its own, since TFX loads those of its user functions anew each time."""

import functools

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """All devices; the same for all trainings of a process.

    TensorFlow takes the all-reduces of a second strategy for those of the first, and refuses them where
    shapes differ, as between the points of a search or a sweep.
    """
    return tf.distribute.MirroredStrategy()
