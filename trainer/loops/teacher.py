"""Pretraining of embeddings: a teacher follows its student (BYB, section 4.1), and a collapse stops the training."""

import logging
from collections.abc import Sequence
from typing import Any, NoReturn

import schemas  # noqa: F401  selects Keras 2
from schemas import embeddings, figures
from trainer.loops import fit, gradients, loop

_PROGRESS = logging.getLogger("footfall.progress")


class TeacherFit(fit.Fit):
    """As `fit.Fit`; after each step a model's teacher moves towards its student, and a collapse stops the training.

    A model without a teacher has no pairs to move. A teacher's variables are the model's, so that checkpoints have them.
    Collapsed are embeddings of less spread or a lower effective rank than the model's settings ask for, of users or of what
    is to be predicted, as the evaluation on `eval` finds in several epochs in a row. In the first epochs they may be near
    each other for a while; the model is not left with the weights of such an epoch. What the weights are worth that it
    starts from is measured, too: an embedding tells much of a user's activity untrained.
    """

    def run(self) -> dict[str, Any]:
        """See `loop.Loop.run`; and `at_start`, the objective before the first step.

        Raises:
          TrainingError: if the embeddings have collapsed.
        """
        if not self._settings.epochs:
            return super().run()
        objective = self.evaluation.objective
        at_start = self._replicas.of_chief({objective: self.evaluation.evaluate()[objective]})[objective]
        history = super().run()
        by_number = {epoch["epoch"]: epoch for epoch in history["epochs"]}
        if history["best_epoch"] not in by_number:
            measured = [epoch for epoch in history["epochs"] if objective in epoch]
            self._fail(measured[-1:])
        best = by_number[history["best_epoch"]][objective]
        if best <= at_start:
            _PROGRESS.warning(
                "%s is %s before training and %s at best: by this the training has taught nothing",
                objective,
                figures.metric(at_start),
                figures.metric(best),
            )
        return {**history, "at_start": at_start}

    def after_step(self) -> None:
        """The teacher's weights are m times themselves plus 1 - m times the student's, on all replicas."""
        pairs = self.model.teacher_pairs
        if not pairs:
            return
        steps = self._settings.epochs * self._epoch_steps()
        momentum = self.model.momentum_at(self._groups[0].optimizer.iterations, steps)
        moved = [(teacher, momentum * teacher + (1.0 - momentum) * student) for teacher, student in pairs]
        gradients.update(lambda variable, value: variable.assign(value), moved)

    def _restore(self) -> None:
        super()._restore()
        if self._resumed is None:
            # What the student starts from may be another model's.
            with self._strategy.scope():
                self.model.follow(0.0)
        self._check()

    def _train_epoch(self) -> None:
        super()._train_epoch()
        # By now the epoch is in the history and in TensorBoard.
        self._check()

    def _may_be_best(self, epoch: dict[str, Any]) -> bool:
        return super()._may_be_best(epoch) and not self._too_low([epoch])

    def _check(self) -> None:
        """Raises TrainingError if embeddings have collapsed in the last epochs that were evaluated."""
        last = [epoch for epoch in self._history if self.evaluation.objective in epoch]
        last = last[-self.model.settings.collapse_epochs :]
        if len(last) == self.model.settings.collapse_epochs and self._too_low(last):
            self._fail(last)

    def _too_low(self, epochs: Sequence[dict[str, Any]]) -> tuple[str, str, str] | None:
        """What of the embeddings is lower than asked in all of some epochs: whose, by which metric and which setting."""
        for what, prefix in (("the embeddings of users", ""), ("what is to be predicted", "target_")):
            for name, key in ((embeddings.SPREAD, "min_spread"), (embeddings.EFFECTIVE_RANK, "min_rank")):
                found = [epoch[prefix + name] for epoch in epochs if prefix + name in epoch]
                if found and max(found) < getattr(self.model.settings, key):
                    return what, prefix + name, key
        return None

    def _fail(self, epochs: Sequence[dict[str, Any]]) -> NoReturn:
        """Raises TrainingError because of epochs, each with embeddings that are too near each other."""
        low = self._too_low(epochs)
        assert low is not None
        what, metric, key = low
        settings, last = self.model.settings, epochs[-1]
        raise loop.TrainingError(
            f"epoch {last['epoch']}: {what} have collapsed: {metric.removeprefix('target_')} {figures.metric(last[metric])} on "
            f"eval, asked: at least {getattr(settings, key):g} (model.{key}) in one of {len(epochs)} epoch(s); "
            f"{settings.against_collapse}lower training.learning_rate"
        )
