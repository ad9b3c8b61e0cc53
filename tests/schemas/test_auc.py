"""The area under the ROC curve, against its definition."""

import numpy as np
import pytest

from schemas import auc


def by_pairs(scores, labels):
    """AUC by its definition, over all pairs."""
    differences = scores[labels == 1][:, None] - scores[labels == 0][None]
    return ((differences > 0) + 0.5 * (differences == 0)).mean()


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auc_is_that_of_all_pairs(levels):
    rng = np.random.default_rng(levels)
    scores, labels = rng.integers(0, levels, 300).astype(float), rng.integers(0, 2, 300)
    assert auc.of_scores(scores, labels) == pytest.approx(by_pairs(scores, labels), abs=1e-12)
    assert auc.of_scores(np.zeros(300), labels) == 0.5
    assert auc.of_scores(labels.astype(float), labels) == 1.0
    # Of two resamples, in which each example counts once or twice.
    weights = rng.integers(1, 3, [2, 300])
    counts = [
        np.stack([np.bincount(scores.astype(int), w * (labels == label), levels) for w in weights])
        for label in (1, 0)
    ]
    repeated = [by_pairs(np.repeat(scores, w), np.repeat(labels, w)) for w in weights]
    np.testing.assert_allclose(auc.of_counts(*counts), repeated, rtol=1e-12)


def test_auc_of_one_class_is_undefined():
    assert np.isnan(auc.of_scores(np.arange(3.0), np.ones(3)))
    assert np.isnan(auc.of_scores(np.arange(0.0), np.ones(0)))
    assert np.isnan(auc.of_counts(np.zeros([2, 3]), np.ones([2, 3]))).all()
