"""How far embeddings tell two classes of users apart."""

import numpy as np

from schemas import auc
from trainer import regression

# Fewer users of a class would be noise.
LEAST = 20
_FOLDS = 5


def separation(embeddings: np.ndarray, classes: np.ndarray) -> float:
    """The area under the ROC curve of a fresh logistic regression on embeddings, cross-validated: 1/2 where they tell nothing.

    Embeddings are standardised; the regression has an L2 penalty of 1. The mean over five stratified folds.

    Args:
      embeddings: `[U, D]`, of different users.
      classes: `[U]`, 0 or 1, at least `LEAST` of each.

    Raises:
      ValueError: if there are fewer of one.
    """
    # Imported where it is asked for: scikit-learn takes a second.
    from sklearn import model_selection

    classes = np.asarray(classes, np.int64)
    counts = np.bincount(classes, minlength=2)
    if counts.min() < LEAST:
        raise ValueError(f"classes are told apart by at least {LEAST} users of each, found {counts.tolist()}")
    folds = model_selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    found = []
    for fitted, held in folds.split(embeddings, classes):
        weights, _ = regression.LogisticRegression(embeddings[fitted], classes[fitted]).at()
        found.append(auc.of_scores(embeddings[held] @ weights, classes[held]))
    return float(np.mean(found))
