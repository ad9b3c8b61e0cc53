"""Logistic regression on embeddings, fitted to its optimum: what a loop, a probe and a comparison of classes read them with."""

import numpy as np


class LogisticRegression:
    """The logistic regressions of a label with an L2 penalty, one for each penalty that is asked for.

    Embeddings are standardised by the mean and the deviation of the rows whose label is known, and the penalty is of the
    weights of standardised ones.

    Args:
      embeddings: `[N, D]`.
      labels: `[N]`, 1, 0, or negative where it is unknown.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray):
        # Imported where it is asked for: scikit-learn takes a second.
        from sklearn import preprocessing

        known = labels >= 0
        self._labels = labels[known]
        self._scaler = preprocessing.StandardScaler().fit(embeddings[known].astype(np.float64))
        self._standardised = self._scaler.transform(embeddings[known].astype(np.float64))

    @property
    def both(self) -> bool:
        """Whether the label has both values, without which there is nothing to fit."""
        return len(np.unique(self._labels)) == 2

    def at(self, penalty: float = 1.0) -> tuple[np.ndarray, float]:
        """The weights `[D]` of embeddings as they are, and the bias.

        Args:
          penalty: lambda of the summed cross-entropy plus lambda / 2 times the sum of the squared weights (1 / C in
            scikit-learn).
        """
        from sklearn import linear_model

        # Rows are many and numbers few: Newton's steps are few, and the optimum is exact.
        regression = linear_model.LogisticRegression(C=1 / penalty, solver="newton-cholesky", max_iter=1000)
        regression.fit(self._standardised, self._labels)
        weights = regression.coef_[0] / self._scaler.scale_
        return weights, float(regression.intercept_[0] - weights @ self._scaler.mean_)
