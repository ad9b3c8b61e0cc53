"""Sums of examples by cells of the score."""

import numpy as np

from components.evaluator import conversion_sums


def test_cells_ascend_and_are_narrow():
    scores = np.sort(np.random.default_rng(0).random(10_000))
    found = conversion_sums.cells(scores)
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() < 4096
    logits = np.log(scores / (1 - scores))
    for cell in np.unique(found):
        assert np.ptp(logits[found == cell]) < 1 / 128 + 1e-9
    assert conversion_sums.cells(np.array([0.0, 1.0])).tolist() == [0, 4095]
