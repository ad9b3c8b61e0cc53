"""What is said of a model that a training started from."""

import pytest

from trainer import started

FOUND = {
    "from": "runs/byb/serving/byb/17",
    "weights": 61,
    "of": 61,
    "rows": {"items": {"kept": 2900, "new": 577, "new_events": 0.2345}, "scenes": {"kept": 3, "new": 0}},
}


def test_a_warm_start_tells_what_fitted_alone():
    rows = {"items": {"kept": 1680, "new": 2}}
    assert started.words({**FOUND, "rows": rows}) == "61 of 61 weights; items: 1,680 known, 2 new"


@pytest.mark.parametrize(
    "frozen, rule",
    [
        (True, "are as unknown ones (frozen: true)"),
        (False, "have rows of their own, which this training alone trains"),
    ],
)
def test_of_a_pretrained_model_the_share_of_events_and_what_becomes_of_new_values_are_told(frozen, rule):
    found = {**FOUND, "frozen": frozen}
    assert started.words(found) == (
        "61 of 61 weights; items: 2,900 known, 577 new (23.4% of events); scenes: 3 known, 0 new; "
        f"new ones {rule}"
    )
    assert started.warning(found) == (
        "model.base_model: runs/byb/serving/byb/17: 23.4% of the events that are trained on have values of items that it "
        f"has not met, which {rule}: a newer pretraining may know them"
    )


@pytest.mark.parametrize("items", [{"kept": 1, "new": 99}, {"kept": 90, "new": 9, "new_events": 0.09}])
def test_few_events_or_none_that_are_counted_are_no_warning(items):
    assert started.warning({**FOUND, "rows": {"items": items}, "frozen": False}) is None


def test_where_nothing_is_new_there_is_no_rule():
    rows = {"items": {"kept": 9, "new": 0, "new_events": 0.0}}
    assert started.words({**FOUND, "rows": rows, "frozen": True}).endswith("; items: 9 known, 0 new")
