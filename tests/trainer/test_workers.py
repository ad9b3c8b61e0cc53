"""Several workers that train together by TF_CONFIG."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from tfx.types import standard_artifacts

from components.trainer import executor, workers
from pipeline import config
from schemas import errors
from tests.trainer import one_worker
from tests.trainer.loops import test_fit
from trainer import config as trainer_config

_ROOT = pathlib.Path(__file__).parents[2]


def cluster(role="worker", index=0, **addresses):
    return {"TF_CONFIG": json.dumps({"cluster": addresses, "task": {"type": role, "index": index}})}


@pytest.mark.parametrize(
    "environment, worker",
    [
        ({}, (0, 1)),
        (cluster(worker=["a:1"]), (0, 1)),
        (cluster(worker=["a:1", "b:1"], index=1), (1, 2)),
        (cluster("chief", chief=["a:1"], worker=["b:1", "c:1"]), (0, 3)),
        (cluster("worker", 1, chief=["a:1"], worker=["b:1", "c:1"]), (2, 3)),
    ],
)
def test_a_worker_knows_which_one_it_is(environment, worker):
    found = workers.this(environment)
    assert (found.index, found.count) == worker and found.chief == (worker[0] == 0)


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"TF_CONFIG": "{"}, "as JSON, found '{'"),
        ({"TF_CONFIG": "[]"}, "as JSON"),
        (cluster("ps", worker=["a:1", "b:1"]), "chief or workers, found ps 0"),
        (cluster(index=2, worker=["a:1", "b:1"]), "found worker 2"),
    ],
)
def test_another_role_is_told(environment, words):
    with pytest.raises(errors.InputError, match=words):
        workers.this(environment)


def _free_ports(count):
    with_ports = [socket.socket() for _ in range(count)]
    for one in with_ports:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


def _train_together(folder, *rounds):
    """What two workers say at their end: of each round and each worker the exit code, what it printed, its errors.

    Args:
      folder: gets the checkpoints, in `together`, and the weights.
      rounds: of each, the worker that is killed at the start of the second epoch; None: none is.
    """
    environments = []
    for dies in rounds:
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
        killed = {dies: {one_worker.DIES: "1"}}
        environments.append(
            [{**cluster(index=index, worker=addresses), **killed.get(index, {})} for index in range(2)]
        )
    asked = (str(folder / "together"), str(folder), json.dumps(environments))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.trainer.one_worker", *asked],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=300)
    finally:
        # The workers, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return json.loads(printed)


def test_two_workers_of_which_one_is_killed_get_the_weights_of_one_that_trains_alone(tmp_path, monkeypatch):
    """The other ends with an error, and does not wait for ever; both are started again, as a platform does it."""
    killed, ended = _train_together(tmp_path, 1, None)
    codes = [code for code, *_ in killed]
    assert codes[1] == -signal.SIGKILL and codes[0] > 0, killed
    assert "Collective ops is aborted" in killed[0][2]
    assert [code for code, *_ in ended] == [0, 0], ended
    chief, other = (json.loads(printed.splitlines()[-1]) for _, printed, _ in ended)
    assert chief["replicas"] == other["replicas"] == 2
    assert chief["resumed_from_epoch"] == other["resumed_from_epoch"] == 1
    kept = tmp_path / "together" / one_worker.FIT / "checkpoints"
    assert chief["wrote"] == str(kept) and any(kept.glob("ckpt-*")) and any(kept.glob("best-*.index"))
    assert not other["wrote"].startswith(str(tmp_path / "together"))
    # What workers measure by themselves is the chief's: they end together, and keep the same epoch.
    assert chief["histories"] == other["histories"]
    assert {name: how["epochs"] for name, how in chief["histories"].items()} == {
        name: 1 if name == one_worker.STOPPED else 2 for name in one_worker.LOOPS
    }
    for name, make in one_worker.LOOPS.items():
        if name in one_worker.DRAWN:
            continue
        one_worker.prepare(name, monkeypatch.setattr)
        alone = make(tmp_path / "alone" / name, None)
        alone.run()
        first, second = (np.load(tmp_path / f"{index}-{name}.npz") for index in range(2))
        for key, wanted in zip(first.files, test_fit.weights(alone), strict=True):
            np.testing.assert_array_equal(first[key], second[key])
            np.testing.assert_allclose(first[key], wanted, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "overrides, words",
    [
        ([], None),
        (
            ["training.optimizer=lazy_adam", "loss.name=sampled_softmax"],
            "lazy_adam trains on one device, and each of several",
        ),
    ],
)
def test_what_several_workers_do_not_train_is_told(overrides, words):
    settings = config.load(config.find("ml100k-sasrec"), overrides).trainer
    if words is None:
        trainer_config.check_workers(settings)
        return
    with pytest.raises(errors.InputError, match=words):
        trainer_config.check_workers(settings)


@pytest.mark.parametrize("index", [0, 1])
def test_the_chief_alone_writes_to_the_outputs(index, tmp_path, monkeypatch):
    monkeypatch.setenv(workers.VARIABLE, cluster(index=index, worker=["a:1", "b:1"])[workers.VARIABLE])
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")

    def write(self, input_dict, output_dict, exec_properties):
        (artifact,) = output_dict["model"]
        os.makedirs(artifact.uri)

    monkeypatch.setattr(executor.trainer.GenericExecutor, "Do", write)
    executor.Executor().Do({}, {"model": [model]}, {})
    assert (tmp_path / "model").exists() == (index == 0)
    assert model.uri == str(tmp_path / "model")
