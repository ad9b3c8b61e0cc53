"""Logistic regressions at their optimum."""

import numpy as np
import pytest

from schemas import auc
from trainer import regression
from trainer.evaluation import classes


def drawn(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = (rng.normal(size=[rows, 5]) * [1, 10, 0.1, 3, 1] + [0, 5, 0, -2, 1]).astype(np.float32)
    chance = 1 / (1 + np.exp(-(embeddings @ [1.0, 0.1, -5.0, 0.0, 0.3])))
    return embeddings, (rng.random(rows) < chance).astype(np.int64)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
def test_the_gradient_is_zero_at_what_is_found(penalty):
    embeddings, labels = drawn()
    weights, bias = regression.LogisticRegression(embeddings, labels).at(penalty)
    # Of the objective by hand, in standardised embeddings.
    x = embeddings.astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    error = 1 / (1 + np.exp(-(x @ weights + bias))) - labels
    np.testing.assert_allclose(
        ((x - mean) / deviation).T @ error + penalty * weights * deviation, 0, atol=0.05
    )
    assert error.sum() == pytest.approx(0, abs=0.05)


def test_rows_whose_label_is_unknown_make_no_difference():
    embeddings, labels = drawn()
    unknown = np.concatenate([embeddings, 100 + embeddings[:50]])
    found = regression.LogisticRegression(unknown, np.concatenate([labels, np.full(50, -1)])).at()
    want = regression.LogisticRegression(embeddings, labels).at()
    np.testing.assert_array_equal(found[0], want[0])
    assert found[1] == want[1]


def test_a_number_that_never_changes_is_no_error():
    embeddings, labels = drawn()
    weights, _ = regression.LogisticRegression(
        np.concatenate([embeddings, 7 * np.ones([300, 1])], 1), labels
    ).at()
    assert np.isfinite(weights).all() and weights[-1] == 0


def test_classes_are_told_apart_by_rows_that_were_not_fitted():
    embeddings, labels = drawn(400)
    told = classes.separation(embeddings, labels)
    assert auc.of_scores(embeddings @ [1.0, 0.1, -5.0, 0.0, 0.3], labels) == pytest.approx(told, abs=0.03)
    # As many numbers as half of the rows: those that are fitted would be told apart without error.
    noise = np.random.default_rng(1).normal(size=[400, 200])
    assert classes.separation(noise, labels) == pytest.approx(0.5, abs=0.12)
    with pytest.raises(ValueError, match=r"at least 20 users of each, found \[10, 390\]"):
        classes.separation(embeddings, np.arange(400) >= 10)
