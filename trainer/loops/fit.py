"""The plain training loop, and what all loops share: epochs, early stopping, checkpoints, resumption."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer import bucketing, optimizers
from trainer import input as input_lib
from trainer.loops import checkpoints
from trainer.settings import training as training_settings

_PROGRESS = logging.getLogger("footfall.progress")
# Steps in one call of the compiled loop: long enough to hide the call, short enough to
# stop and to save in time.
_STEPS_PER_CALL = 64
# An epoch that takes long says so often how far it is.
_SAY_SECONDS = 15.0
# The epochs that say how long the next one will be: the first has the graph's making in it.
_EPOCHS_ASKED = 3


class _Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear growth over `warmup` steps; then constant, or half a cosine that ends at 0 in step `steps`."""

    def __init__(self, rate: float, warmup: int, steps: int | None):
        self._rate, self._warmup, self._steps = rate, warmup, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        grown = tf.minimum(1.0, (step + 1.0) / max(1, self._warmup))
        if self._steps is None:
            return self._rate * grown
        done = tf.clip_by_value((step - self._warmup) / max(1, self._steps - self._warmup), 0.0, 1.0)
        return self._rate * grown * (1.0 + tf.cos(math.pi * done)) / 2.0

    def get_config(self) -> dict[str, Any]:
        return {"rate": self._rate, "warmup": self._warmup, "steps": self._steps}


def build_optimizer(
    settings: training_settings.TrainingSettings, steps: int
) -> tf.keras.optimizers.Optimizer:
    """Adam, or AdamW where there is weight decay; with loss scaling for float16.

    Args:
      settings: of the training.
      steps: how many it has if nothing stops it before.
    """
    rate: Any = settings.learning_rate
    falls = settings.schedule == "cosine"
    if settings.warmup_steps or falls:
        rate = _Schedule(settings.learning_rate, settings.warmup_steps, steps if falls else None)
    optimizer: Any = optimizers.Adam(
        learning_rate=rate,
        weight_decay=settings.weight_decay or None,
        global_clipnorm=settings.clip_norm,
        jit_compile=False,
    )
    if tf.keras.mixed_precision.global_policy().compute_dtype == "float16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def times(gradient: Any, factor: Any) -> Any:
    """A gradient, dense or sparse, times a scalar."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


def sum_over_replicas(values: Any) -> Any:
    """The sum over replicas of a tensor, or of each of a list of gradients; in a replica context.

    Sparse gradients become dense where there are several replicas: TensorFlow's gather fails
    ("Shape mismatch in the collective instance") as soon as two steps of one call have different
    numbers of slices, as a smaller last batch has. Adam moves all rows in any case.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.nest.map_structure(tf.convert_to_tensor, values))


