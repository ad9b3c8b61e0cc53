"""What every test shares."""

import contextlib
import itertools
import logging
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# What XLA compiles runs for milliseconds: LLVM's part of it is a fifth of a test of a model.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest

import schemas  # noqa: F401  selects Keras 2 before any test imports TensorFlow
from schemas import collector
from tests import shared

# Without the cycle collector until all tests are found, with all that they import.
_IMPORTING = contextlib.ExitStack()
# Where the longest files are, see `pytest_collection_modifyitems`.
_LONG = ("tests/e2e/", "tests/trainer/", "tests/benchmarks/", "tests/docs/")


def pytest_configure(config):
    """A folder for what is made once and what Beam and TensorFlow leave behind, and two devices on every machine.

    The devices have to be said before TensorFlow starts. xdist's own process, which only hands tests out, does
    without TensorFlow.
    """
    if not hasattr(config, "workerinput"):
        # pytest's own folders stay where they are looked for.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        made = tempfile.TemporaryDirectory(prefix="footfall-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(made.cleanup)
        os.environ[shared.FOLDER] = made.name
        os.environ["TMPDIR"] = tempfile.tempdir = os.path.join(made.name, "tmp")
        os.mkdir(tempfile.tempdir)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        _IMPORTING.enter_context(collector.importing())
        import tensorflow as tf

        from components import embedded_beam
        from tests import kernels

        kernels.keep()
        embedded_beam.tune()
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )


def pytest_collection_modifyitems(items):
    """Long files come first: when the last ones are handed out, a process with nothing left waits for the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_collection_finish():
    """All is imported."""
    _IMPORTING.close()


def pytest_runtest_teardown(item, nextitem):
    """The kernels of a file's models are of no use to the next file."""
    if nextitem is None or nextitem.path != item.path:
        from tests import kernels

        kernels.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol():
    """What a test, or a fixture that it was the first to ask for, sets of the loggers is not for those that follow."""
    before = {one: (one.level, list(one.handlers)) for one in _loggers()}
    yield
    for one in _loggers():
        level, handlers = before.get(one, (logging.NOTSET, []))
        if one.level != level:
            one.setLevel(level)
        one.handlers[:] = handlers


def _loggers():
    known = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    return [logging.root, *known]


@pytest.hookimpl(hookwrapper=True)
def pytest_report_to_serializable():
    """Half a character of a hostile text in what a test shows, or in its log, would end xdist's worker."""
    outcome = yield
    outcome.force_result(_sendable(outcome.get_result()))


def _sendable(value):
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_sendable(key): _sendable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_sendable, value))
    return value


_KEYS = itertools.count(100_000, 100_000)
_SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """A function from a file's name below the data folder to its path; skips where it is absent."""

    def find(name: str) -> pathlib.Path:
        path = _SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"needs {path}")
        return path

    return find


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The folder of a toy export over 20 items with behaviours; the SavedModel is in `model`."""
    from tests import fixtures

    folder = tmp_path_factory.mktemp("toy")
    shared.once(str(folder), "toy", lambda made: fixtures.export_toy_model(made, 20, behaviors=True))
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """As `toy`, of a model that takes no behaviours."""
    from tests import fixtures

    folder = tmp_path_factory.mktemp("plain")
    shared.once(str(folder), "plain", fixtures.export_toy_model)
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """The folder of an exported model of exposures; the SavedModel is in `model`."""
    from tests import exposure_fixtures

    folder = tmp_path_factory.mktemp("shop")
    shared.once(str(folder), "shop", exposure_fixtures.export_toy_model)
    return folder


@pytest.fixture(scope="session")
def periods(tmp_path_factory):
    """The folder of an exported model of periods with scenes; the SavedModel is in `model`."""
    from tests import period_fixtures

    folder = tmp_path_factory.mktemp("periods")
    shared.once(str(folder), "periods", period_fixtures.export_toy_model)
    return folder


@pytest.fixture(autouse=True)
def collective_keys(monkeypatch):
    """Strategies of one process over the same devices take each other's all-reduces for their own, unless told apart.

    TensorFlow's own tests do the same. (A run makes only one, see `trainer.devices`.)
    """
    import tensorflow as tf

    each_another = property(lambda strategy: next(_KEYS))
    monkeypatch.setattr(tf.distribute.MirroredStrategy, "_collective_key_base", each_another)
