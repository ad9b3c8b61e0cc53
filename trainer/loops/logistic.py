"""Logistic regression on embeddings that stay as they are, in place of steps."""

import logging
import time
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import names
from trainer import regression
from trainer.loops import rows

_PROGRESS = logging.getLogger("footfall.progress")


class LogisticFit(rows.RowFit):
    """Fits the head of each label to the optimum, for each penalty, and keeps the penalty that is best on `eval`.

    Embeddings are standardised by the training rows' means and deviations, which the heads then have in their weights: what
    is exported reads embeddings as they are. Rows whose label is unknown do not count for it. A label that has one value
    only is told by its rate. There is nothing to resume: a killed run is fitted again, in the time of some epochs.

    Args:
      build: makes a model that trains nothing but `assign_heads`, see `ModelSettings.heads_only`.
      own: the penalties, `LogisticRegressionSettings`.
      settings, strategy, train, evaluate, checkpoint_dir, log_dir: see `loop.Loop`.
    """

    def run(self) -> dict[str, Any]:
        """Fits the heads.

        Returns:
          See `loop.Loop.run`; and `penalties`, of each label the one that was kept, None where there was nothing to fit.
        """
        start = time.monotonic()
        self.settle()
        held = self._rows.gather(tf.range(self._rows.count))
        steps, labels = self.model.exposures.steps, self.model.labels(held).numpy()
        embeddings = held[names.EMBEDDING].numpy().astype(np.float64)
        fits = [regression.LogisticRegression(embeddings, labels[:, place]) for place in range(len(steps))]
        kept: dict[str, tuple[float, float]] = {}
        heads = {
            step: (np.zeros(embeddings.shape[1]), rate_logit)
            for step, rate_logit in zip(steps, self.model.rate_logits)
        }
        # The strongest first, which stays where others are no better.
        for penalty in sorted(self._own_settings.penalties, reverse=True):
            found = {step: fit.at(penalty) for step, fit in zip(steps, fits) if fit.both}
            self._assign({**heads, **found})
            metrics = self.evaluation.evaluate()
            for step, head in found.items():
                # Where `eval` has one value of a label, its log loss says something still.
                worth = metrics.get(f"auc/{step}", -metrics.get(f"log_loss/{step}", np.inf))
                if step not in kept or worth > kept[step][1]:
                    kept[step], heads[step] = (penalty, worth), head
        self._assign(heads)
        record = {"epoch": 0, **self.evaluation.evaluate(), "seconds": time.monotonic() - start}
        self._history.append(record)
        penalties = {step: kept[step][0] if step in kept else None for step in steps}
        _PROGRESS.info(
            "logistic regression on %d embeddings in %.1f s; penalties: %s",
            len(embeddings),
            record["seconds"],
            ", ".join(f"{step} {penalty}" for step, penalty in penalties.items()),
        )
        return {**self._result("fitted"), "penalties": penalties}

    def _assign(self, heads: dict[str, tuple[np.ndarray, float]]) -> None:
        found = [heads[step] for step in self.model.exposures.steps]
        self.model.assign_heads(np.stack([weights for weights, _ in found]), [bias for _, bias in found])
