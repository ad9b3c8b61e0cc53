"""Events in their order and the moment behind them, each with the state of what came until then."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention, dropout, embedding, powers, recurrent, transformer

# Rows of a table by powers of two of seconds: up to a year and more.
_GAPS = 26


class EventEncoder(tf.keras.layers.Layer):
    """Causal self-attention (as SASRec's) or GRUs (as GRU4Rec's) over left-padded events and the moment behind them.

    Each event is told how long ago the one before it was, and the moment how long ago the last one, by powers of two.

    Args:
      kind: `causal` or `gru`.
      length: L, the most events.
      dim: D, a multiple of `heads`.
      blocks, heads: number of blocks, and of attention heads in each; of GRUs, of layers.
      inner: width of the point-wise layers of blocks.
      rate: dropout on inputs, attention weights and the point-wise layers, or on inputs and after each GRU.
      generator: of the dropout.
    """

    def __init__(
        self,
        kind: str,
        length: int,
        dim: int,
        blocks: int,
        heads: int,
        inner: int,
        rate: float,
        generator: tf.random.Generator,
    ):
        super().__init__()
        self._gaps, self._moment = self._vectors("gaps", [_GAPS, dim]), self._vectors("moment", [dim])
        self._dropout = dropout.Dropout(rate, generator)
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._positions, self._blocks, self._layers = None, [], []
        if kind == "gru":
            self._layers = [recurrent.GRU(dim) for _ in range(blocks)]
            return
        self._positions = self._vectors("positions", [length + 1, dim])
        self._blocks = [
            transformer.TransformerBlock(dim, heads, inner, "gelu", rate, generator) for _ in range(blocks)
        ]

    def _vectors(self, name: str, shape: list[int]) -> tf.Variable:
        initial = tf.keras.initializers.RandomNormal(stddev=0.02)
        return self.add_weight(name=name, shape=shape, initializer=initial)

    def call(
        self,
        events: tf.Tensor,
        present: tf.Tensor,
        seconds: tf.Tensor,
        since: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """The states after each event, and at the moment: `[B, W + 1, D]`; `[:, -1]` are those of the users.

        Args:
          events: their vectors, `[B, W, D]` with W of at most L, oldest first.
          present: `[B, W]` bool, False for padding, whose vectors may be anything finite and change nothing.
          seconds: how long before the moment each event was, `[B, W]`.
          since: how long before it the last one was, `[B]`.
          training: whether dropout is on.
        """
        there = tf.pad(present, [[0, 0], [1, 0]])[:, :-1] & present
        gaps = tf.where(there, tf.pad(seconds, [[0, 0], [1, 0]])[:, :-1] - seconds, 0.0)
        gaps = tf.concat([gaps, since[:, tf.newaxis]], axis=1)
        events = tf.cast(events, self.compute_dtype)
        moment = tf.broadcast_to(
            tf.cast(self._moment, events.dtype), [tf.shape(events)[0], 1, events.shape[-1]]
        )
        hidden = tf.concat([events, moment], axis=1)
        hidden += tf.cast(tf.gather(self._gaps, powers.of_two(gaps, _GAPS)), hidden.dtype)
        present = tf.pad(present, [[0, 0], [0, 1]], constant_values=True)
        if self._positions is not None:
            hidden += embedding.last_positions(self._positions, hidden)
        hidden = self._dropout(hidden, training=training)
        bias = attention.causal_bias(present, hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        for layer in self._layers:
            hidden = self._dropout(layer(hidden, present, unroll=False), training=training)
        return self._norm(hidden)
