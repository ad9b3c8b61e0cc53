"""Every objective of `schemas.kinds` is trained, and another one can be added."""

import pytest

from schemas import errors, kinds
from trainer import objectives, registry
from trainer.objectives import objective


@pytest.mark.parametrize("name", kinds.OBJECTIVES)
def test_every_objective_is_trained(name):
    assert isinstance(objectives.get(name), objective.Objective)


def test_every_model_has_an_objective_that_there_is():
    assert {entry.objective for entry in registry.MODELS.values()} <= set(kinds.OBJECTIVES)
    assert set(kinds.OBJECTIVES) == set(objectives.OBJECTIVES)


def test_an_objective_is_added_by_a_name_and_an_unknown_one_is_named(monkeypatch):
    with pytest.raises(errors.InputError, match="'future'; there are ranking, labels, user_embedding"):
        objectives.get("future")
    mine = object()
    monkeypatch.setitem(objectives.OBJECTIVES, "future", mine)
    assert objectives.get("future") is mine
