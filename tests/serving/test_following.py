"""A client that goes on while versions change, and one that asks a certain version."""

import concurrent.futures
import contextlib
import time

import grpc
import numpy as np
import pytest

from serving import client as client_lib
from serving import published
from serving import server as server_lib
from tests.conformance import servers

HISTORY = [
    {"item_id": "i1", "behavior": "view", "timestamp": 1_600_000_000_000},
    {"item_id": "i2", "behavior": "buy", "timestamp": 1_600_003_600_000},
]


def wait(server, version):
    deadline = time.monotonic() + 120
    while server.store.model.version != version:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_new_version_with_other_inputs_is_asked_for_what_it_takes(toy, plain, tmp_path):
    servers.push(toy / "model", tmp_path, 1, warm=False)
    with server_lib.Server(str(tmp_path), "toy", poll_seconds=0.05) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", "toy", timeout_s=60) as client:
            assert len(client.recommend([HISTORY], k=3)[0].item_ids) == 3
            assert "history_behavior" in client.metadata()["recommend"].inputs
            for version, model, has in ((2, plain / "model", False), (3, toy / "model", True)):
                servers.push(model, tmp_path, version, warm=False)
                wait(server, version)
                assert len(client.recommend([HISTORY], k=3)[0].item_ids) == 3
                assert len(client.rank([HISTORY], ["i3"])) == len(client.embed([HISTORY])) == 1
                assert client.embed([]).shape == (0, 0) and client.recommend([]) == []
                assert ("history_behavior" in client.metadata()["recommend"].inputs) == has
            # What no version takes is still an error.
            with pytest.raises(ValueError, match="item_id is missing"):
                client.recommend([[{"timestamp": 1}]])


@pytest.mark.parametrize("threads", [1, 4])
def test_a_client_of_several_servers_goes_on_while_a_version_is_rolled_out(toy, plain, tmp_path, threads):
    """Each call may be answered by another server: one has a version with behaviours, the other one without."""
    with contextlib.ExitStack() as stack:
        running = []
        for version, model in ((1, toy / "model"), (2, plain / "model")):
            base = tmp_path / str(version)
            base.mkdir()
            servers.push(model, base, version)
            running.append(stack.enter_context(server_lib.Server(str(base), "toy")))
        address = "ipv4:" + ",".join(f"127.0.0.1:{server.grpc_port}" for server in running)
        client = stack.enter_context(client_lib.Client(address, "toy", timeout_s=60))

        def ask(number):
            assert len(client.recommend([HISTORY], k=3)[0].item_ids) == 3
            assert number % 2 or client.training_times() is not None

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(ask, range(60)))
        # Each has been asked, and has answered or refused.
        assert all("status=" in server.metrics.text("toy") for server in running)
        # What no version takes is refused at once.
        started = time.monotonic()
        with pytest.raises(ValueError, match="item_id is missing"):
            client.recommend([[{"timestamp": 1}]])
        with pytest.raises(grpc.RpcError, match="unknown input 'odd'"):
            client._asked("recommend", lambda takes: {"odd": np.zeros(1, np.int32)})
        assert time.monotonic() - started < 30


def test_a_client_asks_its_version_or_label(toy, plain, tmp_path):
    for version, model in ((1, toy / "model"), (2, plain / "model")):
        servers.push(model, tmp_path, version, warm=False)
    published.write(str(tmp_path), published.Published((1, 2), {"stable": 1}))
    with server_lib.Server(str(tmp_path), "toy") as server:
        address = f"127.0.0.1:{server.grpc_port}"
        for which, has in (
            ({}, False),
            ({"version": 1}, True),
            ({"label": "stable"}, True),
            ({"version": 2}, False),
        ):
            with client_lib.Client(address, "toy", timeout_s=60, **which) as client:
                assert ("history_behavior" in client.metadata()["recommend"].inputs) == has
                assert client.recommend([HISTORY], k=2)[0].item_ids
        with client_lib.Client(address, "toy", label="other") as client:
            with pytest.raises(grpc.RpcError, match="no version is labelled 'other'"):
                client.recommend([HISTORY])
    with pytest.raises(ValueError, match="a version or a label, found 1 and 'stable'"):
        client_lib.Client(address, version=1, label="stable")
