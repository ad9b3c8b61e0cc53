"""Hierarchical sequential transduction units (HSTU: Zhai et al., ICML 2024, section 3)."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import dropout

# Times apart are told by the logarithm of the seconds, in steps of this, as in the authors' code.
_STEP = 0.301
# Of the longest time that a 32-bit number of seconds says, 68 years: ln(2^31) / 0.301.
_BUCKETS = 72
_EPSILON = 1e-6


def seconds_apart(log_gaps: tf.Tensor) -> tf.Tensor:
    """Seconds from each event (axis 2) to each later one (axis 1), 0 where it is none; at most what 32 bits hold.

    Args:
      log_gaps: `log(1 + seconds since the event before)`, `[B, L]`, 0 where that is not known.

    Returns:
      `[B, L, L]` int32.
    """
    # Whole numbers, in which seconds beside years are not lost, and of 64 bits: beyond 68 years those of 32 begin anew,
    # and what is furthest away would be now.
    gaps = tf.cast(tf.round(tf.math.expm1(tf.cast(log_gaps, tf.float32))), tf.int64)
    since = tf.cumsum(gaps, axis=1)
    apart = since[:, :, tf.newaxis] - since[:, tf.newaxis, :]
    return tf.cast(tf.clip_by_value(apart, 0, tf.int32.max), tf.int32)


def time_buckets(apart: tf.Tensor) -> tf.Tensor:
    """In which step of the logarithm seconds are, `[...]` int32 to `[...]` int32 below the number of rows of a bias."""
    steps = tf.math.log(tf.cast(tf.maximum(apart, 1), tf.float32)) / _STEP
    return tf.minimum(tf.cast(steps, tf.int32), _BUCKETS - 1)


class RelativeBias(tf.keras.layers.Layer):
    """What two events' distance adds to the attention between them: rab of eq. (3), alike in all heads.

    Args:
      length: the longest history.
      timed: whether there is one for the time between them, beside that for the number of events.
    """

    def __init__(self, length: int, timed: bool):
        super().__init__()
        self._places = self._table("places", length)
        self._times = self._table("times", _BUCKETS) if timed else None

    def _table(self, name: str, size: int) -> tf.Variable:
        normal = tf.keras.initializers.RandomNormal(stddev=0.02)
        return self.add_weight(name=name, shape=[size], initializer=normal)

    def call(self, bucket: tf.Tensor) -> tf.Tensor:
        """`time_buckets` between events, `[B, L, L]`, to `[B or 1, L, L]`."""
        position = tf.range(tf.shape(bucket)[1])
        distance = tf.maximum(position[:, tf.newaxis] - position, 0)
        bias = tf.gather(tf.cast(self._places, self.compute_dtype), distance)[tf.newaxis]
        if self._times is None:
            return bias
        return bias + tf.gather(tf.cast(self._times, self.compute_dtype), bucket)


class HSTUBlock(tf.keras.layers.Layer):
    """A unit: projection, aggregation without a softmax, and a gate in place of a feed-forward layer.

        U, V, Q, K = silu(f_1(norm(x)))                    (1)
        A V = silu(Q K^T + rab) V / L                      (2)
        y = x + f_2(dropout(norm(A V) * U))                (3)

    Since weights do not add up to 1, how many events are like the query counts, too. L is the longest history, so that
    padding that is cut off changes nothing.

    Args:
      dim: D, a multiple of `heads`.
      heads: H.
      rate: of the dropout.
      generator: of the dropout.
      length: L.
      timed: see `RelativeBias`.
    """

    def __init__(
        self, dim: int, heads: int, rate: float, generator: tf.random.Generator, length: int, timed: bool
    ):
        super().__init__()
        self._heads, self._width, self._length = heads, dim // heads, length
        # As in the authors' code: without scales, offsets and biases of their own.
        self._norm = tf.keras.layers.LayerNormalization(epsilon=_EPSILON, center=False, scale=False)
        self._mixed_norm = tf.keras.layers.LayerNormalization(epsilon=_EPSILON, center=False, scale=False)
        normal = tf.keras.initializers.RandomNormal(stddev=0.02)
        self._project = tf.keras.layers.Dense(4 * dim, use_bias=False, kernel_initializer=normal)
        self._output = tf.keras.layers.Dense(dim)
        self._bias = RelativeBias(length, timed)
        self._dropout = dropout.Dropout(rate, generator)

    def call(
        self, inputs: tf.Tensor, seen: tf.Tensor, bucket: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """`[B, L, D]`, of `attention.causal` `[B, L, L]` and of `time_buckets` `[B, L, L]`, to `[B, L, D]`."""
        batch, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
        gate, value, query, key = tf.split(tf.nn.silu(self._project(self._norm(inputs))), 4, axis=-1)
        value, query, key = (self._of_heads(part) for part in (value, query, key))
        logits = tf.matmul(query, key, transpose_b=True) + self._bias(bucket)[:, tf.newaxis]
        weights = tf.nn.silu(logits) / self._length
        weights = tf.where(seen[:, tf.newaxis], weights, tf.zeros([], weights.dtype))
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        mixed = tf.reshape(mixed, [batch, length, self._heads * self._width])
        added = self._dropout(self._mixed_norm(mixed) * gate, training=training)
        return inputs + self._output(added)

    def _of_heads(self, values: tf.Tensor) -> tf.Tensor:
        """`[B, L, D]` to `[B, H, L, D / H]`."""
        shape = tf.shape(values)
        heads = tf.reshape(values, [shape[0], shape[1], self._heads, self._width])
        return tf.transpose(heads, [0, 2, 1, 3])
