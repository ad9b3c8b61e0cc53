"""The servers that are asked: the embedded one always, another one where the environment names it."""

import os

import pytest
import tensorflow as tf

from serving import metadata, objectives
from tests import exposure_fixtures, fixtures, period_fixtures
from tests.conformance import servers

KINDS = {"embedded": "", "binary": servers.BINARY, "remote": servers.GRPC}


def pytest_generate_tests(metafunc):
    if "start" in metafunc.fixturenames:
        metafunc.parametrize("start", KINDS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def start(request):
    """A function from a folder of versions to a running server; None for one that runs elsewhere."""
    variable = KINDS[request.param]
    if variable and not os.environ.get(variable):
        pytest.skip(f"{variable} names no TensorFlow Serving")
    return {"embedded": servers.embedded, "binary": servers.binary, "remote": None}[request.param]


@pytest.fixture(scope="session")
def endpoint(start, toy, tmp_path_factory):
    """Of the ranking model, version 7; nothing that is asked changes it."""
    if start is None:
        yield servers.Endpoint(os.environ[servers.GRPC], os.environ[servers.REST])
        return
    base = tmp_path_factory.mktemp("ranking")
    servers.push(toy / "model", base, servers.VERSION)
    with start(base) as running:
        yield running


@pytest.fixture(scope="session")
def labels_endpoint(start, shop, tmp_path_factory):
    """Of the model of exposures, version 7."""
    if start is None:
        pytest.skip("a server elsewhere has the ranking model alone")
    base = tmp_path_factory.mktemp("labels")
    servers.push(shop / "model", base, servers.VERSION)
    with start(base) as running:
        yield running


@pytest.fixture(scope="session")
def periods_endpoint(start, periods, tmp_path_factory):
    """Of the model of periods, version 7."""
    if start is None:
        pytest.skip("a server elsewhere has the ranking model alone")
    base = tmp_path_factory.mktemp("periods")
    servers.push(periods / "model", base, servers.VERSION)
    with start(base) as running:
        yield running


class Model:
    """A model in this process, and requests for it."""

    def __init__(self, folder, objective, examples):
        self._root = tf.saved_model.load(str(folder / "model"))
        self.functions = dict(self._root.signatures)
        self.known = {name: metadata.definition_of(function) for name, function in self.functions.items()}
        self._make = objectives.get(objective).make_requests
        self.examples = examples

    def requests(self, count=8, first=0):
        """A request of some rows, of different lengths, for each signature."""
        return self._make(self.known, self.examples[first : first + count])

    def answer(self, signature, inputs):
        """What any server has to answer."""
        function = self.functions[signature]
        specs = function.structured_input_signature[1]
        given = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in function(**given).items()}


@pytest.fixture(scope="session")
def model(toy):
    windows = fixtures.random_windows(40, 20, seed=9, behaviors=True)
    return Model(toy, "ranking", [fixtures.serialize(window) for window in windows])


@pytest.fixture(scope="session")
def labels_model(shop):
    rows = exposure_fixtures.generate(40, seed=9)
    return Model(shop, "labels", [exposure_fixtures.serialize(row) for row in rows])


@pytest.fixture(scope="session")
def periods_model(periods):
    windows = period_fixtures.random_windows(40, seed=9)
    return Model(periods, "ranking", [period_fixtures.serialize(window) for window in windows])
