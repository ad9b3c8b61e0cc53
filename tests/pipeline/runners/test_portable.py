"""Beam's portable runner, as Flink and Spark have it: a job server, and workers that share nothing with the pipeline."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import apache_beam as beam
import pytest
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

import pipeline
from components.behavior_example_gen.windows.next import NextWindow
from components.transform.windows import next as preprocessing
from schemas import load, names
from tests import fixtures
from tests.components.behavior_example_gen import harness

_ROOT = os.path.dirname(os.path.dirname(pipeline.__file__))
_START_SECONDS = 60
_LENGTH = 5


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def _server(folder, module, port, *arguments):
    """A module that listens at a port, in a process of its own and another folder, with the environment of an image."""
    log = folder / f"{module}.log"
    found = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": _ROOT, "PATH": found},
            stdout=stream,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def job_server(tmp_path_factory):
    """Arguments of Beam's own job server, which splits work between two workers."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        pytest.skip(
            f"Beam tells its workers to connect to {name}, this machine's name, which is no address: {error}"
        )
    folder, port = tmp_path_factory.mktemp("jobs"), _free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    with _server(folder, module, port, "--port", str(port), "--staging_dir", str(folder / "staging")):
        yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--sdk_worker_parallelism=2"]


@pytest.fixture
def workers(job_server, tmp_path):
    """The same, with workers that are processes of their own, started as they are beside a Flink or Spark worker."""
    port = _free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    with _server(tmp_path, module, port, "--service_port", str(port)):
        yield [*job_server, "--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]


def _log(folder):
    rows = [f"u{n % 30},i{(7 * n + n // 30) % 20},{1_000_000 * n}" for n in range(400)]
    # One is rejected, one is a duplicate.
    return harness.write_csv(folder / "events.csv", [*rows, "u1,,5", rows[0]])


def test_windows_of_other_processes_are_those_of_this_one(workers, tmp_path):
    found = []
    for name, arguments in (("here", harness.ARGS), ("there", workers)):
        folder = tmp_path / name
        folder.mkdir()
        windows, profile, rejected = harness.run(
            folder, _log(tmp_path), NextWindow(length=_LENGTH, shards=3), args=arguments
        )
        ordered = {
            split: sorted(repr(sorted(row.items())) for row in rows) for split, rows in windows.items()
        }
        found.append((ordered, profile, rejected))
    (here, *known), (there, *known_there) = found
    assert sum(map(len, here.values())) > 60 and all(here.values())
    assert there == here and known_there == known


def test_transform_analyses_the_same(job_server, tmp_path):
    windows = fixtures.random_windows(60, 20, behaviors=True)
    config = {"window": NextWindow(length=fixtures.LENGTH).to_json()}
    metadata = dataset_metadata.DatasetMetadata(load.next_window_schema(True, False))
    made = str(tmp_path / "there")
    with (
        beam.Pipeline(argv=[*job_server, "--environment_type=LOOPBACK"]) as running,
        tft_beam.Context(temp_dir=str(tmp_path / "temporary"), force_tf_compat_v1=False),
    ):
        examples = running | beam.Create(windows)
        transform_fn = (examples, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        transform_fn | tft_beam.WriteTransformFn(made)
    here = fixtures.build_transform_output(str(tmp_path / "here"), windows, behaviors=True)
    there = tft.TFTransformOutput(made)
    for name in (names.ITEM_VOCABULARY, names.BEHAVIOR_VOCABULARY, names.RECENT_ITEMS_VOCABULARY):
        known = here.vocabulary_by_name(name)
        assert known and there.vocabulary_by_name(name) == known
