"""Exported toy models for the tests of serving, and servers of them that tests share which change nothing."""

import contextlib
import shutil

import pytest

from serving import server as server_lib
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


@contextlib.contextmanager
def serving(base, exported, name, **options):
    """A server of an export as version 7."""
    shutil.copytree(exported / "model", base / "7")
    with server_lib.Server(str(base), name, **options) as server:
        yield server


@pytest.fixture(scope="session")
def toy_server(toy, tmp_path_factory):
    """Of the model "toy"; requests have at most 1 MB."""
    with serving(tmp_path_factory.mktemp("base"), toy, "toy", max_message_bytes=1 << 20) as server:
        yield server


@pytest.fixture(scope="session")
def shop_server(shop, tmp_path_factory):
    """Of the model "shop"."""
    with serving(tmp_path_factory.mktemp("base"), shop, "shop") as server:
        yield server
