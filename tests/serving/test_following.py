"""A client that goes on while versions change, and one that asks a certain version."""

import time

import grpc
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
