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


def test_a_pretrained_model_is_told_by_its_run_its_digest_and_what_it_has_learnt_from():
    rows = {"items": {"kept": 3476, "new": 93}}
    base = {"from": "runs/byb/serving/byb/17", "weights": 61, "of": 61, "rows": rows}

    def told(**more):
        return training.training({"epochs": [], "base_model": {**base, **more}})["base_model"]

    assert told(digest="48176d3d8e5d4a43", last_day="2011-08-31") == (
        "run runs/byb, version 17 (digest 48176d3d, learnt from events up to 2011-08-31): 61 of 61 weights; "
        "items: 3,476 known, 93 new"
    )
    # Of a run of an earlier version, and of a model that belongs to no run.
    assert told().startswith("run runs/byb, version 17: 61 of 61")
    assert told(**{"from": "/models/17", "digest": "48176d3d8e5d4a43", "last_day": None}).startswith(
        "/models/17 (digest 48176d3d): 61"
    )


def test_one_age_is_no_chart():
    history = {
        "epochs": [],
        "attention_by_age": {"bucket": "week", "ages": [0], "attention": [1.0], "users": [9]},
    }
    assert training.training(history)["plots"] == []
