"""What the replicas of a training share besides gradients: batches, what the chief has measured, and places in a stream."""

from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer import input as input_lib


class Replicas:
    """The replicas of a strategy, on all workers.

    Args:
      strategy: `MirroredStrategy`, or one of several workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._told = tf.function(self._tell, reduce_retracing=True)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._strategy.num_replicas_in_sync)

    @property
    def workers(self) -> int:
        """How many processes train together."""
        return self.count // len(self._strategy.extended.worker_devices)

    def batches(self, shares: tf.data.Dataset) -> Any:
        """Batches of the steps, of a dataset with an element for each replica of all workers in turn.

        They are cut into shares before: what TensorFlow cuts may have windows of two batches.
        """
        if self.count == 1:
            return shares
        return self._strategy.distribute_datasets_from_function(
            lambda context: input_lib.of_worker(shares, context)
        )

    def of_chief(self, values: dict[str, float]) -> dict[str, float]:
        """What the chief has measured, on all workers: clocks differ, on some devices sums do, and all have to end together."""
        if self.workers == 1:
            return values
        found = self._told(tf.constant(list(values.values()), tf.float64))
        return dict(zip(values, found[0].numpy().tolist(), strict=True))

    def align(self, generator: tf.random.Generator) -> None:
        """Brings the generators of all replicas to the place of the one that has drawn most.

        Shares of a batch differ in what is drawn for them, and a checkpoint has one state for all. The place
        in the stream is all that they share: TensorFlow makes other numbers of it for each replica.
        """
        if self.count == 1:
            return
        states = self._strategy.experimental_local_results(generator.state)
        furthest = tf.reduce_max(tf.stack([state[0] for state in states]))
        if self.workers > 1:
            furthest = tf.reduce_max(self._told(furthest[tf.newaxis]))
        for state in states:
            state.assign(tf.concat([[furthest], state[1:]], axis=0))

    def _tell(self, own: tf.Tensor) -> tf.Tensor:
        """What each worker has, `[n]`, told to all: `[workers, n]`, the chief's first."""
        workers = self.workers
        of_each = self.count // workers

        def in_place() -> tf.Tensor:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            # Its first replica speaks for a worker.
            row = tf.where(number % of_each == 0, number // of_each, -1)
            mine = tf.range(workers)[:, tf.newaxis] == row
            return tf.where(mine, own[tf.newaxis], tf.zeros([workers, 1], own.dtype))

        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(in_place), axis=None)
