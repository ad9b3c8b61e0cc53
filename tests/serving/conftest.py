"""Servers of the exported toy models (see tests/conftest.py), which tests share that change nothing."""

import contextlib
import shutil

import pytest

from serving import server as server_lib


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
