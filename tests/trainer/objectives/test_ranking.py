"""What models of next items know of the data."""

import types

import pytest

from components.transform import spec
from schemas import names
from tests import fixtures
from trainer.objectives import ranking


@pytest.mark.parametrize("future, has_period", [(86_400.0, True), (None, False)])
def test_known(tmp_path, future, has_period):
    windows = fixtures.random_windows(20, 6)
    output = fixtures.build_transform_output(str(tmp_path), windows)
    window = types.SimpleNamespace(length=fixtures.LENGTH, has_period=has_period, future=future)
    found = ranking.RANKING.known(
        output, types.SimpleNamespace(window=window, features=spec.FeaturesSpec()), []
    )
    assert found.size == output.vocabulary_size_by_name(names.ITEM_VOCABULARY)
    assert (found.window_length, found.scenes, found.period_seconds) == (fixtures.LENGTH, 0, future)
