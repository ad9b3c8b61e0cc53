"""Window kinds and objectives, and that what names one names one that there is."""

import pytest

from schemas import errors, kinds
from trainer import registry


def test_entries_have_the_names_they_are_found_by():
    for entries in (kinds.WINDOW_KINDS, kinds.OBJECTIVES):
        assert all(name == entry.name for name, entry in entries.items())
    assert kinds.window_kind("exposure").key == ("user_id", "item_id", "timestamp")
    assert kinds.objective("labels").metric == "auc"


def test_every_model_names_kinds_and_an_objective_that_there_are():
    for settings in registry.MODELS.values():
        assert settings.window_kinds and {kinds.window_kind(kind).name for kind in settings.window_kinds}
        assert kinds.objective(settings.objective)


def test_another_name_is_refused_with_what_there_is():
    with pytest.raises(
        errors.InputError, match="no window kind is named 'period2'; there are next, period, exposure"
    ):
        kinds.window_kind("period2")
    with pytest.raises(errors.InputError, match="no objective is named 'x'; there are ranking, labels"):
        kinds.objective("x")
