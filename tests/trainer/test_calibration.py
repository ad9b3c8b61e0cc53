"""Platt's calibration."""

import numpy as np
import pytest

from trainer import calibration


def sample(slope, offset, count=50_000, seed=1):
    """Logits x whose labels are drawn from sigmoid(slope x + offset)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, count)
    return logits, (rng.random(count) < 1 / (1 + np.exp(-(slope * logits + offset)))).astype(np.int64)


@pytest.mark.parametrize("slope, offset", [(1.0, 0.0), (0.4, -2.0), (3.0, 1.5), (1.0, -9.0)])
def test_it_finds_what_the_labels_were_drawn_from(slope, offset):
    logits, labels = sample(slope, offset)
    found = calibration.platt(logits, labels)
    if offset > -5:
        np.testing.assert_allclose(found, (slope, offset), atol=0.1)
    likely = 1 / (1 + np.exp(-(found[0] * logits + found[1])))
    assert likely.sum() == pytest.approx(labels.sum(), rel=1e-3)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1], []])
def test_a_single_class_teaches_nothing(labels):
    assert calibration.platt(np.arange(len(labels), dtype=float), np.array(labels)) == (1.0, 0.0)


def test_separable_classes_have_a_finite_slope():
    slope, offset = calibration.platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    assert 1 < slope < 3 and abs(offset) < 1e-6


@pytest.mark.parametrize("size", [1e-6, 1e3])
def test_logits_of_any_size(size):
    logits, labels = sample(0.5, 0.0, 1000)
    found = calibration.platt(size * logits, labels)
    assert np.isfinite(found).all() and found[0] > 0


def test_the_order_of_exposures_is_never_turned_round():
    logits, labels = sample(-1.0, 0.5)
    slope, offset = calibration.platt(logits, labels)
    assert slope == 1
    assert (1 / (1 + np.exp(-(logits + offset)))).mean() == pytest.approx(labels.mean(), rel=1e-4)
