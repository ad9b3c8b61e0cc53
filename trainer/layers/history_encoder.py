"""A bidirectional encoder of histories, as BERT4Rec's, whose last state stands for the whole of one."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer.layers import attention, dropout, embedding, transformer


class HistoryEncoder(tf.keras.layers.Layer):
    """Positions, normalisation and dropout, and post-norm self-attention in which each event sees all others.

    BERT4Rec (CIKM 2019), sections 3.3 to 3.5, without its Cloze task and its output layer: nothing is appended,
    and the state of the last event is that of the history, as DSPnet has it (section 3.2).

    Args:
      length: L, the most places of a history.
      dim: D, a multiple of `heads`.
      blocks, heads: number of blocks, and of attention heads in each.
      inner: width of the point-wise layers.
      rate: dropout on inputs, attention weights and the point-wise layers.
      generator: of the dropout.
      masks: whether it has a vector for masked events; one that never has any has no use for it.
    """

    def __init__(
        self,
        length: int,
        dim: int,
        blocks: int,
        heads: int,
        inner: int,
        rate: float,
        generator: tf.random.Generator,
        masks: bool = False,
    ):
        super().__init__()
        self._mask = self._vectors("mask", [dim]) if masks else None
        self._positions = self._vectors("positions", [length, dim])
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._dropout = dropout.Dropout(rate, generator)
        self._blocks = [
            transformer.TransformerBlock(dim, heads, inner, "gelu", rate, generator, post_norm=True)
            for _ in range(blocks)
        ]

    def _vectors(self, name: str, shape: list[int]) -> tf.Variable:
        initial = tf.keras.initializers.RandomNormal(stddev=0.02)
        return self.add_weight(name=name, shape=shape, initializer=initial)

    @property
    def training_variables(self) -> list[tf.Variable]:
        """What training alone reads: the vector of masked events."""
        return [] if self._mask is None else [self._mask]

    def call(
        self,
        inputs: tf.Tensor,
        present: tf.Tensor,
        masked: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """The states of left-padded histories: `[B, W, D]`; `[:, -1]` are those of the histories.

        Args:
          inputs: the events' vectors, `[B, W, D]` with W of at most L.
          present: `[B, W]` bool, False for padding, whose vectors may be anything finite and change nothing.
          masked: which events are not looked at, `[B, W]` bool; they are there all the same. None: none.
          training: whether dropout is on.

        Raises:
          ValueError: if events are masked, and the encoder has no vector for them.
        """
        hidden = tf.cast(inputs, self.compute_dtype)
        if masked is not None:
            if self._mask is None:
                raise ValueError("masked events need an encoder with masks=True, found masks=False")
            hidden = tf.where(masked[:, :, tf.newaxis], tf.cast(self._mask, hidden.dtype), hidden)
        hidden = self._norm(hidden + embedding.last_positions(self._positions, hidden))
        hidden = self._dropout(hidden, training=training)
        bias = attention.key_bias(present, hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        return hidden
