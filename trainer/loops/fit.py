"""Plain training on windows of events."""

from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer import bucketing
from trainer import input as input_lib
from trainer.loops import gradients, loop


class Fit(loop.Loop):
    """One optimiser step on each batch of `batch_size` windows; see `loop.Loop`.

    Windows of about the same length share a batch, which is no wider than they need (see
    `bucketing`). A step follows the mean loss over the targets of its batch. A target of a batch of
    short windows would so weigh more than one among long ones; where widths differ, the gradient is
    therefore multiplied by the targets of the batch's windows over those of all windows, as far as they are
    known before they are drawn (`SequenceModel.expected_targets`): over an epoch, all targets weigh the same,
    as they do in batches that are drawn from all windows.
    """

    def _prepare(self) -> None:
        self._columns = input_lib.columns(self._train)
        self._check_targets(self._columns)
        index = self._columns[names.HISTORY_ITEM_INDEX].numpy()
        real, length = bucketing.lengths(index), index.shape[1]
        needed = bucketing.needed_places(real, length, self.model.padding_needed)
        self._widths = bucketing.widths(needed, length, self._settings.length_buckets)
        self._grouped = bucketing.LengthBatches(needed, self._widths, self._settings.batch_size)
        expected = self.model.expected_targets(tf.constant(real, tf.float32))
        self._mean_targets = max(1.0, float(tf.reduce_mean(expected)))

    def _epoch_steps(self) -> int:
        return self._grouped.batches

    def _order(self, epoch: int) -> tuple[np.ndarray, ...]:
        return self._grouped.order(self._settings.seed, epoch)

    def _shares(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        return input_lib.training_batches(
            self._columns,
            steps,
            self._widths,
            shares=self._replicas.count,
            # XLA compiles for each shape, and a gather fails where it changes (see `contrast.of_all_replicas`), so all
            # batches of a width have one.
            fill=self._settings.xla or self._meets_replicas,
        )

    def _descent(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        several = len(self._widths) > 1
        factor = self._relative_targets(batch[names.HISTORY_ITEM_INDEX]) if several else None
        places = tf.cast(tf.size(batch[names.HISTORY_ITEM_INDEX]), tf.float32)
        compute = self._compiled(self._differentiate)
        if several and self.model.graph_per_width:
            branches = [
                lambda width=width: compute(self._of_width(batch, width), places) for width in self._widths
            ]
            width = tf.shape(batch[names.HISTORY_ITEM_INDEX])[1:]
            sums, found = tf.switch_case(tf.searchsorted(self._widths, width)[0], branches)
        else:
            sums, found = compute(batch, places)
        return sums, self._directed(sums, found, places, factor)

    def _of_width(self, batch: dict[str, tf.Tensor], width: int) -> dict[str, tf.Tensor]:
        """The same, with its width known to the graph."""
        shaped = {
            name: tf.ensure_shape(batch[name], [None, width, *batch[name].shape[2:]])
            for name in input_lib.per_place(self._columns)
        }
        return {**batch, **shaped}

    def _relative_targets(self, index: tf.Tensor) -> tf.Tensor:
        """The targets to expect of a window of all replicas' shares, over those of any window."""
        lengths = tf.reduce_sum(tf.cast(index != names.PADDING_INDEX, tf.float32), axis=1)
        # A window that only fills a shape up is all padding.
        real = tf.cast(lengths > 0, tf.float32)
        parts = [tf.reduce_sum(self.model.expected_targets(lengths) * real), tf.reduce_sum(real)]
        targets, windows = tf.unstack(gradients.sum_over_replicas(tf.stack(parts)))
        return tf.math.divide_no_nan(targets, windows) / self._mean_targets
