"""An exported toy model for the tests of serving."""

import pytest

from tests import exposure_fixtures, fixtures


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The folder of a toy export over 20 items with behaviours; the SavedModel is in `model`."""
    folder = tmp_path_factory.mktemp("toy")
    fixtures.export_toy_model(str(folder), 20, behaviors=True)
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """The folder of an exported model of exposures; the SavedModel is in `model`."""
    folder = tmp_path_factory.mktemp("shop")
    exposure_fixtures.export_toy_model(str(folder))
    return folder
