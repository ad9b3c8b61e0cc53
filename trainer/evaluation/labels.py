"""Evaluation of models of labels within training: exact AUC and log loss of each step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import auc, errors
from trainer import calibration
from trainer import input as input_lib


class StepMetrics:
    """AUC and log loss of a model over exposures; unknown labels do not count for their step.

    Args:
      model: a `LabelModel`.
      exposures: blocks of `input.read` with the features and labels of the model.
      batch_size: exposures at a time.

    Raises:
      errors.InputError: if no label has both positives and negatives.
    """

    # What early stopping goes by, the larger the better.
    objective = "auc"

    def __init__(self, model: Any, exposures: tf.data.Dataset, batch_size: int = 4096):
        self._model, self._batch_size = model, batch_size
        held = input_lib.columns(exposures)
        self._features = {name: held[name] for name in model.inputs_read}
        self._labels = model.labels(held).numpy()
        steps = model.exposures.steps
        if not any(len(np.unique(found[found >= 0])) == 2 for found in self._labels.T):
            counts = ", ".join(
                f"{step} {int((found == 1).sum())} of {int((found >= 0).sum())}"
                for step, found in zip(steps, self._labels.T)
            )
            raise errors.InputError(
                f"no label is both positive and negative in eval (positive: {counts}): nothing "
                "says when to stop training: choose other labels, or a split whose eval has more days or more users"
            )
        self._infer = tf.function(
            lambda batch: model.calibrated_logits(batch, training=False),
            reduce_retracing=True,
            autograph=False,
        )

    def settle(self, settle: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]) -> None:
        """Keeps what `LabelModel.settled` makes of the features in place of them, for the rest of a training."""
        parts = [settle(batch) for batch in input_lib.in_parts(self._features, self._batch_size)]
        self._features = input_lib.joined(parts)

    def logits(self) -> np.ndarray:
        """The model's calibrated logits, `[N, T]` float64."""
        batches = input_lib.in_parts(self._features, self._batch_size)
        return np.concatenate([self._infer(batch).numpy() for batch in batches]).astype(np.float64)

    def evaluate(self) -> dict[str, float]:
        """`auc/STEP` and `log_loss/STEP`, their means over the steps `auc` and `log_loss`, and `exposures`.

        A step with one class has no AUC, and is left out of the mean; one without labels has no log loss.
        """
        logits = self.logits()
        metrics: dict[str, float] = {}
        means: dict[str, list] = {"auc": [], "log_loss": []}
        for place, step in enumerate(self._model.exposures.steps):
            own, labels = self._known(logits, place)
            values = {"auc": auc.of_scores(own, labels), "log_loss": log_loss(own, labels)}
            for name, value in values.items():
                if np.isfinite(value):
                    metrics[f"{name}/{step}"] = value
                    means[name].append(value)
        metrics.update((name, float(np.mean(values))) for name, values in means.items())
        return {**metrics, "exposures": len(self._labels)}

    def calibrate(self) -> dict[str, Any]:
        """Fits and sets the model's calibration, `calibration.platt` for each step.

        Returns:
          For `history.json`: `slope` and `offset` of each step, and the mean log loss before and after.
        """
        logits = self.logits()
        before = self.evaluate()["log_loss"]
        fitted = []
        for place in range(len(self._model.exposures.steps)):
            fitted.append(calibration.platt(*self._known(logits, place)))
        slopes, offsets = np.transpose(fitted)
        self._model.calibrate(slopes, offsets)
        return {
            "steps": {
                step: {"slope": slope, "offset": offset}
                for step, (slope, offset) in zip(self._model.exposures.steps, fitted)
            },
            "log_loss_before": before,
            "log_loss_after": self.evaluate()["log_loss"],
        }

    def _known(self, logits: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The logits and labels of a step, of the exposures of which it is known."""
        known = self._labels[:, place] >= 0
        return logits[known, place], self._labels[known, place]


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy of sigmoid(logits), in nats; NaN of nothing."""
    return float(np.mean(np.logaddexp(0, logits) - labels * logits)) if len(labels) else float("nan")
