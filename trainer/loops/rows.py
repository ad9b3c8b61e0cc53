"""The training loop of models of exposures."""

from typing import Any

import tensorflow as tf

from trainer import input as input_lib
from trainer.loops import fit


class RowFit(fit.Loop):
    """One optimiser step on each batch of `batch_size` exposures, drawn anew each epoch; see `Loop`."""

    def _prepare(self) -> None:
        self._rows = input_lib.Rows(input_lib.columns(self._train))

    def _epoch_steps(self) -> int:
        return -(-self._rows.count // self._settings.batch_size)

    def _batches(self, epoch: int, done: int) -> Any:
        settings = self._settings
        batches = input_lib.exposure_batches(self._rows, settings.batch_size, settings.seed, epoch, done)
        if self._strategy.num_replicas_in_sync > 1:
            batches = self._strategy.experimental_distribute_dataset(batches)
        return batches

    def _one_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        first = batch[self.model.loss_inputs_read[0]]
        return self._descend(batch, tf.cast(tf.size(first), tf.float32))
