"""Numbers by the power of two that they reach."""

import math

import tensorflow as tf


def of_two(values: tf.Tensor, rows: int) -> tf.Tensor:
    """Of values of any shape the exponent of the largest power of two that is not above them: int32 of the same shape.

    At most `rows - 1`; 0 of values below 2.
    """
    power = tf.math.log(tf.maximum(tf.cast(values, tf.float32), 1.0)) / math.log(2.0)
    # A little more, so that rounding does not take a power of two for the one below.
    return tf.minimum(tf.cast(power + 1e-4, tf.int32), rows - 1)
