"""A linear probe: what a logistic regression on embeddings of users tells of labels that the embeddings were not trained for."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from schemas import auc, embeddings, errors, names
from trainer import input as input_lib
from trainer import regression

# Of each value of a label, see `drawn`.
_LEAST = 64
Embed = Callable[[Mapping[str, tf.Tensor]], np.ndarray]


class LinearProbe:
    """Fits a logistic regression for each label on embeddings of training windows, and measures it on those of `eval`.

    Embeddings are standardised by the means and deviations of the training windows whose label is known; the regression has
    an L2 penalty of 1. Of more windows than `embeddings.MOST` on a side about as many are drawn, always the same ones, see
    `drawn`; those whose label is unknown are left out.

    Args:
      train, evaluated: features of windows, `[W, ...]` each, with LABEL_PREFIX features among them.
      labels: their names.

    Raises:
      errors.InputError: if no label has both values on both sides.
    """

    def __init__(
        self, train: Mapping[str, tf.Tensor], evaluated: Mapping[str, tf.Tensor], labels: Sequence[str]
    ):
        self._sides = [drawn(side, labels) for side in (train, evaluated)]
        self._known: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for label in labels:
            of_sides = [side[names.LABEL_PREFIX + label].numpy().reshape(-1) for side in self._sides]
            rows = [np.flatnonzero(values != names.UNKNOWN_LABEL) for values in of_sides]
            found = [(row, values[row]) for row, values in zip(rows, of_sides)]
            if all(len(np.unique(values)) == 2 for _, values in found):
                self._known[label] = found
        if not self._known:
            raise errors.InputError(
                f"window.labels: of {', '.join(labels)} none is both 0 and 1 in training and in eval, so that no linear probe "
                "can be fitted: leave labels out of the pretraining, or choose others"
            )

    @property
    def names(self) -> list[str]:
        """The metrics that `evaluate` gives, the mean first."""
        return [embeddings.PROBE_AUC, *(f"{embeddings.PROBE_AUC}/{label}" for label in self._known)]

    def evaluate(self, embed: Embed) -> dict[str, float]:
        """The area under the ROC curve on `eval`, of each label and their mean.

        Args:
          embed: gives embeddings `[W, D]` of windows.
        """
        train, evaluated = (embed(side) for side in self._sides)
        found = {}
        for label, ((rows, values), (tested, wanted)) in self._known.items():
            weights, _ = regression.LogisticRegression(train[rows], values).at()
            found[f"{embeddings.PROBE_AUC}/{label}"] = auc.of_scores(evaluated[tested] @ weights, wanted)
        return {embeddings.PROBE_AUC: float(np.mean(list(found.values()))), **found}


def drawn(held: Mapping[str, tf.Tensor], labels: Sequence[str] = ()) -> dict[str, tf.Tensor]:
    """At most `embeddings.MOST` windows, always the same ones, in their order; and more of a label's rarer value.

    Of that there are at least `_LEAST`, as far as there are: an AUC does not depend on how many there are of each.
    """
    total = len(next(iter(held.values())))
    if total <= embeddings.MOST:
        return dict(held)
    order = np.random.default_rng(0).permutation(total)
    parts = [order[: embeddings.MOST]]
    for label in labels:
        values = held[names.LABEL_PREFIX + label].numpy().reshape(-1)[order]
        parts += [order[values == value][:_LEAST] for value in (0, 1)]
    chosen = np.unique(np.concatenate(parts))
    return input_lib.taken(held, chosen)
