"""Gated recurrent units over left-padded sequences."""

from collections.abc import Sequence

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2

# A longer sequence becomes a loop: a graph of so many copies of a step takes long to build.
UNROLLED = 128


class GRU(tf.keras.layers.Layer):
    """A GRU (Cho et al. 2014) that returns the state after each position.

    With x_t the input and h_t the state (H units):

        z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)
        r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)
        n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1}))
        h_t = h_{t-1} + z_t * (n_t - h_{t-1})

    The reset gate multiplies U_n h rather than h, as in CuDNN, so that a step is one matrix
    product for all gates; those of the inputs are one product for all positions. On a CPU
    the unrolled steps are a third faster than `tf.keras.layers.GRU`'s loop (`benchmarks.recurrent`).

    Args:
      units: H.
      width: of the inputs, where the variables are to be there before the first call.
    """

    def __init__(self, units: int, width: int | None = None):
        super().__init__()
        self._units = units
        self._project = tf.keras.layers.Dense(3 * units, name="inputs")
        if width is not None:
            self._project.build([None, width])
        self._recurrent = self.add_weight(
            name="recurrent", shape=[units, 3 * units], initializer=tf.keras.initializers.Orthogonal()
        )

    def call(self, inputs: tf.Tensor, present: tf.Tensor, unroll: bool = True) -> tf.Tensor:
        """The states after each position.

        Args:
          inputs: `[B, L, D]`.
          present: `[B, L]` bool; a position of padding leaves the state as it is, zero at first.
          unroll: a copy of the step for each position. XLA compiles a loop much faster.

        Returns:
          `[B, L, H]`.
        """
        batch, length = tf.shape(inputs)[0], inputs.shape[1]
        # The state is kept in float32: many small steps would be lost in bfloat16.
        update, reset, new = tf.split(tf.cast(self._project(inputs), tf.float32), 3, axis=2)
        # An update gate that is shut, exactly 0 in float32, costs nothing within the steps.
        update = tf.where(present[:, :, tf.newaxis], update, -1e9)
        gates = [tf.transpose(gate, [1, 0, 2]) for gate in (update, reset, new)]
        weights = tf.cast(self._recurrent, self.compute_dtype)
        state = tf.zeros([batch, self._units])
        if unroll and length is not None and length <= UNROLLED:
            steps = zip(*(tf.unstack(gate, num=length) for gate in gates))
            states = []
            for step in steps:
                state = self._step(state, step, weights)
                states.append(state)
            return tf.cast(tf.stack(states, axis=1), self.compute_dtype)
        return tf.cast(self._loop(state, gates, weights), self.compute_dtype)

    def _step(self, state: tf.Tensor, gates: Sequence[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
        """`[B, H]` to `[B, H]`."""
        recurrent = tf.matmul(tf.cast(state, weights.dtype), weights)
        # Split rather than sliced: the gradient of a slice fills a whole matrix with zeros.
        update, reset, new = tf.split(tf.cast(recurrent, tf.float32), 3, axis=1)
        candidate = tf.tanh(gates[2] + tf.sigmoid(gates[1] + reset) * new)
        return state + tf.sigmoid(gates[0] + update) * (candidate - state)

    def _loop(self, state: tf.Tensor, gates: list[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
        length = tf.shape(gates[0])[0]
        # Read rather than indexed: the gradient of an index, at each step, fills all steps with zeros.
        read = [tf.TensorArray(tf.float32, length).unstack(gate) for gate in gates]

        def body(t: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple:
            state = self._step(state, [gate.read(t) for gate in read], weights)
            return t + 1, state, states.write(t, state)

        states = tf.TensorArray(tf.float32, length, element_shape=state.shape)
        _, _, states = tf.while_loop(
            lambda t, *_: t < length,
            body,
            (tf.constant(0), state, states),
            maximum_iterations=gates[0].shape[0] or length,
        )
        return tf.transpose(states.stack(), [1, 0, 2])