def duration(seconds: float) -> str:
    """`45 s`, `2 min 05 s` or `1 h 05 min`."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class TrainingError(RuntimeError):
    """Training cannot go on; nothing is exported."""


class Loop:
    """Trains a model until `eval` stops improving, and leaves it with its best weights.

    Every random draw comes from checkpointed state and every order from the seed, so a run
    that is killed and started again ends with the weights of one that was not.

    A subclass says what a step does (`_one_step`) and on what (`_batches`); what else it has to
    keep is made in `_prepare` and named in `_kept`.

    Args:
      build: makes the model, with its `training_loss`; called in the strategy's scope.
      settings: of the training.
      strategy: `MirroredStrategy`, for any number of devices.
      train: blocks of `input.read` with `input.training_features`.
      evaluate: makes the evaluation of the model: what has `evaluate()`, metrics by name, and
        `objective`, the name of that which is to become large, as `ranking.FullRanking`.
      checkpoint_dir: a folder that a second run of the same training finds again.
      log_dir: of TensorBoard; None writes none.
    """

    # What a step adds up, each a scalar; the first two are the loss and the number of targets.
    sums: tuple[str, ...] = ("loss", "targets")

    def __init__(
        self,
        build: Callable[[], Any],
        settings: training_settings.TrainingSettings,
        strategy: tf.distribute.Strategy,
        train: tf.data.Dataset,
        evaluate: Callable[[Any], Any],
        checkpoint_dir: str,
        log_dir: str | None = None,
    ):
        self._settings, self._strategy, self._train = settings, strategy, train
        with strategy.scope():
            tf.keras.utils.set_random_seed(settings.seed)
            self.model = build()
            self.model.static_shapes = settings.xla
            self._make_variables()
            self._prepare()
            self._optimizer = self._new_optimizer(self.model.trainable_variables)
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._step = tf.Variable(0, dtype=tf.int64)
        # The history is part of the checkpoint, so that both are always of the same moment.
        self._state = tf.Variable("[]", dtype=tf.string)
        self._running = tf.Variable(tf.zeros([len(self.sums)]))
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._history: list[dict[str, Any]] = []
        self.evaluation = evaluate(self.model)
        self._checkpoint = tf.train.Checkpoint(
            model=self.model,
            optimizer=self._optimizer,
            epoch=self._epoch,
            step=self._step,
            state=self._state,
            running=self._running,
            seconds=self._seconds,
            **self._kept(),
        )
        self._folder = checkpoint_dir
        self._manager = checkpoints.manager(self._checkpoint, checkpoint_dir)
        self._best = tf.train.Checkpoint(model=self.model)
        self._best_prefix = os.path.join(checkpoint_dir, "best")
        self._writer = tf.summary.create_file_writer(log_dir) if log_dir else None
        self._steps = tf.function(self._run_steps)
        # AutoGraph rewrites the source of all that it gets to, which takes longer than tracing it.
        self._traced_step = tf.autograph.experimental.do_not_convert(self._one_step)
        self._resumed: int | None = None

    def _make_variables(self) -> None:
        """Makes the model's variables, by one call in the strategy's scope."""
        self.model(self._nothing(), training=False)

    def _nothing(self) -> dict[str, tf.Tensor]:
        """A batch of one window that is all padding."""
        specs = self._train.element_spec.items()
        return {name: tf.zeros([1, *spec.shape[1:]], spec.dtype) for name, spec in specs}

    def _new_optimizer(self, variables: list[tf.Variable]) -> tf.keras.optimizers.Optimizer:
        """An optimiser of these variables, after `_prepare` or as its last step."""
        optimizer = build_optimizer(self._settings, self._settings.epochs * self._epoch_steps())
        optimizer.build(variables)
        return optimizer

    def _prepare(self) -> None:
        """Makes what a step needs besides the model and its optimiser; in the strategy's scope."""

    def _epoch_steps(self) -> int:
        """How many steps an epoch has."""
        raise NotImplementedError

    def _kept(self) -> dict[str, Any]:
        """What of that belongs in a checkpoint, by name."""
        return {}

    def _batches(self, epoch: int, done: int) -> Any:
        """What the steps of an epoch are given, in an order that the seed and the epoch alone decide.

        Args:
          epoch: from 0.
          done: how many steps of it to leave out, since they have been taken.

        Returns:
          A dataset of the other steps' batches, distributed if there are several replicas. One replica takes
          the batches themselves: to let go of a distributed iterator lasts up to a second and a half, as long
          as a short epoch.
        """
        raise NotImplementedError

    def _one_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Trains on one replica's share of a batch, in its replica context.

        Returns:
          What `sums` names, over that share: `[len(sums)]` float32.
        """
        raise NotImplementedError

    def _measured(self, sums: dict[str, float]) -> dict[str, float]:
        """What the history of an epoch says of the sums besides the mean loss."""
        del sums
        return {}

    def _descend(
        self, batch: dict[str, tf.Tensor], places: tf.Tensor, factor: tf.Tensor | None = None
    ) -> tf.Tensor:
        """An optimiser step along the mean loss over the targets of all replicas.

        Args:
          batch: this replica's share.
          places: a number near that of its targets, so that the loss has the size of a mean (float16
            needs it).
          factor: of the gradient; None is 1.

        Returns:
          The summed loss and the number of targets of this replica's share, `[2]`.
        """
        scales = isinstance(self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
        total, count, grads = self._gradients(batch, places)
        if scales:
            grads = self._optimizer.get_unscaled_gradients(grads)
        # The mean over the targets of all replicas: each adds its share of the gradient.
        share = tf.math.divide_no_nan(places, sum_over_replicas(count))
        if factor is not None:
            share *= factor
        grads = sum_over_replicas([times(gradient, share) for gradient in grads])
        self._optimizer.apply_gradients(
            zip(grads, self.model.trainable_variables), skip_gradients_aggregation=True
        )
        return tf.stack([total, count])

    def _gradients(self, batch: dict[str, tf.Tensor], places: tf.Tensor) -> Any:
        """The summed loss, the number of targets, and the (scaled) gradient of that sum over `places`."""

        def gradients() -> Any:
            with tf.GradientTape() as tape:
                total, count = self.model.summed_loss(batch, training=True)
                loss = tf.math.divide_no_nan(total, places)
                if isinstance(self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
                    loss = self._optimizer.get_scaled_loss(loss)
            return total, count, tape.gradient(loss, self.model.trainable_variables)

        return (
            tf.function(gradients, jit_compile=True, autograph=False) if self._settings.xla else gradients
        )()

    def _run_steps(self, iterator: Any, steps: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros([len(self.sums)])
        for _ in tf.range(steps):
            added = self._strategy.run(self._traced_step, args=(next(iterator),))
            sums += self._strategy.reduce(tf.distribute.ReduceOp.SUM, added, axis=None)
        return sums

    def run(self) -> dict[str, Any]:
        """Trains (or goes on training) to the end.

        Returns:
          What `history.json` holds: `epochs`, `best_epoch`, `stopped` and more.

        Raises:
          TrainingError: if the loss is not a number.
        """
        self._restore()
        if not self._history and not (self._settings.epochs and self.model.trainable_variables):
            self._history.append({"epoch": 0, **self.evaluation.evaluate(), "seconds": 0.0})
            return self._result("nothing to train")
        stopped = self._stop_reason()
        while stopped is None:
            self._train_epoch()
            stopped = self._stop_reason()
        best = self._best_epoch()
        if best:
            self._best.restore(self._best_prefix).expect_partial()
        return self._result(stopped)

    def _result(self, stopped: str) -> dict[str, Any]:
        return {
            "epochs": self._history,
            "best_epoch": self._best_epoch(),
            "objective": self.evaluation.objective,
            "stopped": stopped,
            "parameters": int(sum(math.prod(v.shape) for v in self.model.trainable_variables)),
            "replicas": self._strategy.num_replicas_in_sync,
            "resumed_from_epoch": self._resumed,
            "seed": self._settings.seed,
        }

    def _spent(self) -> float:
        """Seconds of training in the epochs so far."""
        return sum(epoch["seconds"] for epoch in self._history)

    def _restore(self) -> None:
        prefix, damaged = checkpoints.newest(self._folder, self._best_prefix, self.evaluation.objective)
        for why in damaged:
            _PROGRESS.warning(
                "checkpoint %s: going on from %s", why, "the one before it" if prefix else "the start"
            )
        if prefix is None:
            if damaged:
                tf.io.gfile.rmtree(self._folder)
                self._manager = checkpoints.manager(self._checkpoint, self._folder)
            return
        self._checkpoint.restore(prefix).assert_existing_objects_matched()
        self._history = json.loads(self._state.numpy().decode())
        self._resumed = int(self._epoch)
        _PROGRESS.info("going on from epoch %d, step %d", int(self._epoch), int(self._step))

    def _save(self) -> None:
        self._state.assign(json.dumps(self._history))
        self._manager.save()

    def _best_epoch(self) -> int:
        metric = self.evaluation.objective
        measured = [epoch for epoch in self._history if metric in epoch]
        # The first of equal ones: more training did not help.
        return max(measured, key=lambda e: (e[metric], -e["epoch"]))["epoch"] if measured else 0

    def _stop_reason(self) -> str | None:
        if int(self._epoch) >= self._settings.epochs:
            return "epochs"
        if self._out_of_time(self._spent()):
            return "max_seconds"
        measured = bool(self._history) and self.evaluation.objective in self._history[-1]
        if measured and int(self._epoch) - self._best_epoch() >= self._settings.patience:
            return "patience"
        return None

    def _out_of_time(self, spent: float) -> bool:
        return self._settings.max_seconds is not None and spent >= self._settings.max_seconds

    def _train_epoch(self) -> None:
        settings, epoch = self._settings, int(self._epoch)
        done, steps = int(self._step), self._epoch_steps()
        iterator = iter(self._batches(epoch, done))
        start = saved = said = time.monotonic()
        before = float(self._seconds)
        while done < steps:
            now = min(_STEPS_PER_CALL, steps - done)
            self._running.assign_add(self._steps(iterator, tf.constant(now)))
            self._align_draws()
            done += now
            if not math.isfinite(float(self._running[0])):
                raise TrainingError(
                    f"the loss is {float(self._running[0])} in epoch {epoch + 1}: lower training.learning_rate "
                    f"({settings.learning_rate:g}) or set training.clip_norm"
                )
            if done < steps and time.monotonic() - saved > settings.checkpoint_seconds:
                self._step.assign(done)
                self._seconds.assign(before + time.monotonic() - start)
                self._save()
                saved = time.monotonic()
            if done < steps and time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                self._say_step(epoch, done, steps, before + said - start)
        seconds = before + time.monotonic() - start
        sums = dict(zip(self.sums, self._running.numpy().tolist()))
        targets = sums["targets"]
        if not targets:
            raise TrainingError("no window has a target within the catalogue")
        record = {
            "epoch": epoch + 1,
            "loss": sums["loss"] / targets,
            "seconds": seconds,
            "targets_per_s": targets / seconds,
            "learning_rate": float(self._current_rate()),
            **self._measured(sums),
        }
        last = epoch + 1 >= settings.epochs or self._out_of_time(self._spent() + seconds)
        if (epoch + 1) % settings.evaluate_every == 0 or last:
            evaluated = time.monotonic()
            record.update(self.evaluation.evaluate())
            record["evaluation_seconds"] = time.monotonic() - evaluated
        self._history.append(record)
        if self._best_epoch() == epoch + 1:
            self._best.write(self._best_prefix)
        self._epoch.assign(epoch + 1)
        self._step.assign(0)
        self._seconds.assign(0.0)
        self._running.assign(tf.zeros_like(self._running))
        self._save()
        self._report(record)

    def _align_draws(self) -> None:
        """Brings the generators of all replicas to the place of the one that has drawn most.

        Shares of a batch differ in what is drawn for them, and a checkpoint has one state for all. The place
        in the stream is all that they share: TensorFlow makes other numbers of it for each replica.
        """
        states = self._strategy.experimental_local_results(self.model.generator.state)
        if len(states) > 1:
            furthest = tf.reduce_max(tf.stack([state[0] for state in states]))
            for state in states:
                state.assign(tf.concat([[furthest], state[1:]], axis=0))

    def _current_rate(self) -> Any:
        rate = self._optimizer.learning_rate
        if isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
            return rate(self._optimizer.iterations)
        return rate.numpy()

    def _say_step(self, epoch: int, done: int, steps: int, seconds: float) -> None:
        """How far an epoch is that has taken so many seconds, and how long the rest will be."""
        of_epoch = seconds * steps / done
        rest = of_epoch - seconds
        _PROGRESS.info(
            "epoch %d/%d step %s of %s %s targets/s, about %s left of it%s",
            epoch + 1,
            self._settings.epochs,
            f"{done:,}",
            f"{steps:,}",
            f"{float(self._running[1]) / seconds:,.0f}",
            duration(rest),
            self._left(epoch + 1, of_epoch, self._spent() + seconds, rest),
        )

    def _left(self, done: int, of_epoch: float, spent: float, rest: float = 0.0) -> str:
        """How long training will still take if nothing stops it, after so many epochs."""
        epochs = self._settings.epochs - done
        if epochs <= 0:
            return ""
        left = rest + epochs * of_epoch
        if self._settings.max_seconds is not None:
            left = min(left, max(self._settings.max_seconds - spent, rest))
        return f", at most {duration(left)} in all" if rest else f", at most {duration(left)} left"

    def _report(self, record: dict[str, float]) -> None:
        metric = self.evaluation.objective
        measured = f" {metric} {record[metric]:.4f}" if metric in record else ""
        lasted = [e["seconds"] + e.get("evaluation_seconds", 0.0) for e in self._history[-_EPOCHS_ASKED:]]
        stops = self._stop_reason() is not None
        _PROGRESS.info(
            "epoch %d/%d loss %.4f%s %s targets/s%s",
            record["epoch"],
            self._settings.epochs,
            record["loss"],
            measured,
            f"{record['targets_per_s']:,.0f}",
            ""
            if stops
            else self._left(int(record["epoch"]), sorted(lasted)[len(lasted) // 2], self._spent()),
        )
        if self._writer:
            with self._writer.as_default(step=int(record["epoch"])):
                for name, value in record.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            self._writer.flush()


class Fit(Loop):
    """One optimiser step on each batch of `batch_size` windows; see `Loop`.

    Windows of about the same length share a batch, which is no wider than they need (see
    `bucketing`). A step follows the mean loss over the targets of its batch. A target of a batch of
    short windows would so weigh more than one among long ones; where widths differ, the gradient is
    therefore multiplied by the targets of the batch's windows over those of all windows, as far as they are
    known before they are drawn (`SequenceModel.expected_targets`): over an epoch, all targets weigh the same,
    as they do in batches that are drawn from all windows.
    """

    def _prepare(self) -> None:
        self._columns = input_lib.columns(self._train)
        index = self._columns[names.ITEM_INDEX].numpy()
        real, length = bucketing.lengths(index), index.shape[1]
        needed = bucketing.needed_places(real, length, self.model.padding_needed)
        self._widths = bucketing.widths(needed, length, self._settings.length_buckets)
        self._grouped = bucketing.LengthBatches(needed, self._widths, self._settings.batch_size)
        expected = self.model.expected_targets(tf.constant(real, tf.float32))
        self._mean_targets = max(1.0, float(tf.reduce_mean(expected)))

    def _epoch_steps(self) -> int:
        return self._grouped.batches

    def _batches(self, epoch: int, done: int) -> Any:
        rows, widths = self._grouped.order(self._settings.seed, epoch)
        replicas = self._strategy.num_replicas_in_sync
        batches = input_lib.training_batches(
            self._columns,
            rows[done:],
            widths[done:],
            self._widths,
            shares=replicas,
            # XLA compiles for each shape, so all batches of a width have one.
            fill=self._settings.xla,
        )
        if replicas > 1:
            # Cut into shares above: what TensorFlow cuts may have windows of two batches.
            batches = self._strategy.distribute_datasets_from_function(lambda context, local=batches: local)
        return batches

    def _one_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        factor = self._relative_targets(batch[names.ITEM_INDEX]) if len(self._widths) > 1 else None
        return self._descend(batch, tf.cast(tf.size(batch[names.ITEM_INDEX]), tf.float32), factor)

    def _gradients(self, batch: dict[str, tf.Tensor], places: tf.Tensor) -> Any:
        if len(self._widths) == 1 or not self.model.graph_per_width:
            return super()._gradients(batch, places)
        compute = super()._gradients
        branches = [
            lambda width=width: compute(self._of_width(batch, width), places) for width in self._widths
        ]
        width = tf.shape(batch[names.ITEM_INDEX])[1:]
        return tf.switch_case(tf.searchsorted(self._widths, width)[0], branches)

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
        targets, windows = tf.unstack(sum_over_replicas(tf.stack(parts)))
        return tf.math.divide_no_nan(targets, windows) / self._mean_targets
