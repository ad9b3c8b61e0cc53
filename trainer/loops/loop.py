"""The training loop: epochs, steps, early stopping, checkpoints and resumption. What it trains on, a subclass says."""

import dataclasses
import functools
import json
import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.trainer import workers
from trainer import input as input_lib
from trainer import optimizers
from trainer.loops import checkpoints, gradients
from trainer.loops import progress as progress_lib
from trainer.loops import replicas as replicas_lib
from trainer.settings import training as training_settings

_PROGRESS = logging.getLogger("footfall.progress")
# Steps in one call of the compiled loop: long enough to hide the call, short enough to
# stop and to save in time.
_STEPS_PER_CALL = 64
# An epoch that takes long says so often how far it is.
_SAY_SECONDS = 15.0
_ADVERSARY = "adversary_optimizer"
_SLOW = "slow_optimizer"


@dataclasses.dataclass(frozen=True)
class Group:
    """Variables that one optimiser moves.

    Attributes:
      name: of the optimiser in checkpoints.
      variables: in the order of the gradients.
      optimizer: what `Loop.new_optimizer` made of them.
      direction: 1 descends what a step differentiates (`Loop._value`), -1 ascends it, as an adversary does.
    """

    name: str
    variables: list[tf.Variable]
    optimizer: tf.keras.optimizers.Optimizer
    direction: float = 1.0


class TrainingError(RuntimeError):
    """Training cannot go on; nothing is exported."""


