"""`tuner_fn` of TFX Tuner: a search over an experiment's settings, on the data that the Trainer gets."""

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
import tensorflow as tf
from keras_tuner.engine import base_tuner
from tfx.components.tuner.component import TunerFnResult

from components import whole
from schemas import errors, figures
from trainer import arguments, fingerprint, places, search, task
from trainer.loops import gradients, loop

_PROGRESS = logging.getLogger("footfall.progress")
# Of settings that do not go together, or that the data or the machine does not allow: for the user to mend.
_REFUSED = (search.ImpossiblePoint, errors.InputError)
# What a point of the space may do to its own trial; anything else is no fault of the point.
_POINT_FAILS = (*_REFUSED, loop.TrainingError, tf.errors.ResourceExhaustedError)


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Prepares a search; called by TFX Tuner.

    `fn_args.custom_config` is what `arguments.Arguments.pack` gave, with `tuning`.
    """
    given = arguments.Arguments.unpack(fn_args.custom_config)
    experiment, tuning = given.trainer, given.tuning
    if tuning is None:
        raise ValueError("a search needs the setting tuning, found none")
    data = task.load(fn_args)

    @gradients.released()
    def train(values: Mapping[str, Any], checkpoint_dir: str) -> dict[str, Any]:
        return task.train(tuning.of_trial(experiment, values), data, checkpoint_dir)[1]

    tuner = Tuner(
        tuning.oracle(experiment.training.seed),
        train,
        given.place(f"search-{fingerprint.of(fn_args, {})}"),
        fn_args.working_dir,
    )
    return TunerFnResult(tuner=tuner, fit_kwargs={})


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one point.

    Attributes:
      values: by key.
      objective: the metric that is to become large.
      score: its value on `eval` at the best epoch; None of a trial that failed.
      error: why it failed, in one line.
      epochs, best_epoch: how many epochs were trained, and which one the score is of.
      seconds: of training.
    """

    values: dict[str, Any]
    objective: str = ""
    score: float | None = None
    error: str = ""
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0


class Tuner(base_tuner.BaseTuner):
    """A search whose trials are trained by our own loops.

    A killed search goes on where it was. Keras Tuner's own files do not serve for that: they
    lack the state of a grid and of a Bayesian search's draws, so that another search would go on.
    Instead each result is kept in a folder; a second search asks for the same points again, gets
    the answers that are there, and then trains what the first one was at, from its checkpoint.

    Args:
      oracle: of `search.build_oracle`.
      train: trains at the values of a point, in a folder for its checkpoints, and returns the history.
      place: of what a second run of the same search goes on from.
      working_dir: for Keras Tuner's own files.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        train: Callable[[Mapping[str, Any], str], dict[str, Any]],
        place: places.Place,
        working_dir: str,
    ):
        super().__init__(oracle, directory=working_dir, project_name="search", overwrite=True)
        self._train, self._place, self._folder = train, place, place.folder
        place.claim()
        self._results: dict[str, Result] = {}
        self._refusals: list[Exception] = []

    def run_trial(self, trial: Any) -> dict[str, float]:
        """Trains at the trial's values, unless that has been done.

        Returns:
          The objective.

        Raises:
          keras_tuner.errors.FailedTrialError: if the point is impossible, by itself or with these data and this machine, or
            its loss is not a number; the search goes on.
          keras_tuner.errors.FatalError: for anything else, which would befall all trials.
        """
        values = search.plain(trial.hyperparameters.values)
        place = os.path.join(self._folder, _name(values))
        result = _read(f"{place}.json")
        known = result is not None
        if result is None:
            trained = True
            try:
                result = _measure(values, self._train(values, place), self._compared_by)
            except _POINT_FAILS as error:
                result = Result(values, error=errors.first_line(error))
                trained = isinstance(error, loop.TrainingError)
                if isinstance(error, _REFUSED):
                    self._refusals.append(error)
            except Exception as error:  # noqa: BLE001  Keras Tuner would count it as a failed trial
                raise keras_tuner.errors.FatalError(f"{type(error).__name__}: {error}") from error
            if trained:
                # Of all else another machine may think otherwise, and to ask it takes no training.
                whole.write(f"{place}.json", json.dumps(dataclasses.asdict(result)))
            if tf.io.gfile.exists(place):
                tf.io.gfile.rmtree(place)
        self._results[trial.trial_id] = result
        self._report(result, known)
        if result.score is None:
            raise keras_tuner.errors.FailedTrialError(result.error)
        return {search.SCORE: result.score}

    @property
    def _compared_by(self) -> str | None:
        """The objective of the first trial that trained: one that learns something else is measured by it, too."""
        trained = (result.objective for result in self._results.values() if result.score is not None)
        return next(trained, None)

    def _report(self, result: Result, known: bool) -> None:
        scores = [one.score for one in self._results.values() if one.score is not None]
        said = f"failed: {result.error}"
        if result.score is not None:
            said = f"{result.objective} {figures.metric(result.score)} (best {figures.metric(max(scores))})"
        _PROGRESS.info(
            "trial %d/%d %s: %s%s",
            len(self._results),
            self.oracle.max_trials,
            search.label(result.values),
            said,
            ", known from before" if known else "",
        )

    def on_search_end(self) -> None:
        """Sees to it that there is a best point.

        Raises:
          errors.InputError: if every trial was refused; with the words of the refusal where it was one and the same.
          TrainingError: if every trial has failed, and not all for what the user can mend.
        """
        failed = [result for result in self._results.values() if result.score is None]
        if len(failed) < len(self._results):
            return
        # The next run tries them anew: it may have more memory.
        self.forget()
        said = f"all {len(failed)} trials failed; the last, {search.label(failed[-1].values)}: {failed[-1].error}"
        if len(self._refusals) < len(failed):
            raise loop.TrainingError(said)
        same = len({result.error for result in failed}) == 1
        raise errors.InputError(failed[-1].error if same else said) from self._refusals[-1]

    def trials(self) -> list[dict[str, Any]]:
        """All trials in their order, as plain values: a `Result` each, and whether it was `taken`."""
        best = self.oracle.get_best_trials(1)[0].trial_id
        return [
            {**dataclasses.asdict(result), "taken": trial_id == best}
            for trial_id, result in self._results.items()
        ]

    def forget(self) -> None:
        """Takes away what a second run of this search would go on from."""
        self._place.leave()


def _measure(values: dict[str, Any], history: Mapping[str, Any], compared_by: str | None) -> Result:
    best = next(epoch for epoch in history["epochs"] if epoch["epoch"] == history["best_epoch"])
    objective = compared_by if compared_by in best else history["objective"]
    return Result(
        values,
        objective=objective,
        score=best[objective],
        epochs=history["epochs"][-1]["epoch"],
        best_epoch=history["best_epoch"],
        seconds=round(sum(epoch["seconds"] for epoch in history["epochs"]), 3),
    )


def _name(values: Mapping[str, Any]) -> str:
    return fingerprint.digest(values)


def _read(path: str) -> Result | None:
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as stream:
        try:
            return Result(**json.loads(stream.read()))
        except (ValueError, TypeError):
            _PROGRESS.warning("%s cannot be read: the trial is trained again", path)
            return None
