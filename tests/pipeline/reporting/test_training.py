"""The charts of a training in the report."""

import pytest

from pipeline.reporting import training


def test_attention_by_age_is_a_chart_of_its_own():
    """As figure 5 of BYB: ages from the moment backwards, beside what equal attention would be."""
    history = {
        "epochs": [{"epoch": number, "loss": 1.0 / number} for number in (1, 2)],
        "best_epoch": 2,
        "objective": "neighbor_agreement",
        "attention_by_age": {
            "bucket": "day",
            "ages": [0, 1, 7],
            "attention": [1.5, 1.0, 0.5],
            "users": [9, 8, 7],
        },
    }
    found = training.training(history)["plots"]
    assert [one["title"] for one in found] == [
        "Training loss",
        "Attention to a day, over that of all days alike, by its age",
    ]
    chart = found[-1]
    assert chart["of"] == "days before the moment"
    across = [float(point.split(",")[0]) for point in chart["path"].split()]
    down = [float(point.split(",")[1]) for point in chart["path"].split()]
    # The seventh day is seven times as far from the left edge as the first; less attention is lower, by as much.
    assert across[2] - across[0] == pytest.approx(7 * (across[1] - across[0]), abs=0.5)
    assert down[2] - down[1] == pytest.approx(down[1] - down[0], abs=0.2) and down[1] > down[0]


def test_one_age_is_no_chart():
    history = {
        "epochs": [],
        "attention_by_age": {"bucket": "week", "ages": [0], "attention": [1.0], "users": [9]},
    }
    assert training.training(history)["plots"] == []