class Loop:
    """Trains a model until `eval` stops improving, and leaves it with its best weights.

    Every random draw comes from checkpointed state and every order from the seed, so a run
    that is killed and started again ends with the weights of one that was not.

    A subclass says what a step trains on (`_order`, `_shares`) and what of it the gradient is (`_descent`). A procedure
    around a model is a subclass, too: variables with an optimiser of their own, as an adversary's, are
    another of the `groups`; what follows a step, as a teacher that is a moving average, is `after_step`.
    What else is to be kept is made in `_prepare` and named in `_kept`.

    Args:
      build: makes the model, a `learner.Learner` with its `training_loss`; called in the strategy's scope.
      settings: of the training.
      strategy: `MirroredStrategy`, for any number of devices.
      train: blocks of `input.read` with `input.training_features`.
      evaluate: makes the evaluation of a model: what has `evaluate()`, metrics by name, and
        `objective`, the name of that which is to become large, as `evaluation.ranking.FullRanking`.
      checkpoint_dir: a folder that a second run of the same training finds again.
      log_dir: of TensorBoard; None writes none.
      own: settings of the procedure itself, see `trainer.settings.loops`; plain training reads none.
    """

    # What `train` has to have besides what the model and its loss read.
    features_read: tuple[str, ...] = ()
    # What a step adds up, each a scalar; the first two are the loss and the number of targets. Behind these stand the
    # model's `monitors`, unless the loop has no place for them.
    sums: tuple[str, ...] = ("loss", "targets")
    monitored: bool = True

    # Whether the weights that a training starts from are worth measuring: they are then epoch 0, and may be the best.
    start_counts: bool = False

    def __init__(
        self,
        build: Callable[[], Any],
        settings: training_settings.TrainingSettings,
        strategy: tf.distribute.Strategy,
        train: tf.data.Dataset,
        evaluate: Callable[[Any], Any],
        checkpoint_dir: str,
        log_dir: str | None = None,
        own: Any = None,
    ):
        self._settings, self._strategy, self._train, self._own_settings = settings, strategy, train, own
        self._replicas = replicas_lib.Replicas(strategy)
        self._build, self._evaluate = build, evaluate
        with strategy.scope():
            tf.keras.utils.set_random_seed(settings.seed)
            self._make_model()
            self.monitors: tuple[str, ...] = self.model.monitors if self.monitored else ()
            self.sums = (*self.sums, *self.monitors)
            self._prepare()
            self._groups = self.groups()
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._step = tf.Variable(0, dtype=tf.int64)
        # The history is part of the checkpoint, so that both are always of the same moment.
        self._state = tf.Variable("[]", dtype=tf.string)
        self._running = tf.Variable(tf.zeros([len(self.sums)]))
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._history: list[dict[str, Any]] = []
        self.evaluation = evaluate(self.model)
        # Of several workers the chief keeps what all have made.
        self._own = None if workers.this().chief else tempfile.TemporaryDirectory(prefix="footfall-worker-")
        self._checkpoints = checkpoints.Checkpoints(
            checkpoint_dir,
            self.model,
            own=self._own.name if self._own else None,
            epoch=self._epoch,
            step=self._step,
            state=self._state,
            running=self._running,
            seconds=self._seconds,
            **{group.name: group.optimizer for group in self._groups},
            **self._kept(),
        )
        self._progress = progress_lib.Progress(settings, log_dir)
        self._steps = tf.function(self._run_steps)
        # AutoGraph rewrites the source of all that it gets to, which takes longer than tracing it.
        self._traced_step = tf.autograph.experimental.do_not_convert(self._one_step)
        self._resumed: int | None = None
        # Of what the steps are given from now on; its batches are made ahead, while an epoch is evaluated, too.
        self._iterator: Any = None

    @classmethod
    def of(cls, settings: Any) -> Callable[..., "Loop"]:
        """What makes a loop of its own settings, see `trainer.settings.loops`; it takes the other arguments."""
        return functools.partial(cls, own=settings)

    def _make_model(self) -> None:
        """Makes the model, and by one call its variables; in the strategy's scope."""
        self.model = self._build()
        self.model.static_shapes = self._settings.xla
        self.model(self._nothing(), training=False)

    def _nothing(self) -> dict[str, tf.Tensor]:
        """A batch of one window that is all padding."""
        specs = self._train.element_spec.items()
        # What is as wide as its rows are long, as a future, has one place.
        return {
            name: tf.zeros([1, *(1 if size is None else size for size in spec.shape[1:])], spec.dtype)
            for name, spec in specs
        }

    def new_optimizer(
        self, variables: list[tf.Variable], factor: float = 1.0, updates: int = 1
    ) -> tf.keras.optimizers.Optimizer:
        """An optimiser of these variables by the training's settings.

        Args:
          variables: that it moves.
          factor: its learning rate over theirs.
          updates: how often it moves in a step.
        """
        settings = self._settings
        if factor != 1:
            settings = settings.model_copy(update={"learning_rate": factor * settings.learning_rate})
        optimizer = optimizers.build(settings, settings.epochs * self._epoch_steps() * updates)
        optimizer.build(variables)
        return optimizer

    def groups(self) -> list[Group]:
        """All that a step moves; called once, after `_prepare`. The first is the model's.

        What of the model is pretrained may follow more slowly, and what is an adversary ascends the loss: groups behind it.
        """
        adversary = self.model.adversary_variables
        slow = self.model.slow_variables
        refs = {variable.ref() for variable in (*adversary, *slow)}
        variables = [one for one in self.model.trainable_variables if one.ref() not in refs]
        found = [Group("optimizer", variables, self.new_optimizer(variables))]
        if slow:
            found.append(Group(_SLOW, slow, self.new_optimizer(slow, self.model.slowness)))
        if adversary:
            found.append(Group(_ADVERSARY, adversary, self.new_optimizer(adversary), direction=-1.0))
        return found

    def after_step(self) -> None:
        """What follows each step, on each replica: a step of the compiled loop; see `gradients.update`."""

    def _prepare(self) -> None:
        """Makes what a step needs besides the model and the optimisers; in the strategy's scope."""

    def _check_targets(self, columns: dict[str, tf.Tensor]) -> None:
        """Asks the model whether there is something to learn from all windows, `[W, ...]` of each feature."""
        with tf.device("CPU:0"):
            self.model.check_targets(columns)

    def _epoch_steps(self) -> int:
        """How many steps an epoch has."""
        raise NotImplementedError

    def _kept(self) -> dict[str, Any]:
        """What of that belongs in a checkpoint, by name."""
        return {}

    def _order(self, epoch: int) -> tuple[np.ndarray, ...]:
        """What the steps of an epoch are made of, `[steps, ...]` for each part, which the seed and the epoch alone decide."""
        raise NotImplementedError

    def _shares(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of steps, of a dataset of the parts of `_order`: an element for each replica of all workers in turn."""
        raise NotImplementedError

    def _batches(self, epochs: Sequence[int], done: int = 0) -> Any:
        """What the steps of some epochs are given, one epoch after the other.

        Args:
          epochs: their numbers, from 0.
          done: how many steps of the first to leave out, since they have been taken.

        Returns:
          A dataset of the steps' batches, distributed if there are several replicas. One replica takes the batches
          themselves: to let go of a distributed iterator lasts up to a second and a half.
        """
        return self._replicas.batches(self._shares(input_lib.epochs(self._order, epochs, done)))

    def _measured(self, sums: dict[str, float]) -> dict[str, float]:
        """What the history of an epoch says of the sums besides the mean loss."""
        del sums
        return {}

    def _evaluated(self) -> dict[str, float]:
        """What a procedure measures of its own, when the evaluation does."""
        return {}

    def _descent(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        """What a step goes along: `_directed` gradients, of one replica's share of a batch in its context.

        Returns:
          What `sums` names, over that share, `[len(sums)]` float32; and the gradients of `_variables`.
        """
        raise NotImplementedError

    def _value(self, batch: dict[str, tf.Tensor], places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What `sums` names of a replica's share, and what is differentiated: the objective, times its divisor.

        Args:
          batch: the share.
          places: a number near that of its targets, but known before it: the objective is over it, so
            that it has the size of a mean (float16 needs it).
        """
        if not self.monitors:
            total, count = self.model.summed_loss(batch, training=True)
            return tf.stack([total, count]), tf.math.divide_no_nan(total, places)
        total, count, watched = self.model.monitored_loss(batch, training=True)
        return tf.concat([[total, count], watched], axis=0), tf.math.divide_no_nan(total, places)

    def _differentiate(self, batch: dict[str, tf.Tensor], *given: Any) -> tuple[tf.Tensor, list[Any]]:
        """What `sums` names, and the (scaled) gradients of `_value`; see there for the arguments."""
        with tf.GradientTape() as tape:
            sums, value = self._value(batch, *given)
            if self._scales:
                value = self._groups[0].optimizer.get_scaled_loss(value)
        # Of what a term of weight 0 alone reads, the gradient is 0.
        zero = tf.UnconnectedGradients.ZERO
        return sums, tape.gradient(value, self._variables(), unconnected_gradients=zero)

    def _directed(
        self, sums: tf.Tensor, found: list[Any], places: tf.Tensor, factor: tf.Tensor | None = None
    ) -> list[Any]:
        """What all replicas subtract, of what `_differentiate` found for this one's share.

        Args:
          sums, found: what it gave.
          places: that it was given.
          factor: of the gradients; None is 1.
        """
        if self._scales:
            found = self._groups[0].optimizer.get_unscaled_gradients(found)
        # The mean over the targets of all replicas: each adds its share of the gradient.
        share = tf.math.divide_no_nan(places, self._divisor(sums[1]))
        if factor is not None:
            share *= factor
        signs = [group.direction for group in self._groups for _ in group.variables]
        return gradients.sum_over_replicas(
            [gradients.times(one, sign * share) for one, sign in zip(found, signs)]
        )

    def _divisor(self, targets: tf.Tensor) -> tf.Tensor:
        """What the summed loss is divided by, from this replica's number of targets."""
        return gradients.sum_over_replicas(targets)

    def _variables(self) -> list[tf.Variable]:
        """Those of all groups, in their order."""
        return [variable for group in self._groups for variable in group.variables]

    @property
    def _scales(self) -> bool:
        return isinstance(self._groups[0].optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function by XLA, if that is set and all of it is on one replica: it cannot gather what others have."""
        if not self._settings.xla or self._meets_replicas:
            return function
        return tf.function(function, jit_compile=True, autograph=False)

    @property
    def _meets_replicas(self) -> bool:
        """Whether the model's loss is also of what other replicas have, of which there are several."""
        several = self._replicas.count > 1
        return several and bool(self.model.meets_replicas)

    def _one_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Moves all groups along the descent of one replica's share of a batch, in its replica context.

        Returns:
          What `sums` names, over that share: `[len(sums)]` float32.
        """
        sums, descent = self._descent(batch)
        if self._scales and len(self._groups) > 1:
            # A step is taken by all groups or by none, whose loss scale then falls.
            sound = gradients.finite(descent)
            descent = [gradients.where(sound, one, math.nan) for one in descent]
        for group in self._groups:
            own, descent = descent[: len(group.variables)], descent[len(group.variables) :]
            group.optimizer.apply_gradients(zip(own, group.variables), skip_gradients_aggregation=True)
        self.after_step()
        return sums

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
        if self.start_counts and self._resumed is None:
            self._measure_start()
        stopped = self._stop_reason()
        while stopped is None:
            self._train_epoch()
            stopped = self._stop_reason()
        self._iterator = None
        best = self._best_epoch()
        if best is not None:
            self._checkpoints.restore_best(best)
        if best == 0:
            _PROGRESS.warning("no epoch is better than what the training started from: the model is that one")
        result = self._result(stopped)
        if result["rising"]:
            _PROGRESS.info("best in the last epoch, %d: more of them (training.epochs) may be better", best)
        return result

    def as_float32(self) -> None:
        """Makes the model and its evaluation anew where it has trained in mixed precision, which is for training alone.

        It has the same weights. What is measured, calibrated and exported then computes in float32, as fast and as exact on a
        server as any. Called after `run`, under the policy float32.
        """
        weights = self.model.get_weights()
        with self._strategy.scope():
            self._make_model()
        self.model.set_weights(weights)
        self.evaluation = self._evaluate(self.model)

    def _measure_start(self) -> None:
        """Measures the weights before the first step, as epoch 0, and keeps them."""
        begun = time.monotonic()
        found = self.evaluation.evaluate()
        found["evaluation_seconds"] = time.monotonic() - begun
        record = {"epoch": 0, "seconds": 0.0, **self._replicas.of_chief(found)}
        self._history.append(record)
        if self._best_epoch() == 0:
            self._checkpoints.save_best(0)
        self._progress.start(record, self.evaluation.objective)

    def _rising(self, stopped: str) -> bool:
        """Whether training ended while it still became better; with a rate that falls to 0 that is as it should be."""
        measured = [epoch for epoch in self._history if self.evaluation.objective in epoch]
        limited = stopped in ("epochs", "max_seconds") and self._settings.schedule == "constant"
        return limited and len(measured) > 1 and measured[-1]["epoch"] == self._best_epoch()

    def _result(self, stopped: str) -> dict[str, Any]:
        return {
            "epochs": self._history,
            "best_epoch": self._best_epoch(),
            "rising": self._rising(stopped),
            "objective": self.evaluation.objective,
            "stopped": stopped,
            "parameters": int(sum(math.prod(v.shape) for v in self.model.trainable_variables)),
            "replicas": self._replicas.count,
            "resumed_from_epoch": self._resumed,
            "seed": self._settings.seed,
        }

    def _spent(self) -> float:
        """Seconds of training in the epochs so far."""
        return sum(epoch["seconds"] for epoch in self._history)

    def _restore(self) -> None:
        if not self._checkpoints.restore(self._best_epoch_of):
            return
        self._history = json.loads(self._state.numpy().decode())
        self._resumed = int(self._epoch)
        # By the numbers that the lines on epochs have, from 1 on.
        step, steps = int(self._step), self._epoch_steps()
        within = f"in epoch {self._resumed + 1}, after step {step:,} of {steps:,}"
        _PROGRESS.info("going on %s", within if step else f"after epoch {self._resumed}")

    def _save(self) -> None:
        self._state.assign(json.dumps(self._history))
        self._checkpoints.save(self._best_epoch())

    def _may_be_best(self, epoch: Mapping[str, Any]) -> bool:
        """Whether the weights of an epoch may be those that the model is left with."""
        return self.evaluation.objective in epoch

    def _best_epoch(self) -> int | None:
        """The number of the best epoch so far, 0 for what it started from; None for none."""
        return self._best_epoch_of(self._history)

    def _best_epoch_of(self, history: Sequence[Mapping[str, Any]]) -> int | None:
        metric = self.evaluation.objective
        measured = [epoch for epoch in history if self._may_be_best(epoch)]
        # The first of equal ones: more training did not help.
        return max(measured, key=lambda e: (e[metric], -e["epoch"]))["epoch"] if measured else None

    def _stop_reason(self) -> str | None:
        if int(self._epoch) >= self._settings.epochs:
            return "epochs"
        if self._out_of_time(self._spent()):
            return "max_seconds"
        measured = bool(self._history) and self.evaluation.objective in self._history[-1]
        # What has been trained on may fall behind what it started from for a while, and come out before it.
        best = self._best_epoch_of([epoch for epoch in self._history if epoch["epoch"] > 0])
        if measured and best is not None and int(self._epoch) - best >= self._settings.patience:
            return "patience"
        return None

    def _out_of_time(self, spent: float) -> bool:
        return self._settings.max_seconds is not None and spent >= self._settings.max_seconds

    def _train_epoch(self) -> None:
        settings, epoch = self._settings, int(self._epoch)
        done, steps = int(self._step), self._epoch_steps()
        start = saved = said = time.monotonic()
        if self._iterator is None:
            self._iterator = iter(self._batches(range(epoch, settings.epochs), done))
        before = float(self._seconds)
        while done < steps:
            now = min(_STEPS_PER_CALL, steps - done)
            self._running.assign_add(self._steps(self._iterator, tf.constant(now)))
            self._replicas.align(self.model.generator)
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
                seconds = before + said - start
                self._progress.step(
                    epoch, done, steps, float(self._running[1]) / seconds, seconds, self._spent() + seconds
                )
        self._check_variables()
        self._check_finite(epoch)
        seconds = self._replicas.of_chief({"seconds": before + time.monotonic() - start})["seconds"]
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
            **{name: sums[name] / targets for name in self.monitors},
            **self._measured(sums),
        }
        last = epoch + 1 >= settings.epochs or self._out_of_time(self._spent() + seconds)
        if (epoch + 1) % settings.evaluate_every == 0 or last:
            evaluated = time.monotonic()
            found = {**self.evaluation.evaluate(), **self._evaluated()}
            found["evaluation_seconds"] = time.monotonic() - evaluated
            record.update(self._replicas.of_chief(found))
        self._history.append(record)
        if self._best_epoch() == epoch + 1:
            self._checkpoints.save_best(epoch + 1)
        self._epoch.assign(epoch + 1)
        self._step.assign(0)
        self._seconds.assign(0.0)
        self._running.assign(tf.zeros_like(self._running))
        self._save()
        self._report(record)

    def _check_variables(self) -> None:
        """Raises RuntimeError if the first steps have made variables, which no group moves: that is the model's fault."""
        moved = {variable.ref() for variable in self._variables()}
        left = [one.name for one in self.model.trainable_variables if one.ref() not in moved]
        if left:
            raise RuntimeError(
                f"{type(self.model).__name__} makes variables that are not trained, since embedding makes none of them: "
                f"build them in __init__: {', '.join(left)}"
            )

    def _check_finite(self, epoch: int) -> None:
        """Raises TrainingError if the last step, whose loss was of the weights before it, has left one that is no number."""
        wrong = [one.name for one in self._variables() if not tf.reduce_all(tf.math.is_finite(one))]
        if wrong:
            raise TrainingError(
                f"weights are no numbers at the end of epoch {epoch + 1} ({wrong[0]}): lower training.learning_rate "
                f"({self._settings.learning_rate:g}) or set training.clip_norm"
            )

    def _current_rate(self) -> Any:
        optimizer = self._groups[0].optimizer
        rate = optimizer.learning_rate
        if isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
            return rate(optimizer.iterations)
        return rate.numpy()

    def _report(self, record: dict[str, float]) -> None:
        stops = self._stop_reason() is not None
        self._progress.epoch(
            record, self.evaluation.objective, None if stops else self._history, self._spent()
        )
