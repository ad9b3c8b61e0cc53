"""How far embeddings tell two classes of users apart."""

import numpy as np

# Fewer users of a class would be noise.
LEAST = 20
_FOLDS = 5


def separation(embeddings: np.ndarray, classes: np.ndarray) -> float:
    """The area under the ROC curve of a fresh logistic regression on embeddings, cross-validated: 1/2 where they tell nothing.

    Embeddings are standardised; the regression has an L2 penalty (scikit-learn's default, C = 1). The mean over five
    stratified folds.

    Args:
      embeddings: `[U, D]`, of different users.
      classes: `[U]`, 0 or 1, at least `LEAST` of each.

    Raises:
      ValueError: if there are fewer of one.
    """
    # Imported where it is asked for: scikit-learn takes a second.
    from sklearn import linear_model, model_selection, pipeline, preprocessing

    counts = np.bincount(np.asarray(classes, np.int64), minlength=2)
    if counts.min() < LEAST:
        raise ValueError(f"classes are told apart by at least {LEAST} users of each, found {counts.tolist()}")
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=1000)
    )
    folds = model_selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    found = model_selection.cross_val_score(
        model, embeddings.astype(np.float64), classes, cv=folds, scoring="roc_auc"
    )
    return float(found.mean())
