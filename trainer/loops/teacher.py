"""Pretraining of embeddings: a teacher follows its student (BYB, section 4.1), and a collapse stops the training."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

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
            last = history["epochs"][-1]
            low = self._too_low([last])
            assert low is not None
            what, metric, value, asked = low
            raise loop.TrainingError(
                f"training ended after epoch {last['epoch']} ({history['stopped']}), and no epoch is fit to be the model: "
                f"{what} have {metric} {value} on eval, asked: at least {asked}: they may be near each other at the start, so "
                "train longer, evaluate more often (training.evaluate_every), or lower training.learning_rate"
            )
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

    def _may_be_best(self, epoch: Mapping[str, Any]) -> bool:
        return super()._may_be_best(epoch) and not self._too_low([epoch])

    def _check(self) -> None:
        """Raises TrainingError if embeddings have collapsed in the last epochs that were evaluated."""
        settings = self.model.settings
        # What a training starts from is no epoch of it.
        last = [epoch for epoch in self._history if epoch["epoch"] and self.evaluation.objective in epoch]
        last = last[-settings.collapse_epochs :]
        low = self._too_low(last) if len(last) == settings.collapse_epochs else None
        if low is not None:
            what, metric, value, asked = low
            raise loop.TrainingError(
                f"epoch {last[-1]['epoch']}: {what} have collapsed: {metric} {value} on eval, asked: at least {asked} in one "
                f"of {len(last)} epoch(s); {settings.against_collapse}lower training.learning_rate"
            )

    def _too_low(self, epochs: Sequence[Mapping[str, Any]]) -> tuple[str, str, str, str] | None:
        """What is lower than asked in all of some epochs: whose embeddings, which metric, its last value, and what is asked."""
        for what, prefix in (("the embeddings of users", ""), ("what is to be predicted", "target_")):
            for name, key in ((embeddings.SPREAD, "min_spread"), (embeddings.EFFECTIVE_RANK, "min_rank")):
                least = getattr(self.model.settings, key)
                found = [epoch[prefix + name] for epoch in epochs if prefix + name in epoch]
                if found and max(found) < least:
                    return what, name, figures.metric(found[-1]), f"{least:g} (model.{key})"
        return None
