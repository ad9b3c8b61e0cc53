"""The validator with its server in the test's process, which has imported all that it needs."""

import contextlib

from components.infra_validator import embedded, processes
from serving import server as server_lib


@contextlib.contextmanager
def _embedded(base, infra, log):
    with server_lib.Server(base, processes.MODEL) as server:
        yield f"127.0.0.1:{server.grpc_port}"


def use(monkeypatch):
    """Instead of a process; `test_embedded` has some, of candidates that are good and broken."""
    monkeypatch.setattr(embedded, "served", _embedded)
