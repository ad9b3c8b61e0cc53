"""Dropout whose randomness is part of the checkpoint."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

_LEVELS = 256


class Dropout(tf.keras.layers.Layer):
    """Inverted dropout with eight random bits an element.

    A quarter of the random numbers of `tf.nn.dropout` are drawn, which shows on a CPU; the
    rate is rounded to a multiple of 1/256 and the kept values are scaled by just that, so
    the expectation is exact. The generator's state is a variable: a resumed run draws what
    the interrupted one would have drawn.

    Args:
      rate: share of the elements that become 0.
      generator: shared by the layers of a model.
    """

    def __init__(self, rate: float, generator: tf.random.Generator):
        super().__init__()
        # All cannot be dropped: what is kept is scaled by one over its share.
        self._dropped = min(round(rate * _LEVELS), _LEVELS - 1)
        self._generator = generator

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[...]` to `[...]`; the identity unless `training`."""
        if not training or not self._dropped:
            return inputs
        size = tf.size(inputs)
        words = self._generator.uniform_full_int([(size + 3) // 4], dtype=tf.uint32)
        bits = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        scale = tf.constant(_LEVELS / (_LEVELS - self._dropped), inputs.dtype)
        kept = tf.cast(bits >= tf.constant(self._dropped, tf.uint8), inputs.dtype) * scale
        return inputs * tf.reshape(kept, tf.shape(inputs))
