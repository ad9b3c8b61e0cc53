"""A Transformer over buckets of events, one vector for all of them (BYB, sections 4.1 and 4.2)."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention, buckets, dropout, powers, transformer

# Rows of tables by powers of two: 1, 2, 4, ..., 2048 events and more; up to a year and more in seconds.
_POWERS, _GAPS = 12, 26


class BucketEncoder(tf.keras.layers.Layer):
    """Self-attention in which each bucket sees all others, and a vector in front that stands for the user.

    BYB has a Transformer encoder with positional encoding. A position is the age of a bucket, so that gaps in what a
    user does are seen. That the user's state is that of a vector of its own (as BERT's), and that blocks are post-norm,
    are guesses. How much a user does, which means do not tell, is an addition.

    Args:
      ages: how many ages have a position of their own; older buckets share the last one.
      dim: D, a multiple of `heads`.
      blocks, heads: number of blocks, and of attention heads in each.
      inner: width of the point-wise layers.
      rate: dropout on inputs, attention weights and the point-wise layers.
      generator: of the dropout.
      activity: whether the number of events of each bucket is told, and of the user the number of all and how long ago the
        last one was.
    """

    def __init__(
        self,
        ages: int,
        dim: int,
        blocks: int,
        heads: int,
        inner: int,
        rate: float,
        generator: tf.random.Generator,
        activity: bool = False,
    ):
        super().__init__()
        self._positions, self._user = (
            self.add_weight(
                name=name, shape=shape, initializer=tf.keras.initializers.RandomNormal(stddev=0.02)
            )
            for name, shape in (("ages", [ages, dim]), ("user", [dim]))
        )
        self._activity = None
        if activity:
            self._activity = [
                self.add_weight(
                    name=name, shape=[rows, dim], initializer=tf.keras.initializers.RandomNormal(stddev=0.02)
                )
                for name, rows in (("sizes", _POWERS), ("events", _POWERS), ("gaps", _GAPS))
            ]
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._dropout = dropout.Dropout(rate, generator)
        self._blocks = [
            transformer.TransformerBlock(dim, heads, inner, "gelu", rate, generator, post_norm=True)
            for _ in range(blocks)
        ]

    def call(
        self, pooled: tf.Tensor, found: buckets.Buckets, seconds: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """The state of the user, `[B, D]`.

        Args:
          pooled: vectors of the buckets, `[B, K, D]`, in any order; those of a bucket that is not there may be anything
            finite and change nothing.
          found: the buckets.
          seconds: from the last event to the moment, `[B]`; of a user without events, anything.
          training: whether dropout is on.
        """
        hidden, bias = self._placed(pooled, found, seconds, training)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        return hidden[:, 0]

    def attention(self, pooled: tf.Tensor, found: buckets.Buckets, seconds: tf.Tensor) -> tf.Tensor:
        """How much the user's vector attends to each bucket, the mean over blocks and heads: `[B, K]`; see `call`."""
        hidden, bias = self._placed(pooled, found, seconds)
        weights = []
        for block in self._blocks:
            weights.append(tf.reduce_mean(block.attention_of(hidden, bias)[:, :, 0, 1:], axis=1))
            hidden = block(hidden, bias)
        return tf.add_n(weights) / len(weights)

    def _placed(
        self, pooled: tf.Tensor, found: buckets.Buckets, seconds: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the blocks read, `[B, 1 + K, D]`, the user's vector first, and the bias of their attention."""
        pooled = tf.cast(pooled, self.compute_dtype)
        oldest = self._positions.shape[0] - 1
        placed = pooled + tf.cast(tf.gather(self._positions, tf.minimum(found.age, oldest)), pooled.dtype)
        user = tf.broadcast_to(tf.cast(self._user, pooled.dtype), tf.shape(placed[:, :1]))
        if self._activity is not None:
            sizes, events, gaps = self._activity
            placed += tf.cast(tf.gather(sizes, powers.of_two(found.number, _POWERS)), pooled.dtype)
            of_user = tf.gather(events, powers.of_two(tf.reduce_sum(found.number, axis=1), _POWERS))
            of_user += tf.gather(gaps, powers.of_two(seconds, _GAPS))
            user += tf.cast(of_user, pooled.dtype)[:, tf.newaxis]
        hidden = self._dropout(self._norm(tf.concat([user, placed], axis=1)), training=training)
        there = tf.pad(found.present, [[0, 0], [1, 0]], constant_values=True)
        return hidden, attention.key_bias(there, hidden.dtype)
