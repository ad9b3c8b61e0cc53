"""Plain training on rows: examples of one size, in any order."""

from typing import Any

import numpy as np
import tensorflow as tf

from trainer import input as input_lib
from trainer.loops import loop


class RowFit(loop.Loop):
    """One optimiser step on each batch of `batch_size` rows, drawn anew each epoch; see `loop.Loop`."""

    def _prepare(self) -> None:
        self._rows = input_lib.Rows(input_lib.columns(self._train))

    def run(self) -> dict[str, Any]:
        """See `loop.Loop.run`."""
        self.settle()
        return super().run()

    def settle(self) -> None:
        """Computes once what no step moves (`LabelModel.settled`); the model has the weights that it starts from."""
        model = self.model
        if model.settled(self._rows.gather(tf.range(1))) is not None:
            settle = tf.function(model.settled, reduce_retracing=True, autograph=False)
            labels = model.loss_inputs_read
            self._rows = self._rows.mapped(
                lambda rows: {**settle(rows), **{name: rows[name] for name in labels}}
            )
            self.evaluation.settle(settle)

    def _epoch_steps(self) -> int:
        return -(-self._rows.count // self._settings.batch_size)

    def _order(self, epoch: int) -> tuple[np.ndarray, ...]:
        settings = self._settings
        return (input_lib.shuffled(self._rows.count, settings.batch_size, settings.seed, epoch),)

    def _shares(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        return input_lib.exposure_batches(self._rows, steps, self._replicas.count)

    def _descent(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        places = tf.cast(tf.size(batch[self.model.loss_inputs_read[0]]), tf.float32)
        sums, found = self._compiled(self._differentiate)(batch, places)
        return sums, self._directed(sums, found, places)
