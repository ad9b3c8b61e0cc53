"""Metrics as text."""

import numpy as np
import pytest

from schemas import figures


@pytest.mark.parametrize(
    "value, text",
    [
        (0.123449, "0.1234"),
        (1, "1.0000"),
        (np.float32(0.5), "0.5000"),
        (np.int64(2), "2.0000"),
        (-0.5, "-0.5000"),
        (0.0, "0.0000"),
        # It is not zero.
        (0.00001, "1.0e-05"),
        (0.00005, "0.0001"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (True, "–"),
        ("0.5", "–"),
    ],
)
def test_metrics(value, text):
    assert figures.metric(value) == text


def test_differences_intervals_and_means():
    assert [figures.signed(value) for value in (0.01234, -0.5, 0.0, -1e-7, None)] == [
        "+0.0123",
        "-0.5000",
        "0.0000",
        "0.0000",
        "–",
    ]
    assert figures.signed(-0.5, figures.MINUS) == "\u22120.5000"
    assert figures.estimate(0.5) == "0.5000"
    assert figures.estimate(0.5, 0.25, 0.75) == "0.5000 [0.2500, 0.7500]"
    assert figures.mean(0.5, None) == "0.5000" and figures.mean(0.5, 0.1) == "0.5000 ± 0.1000"
