"""The embedded server as a process, started for a trial, or ahead of it: most of its start is imports."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from components.infra_validator import processes, spec
from serving import client as client_lib


class _Server(NamedTuple):
    """A server of a folder of its own, in which there is nothing yet."""

    process: "subprocess.Popen[bytes]"
    address: str
    folder: str
    log: Any

    @property
    def base(self) -> str:
        return os.path.join(self.folder, processes.MODEL)


# At most one.
_waiting: list[_Server] = []


@contextlib.contextmanager
def started_ahead(infra: spec.InfraSpec) -> Iterator[None]:
    """Has a server wait for the next trial, if it will be one in this server.

    On leaving, a server is ended that no trial has taken.
    """
    if infra.server == "embedded" or (infra.server == "auto" and processes.available() == "embedded"):
        _waiting.append(_started())
    try:
        yield
    finally:
        while _waiting:
            _drop(_waiting.pop())


@contextlib.contextmanager
def served(base: str, infra: spec.InfraSpec, log: Any) -> Iterator[str]:
    """The address of a server of a folder of versions.

    Args:
      base: the folder, on a local disk; its versions are taken away, to where the server looks.
      infra: how long it may take.
      log: a file for what the server says.
    """
    server = _waiting.pop() if _waiting else _started()
    if server.process.poll() is not None:
        # Whatever ended it while it waited, it was no fault of the candidate's.
        _drop(server)
        server = _started()
    try:
        for version in os.listdir(base):
            # Whole at once: it looks for versions all the time.
            os.rename(os.path.join(base, version), os.path.join(server.base, version))
        with processes.serving(server.process, server.address, infra):
            yield server.address
    finally:
        server.log.seek(0)
        shutil.copyfileobj(server.log, log)
        _drop(server)


def _started() -> _Server:
    folder = tempfile.mkdtemp()
    # It outlives this function.
    log = open(os.path.join(folder, "server.log"), "w+b")  # noqa: SIM115
    base = os.path.join(folder, processes.MODEL)
    os.mkdir(base)
    return _Server(*_start(base, log), folder, log)


def _start(base: str, log: Any) -> "tuple[subprocess.Popen[bytes], str]":
    port = processes.free_port()
    # The fresh process finds this package as this one does, and nothing else is shared.
    root = os.path.dirname(os.path.dirname(os.path.abspath(client_lib.__file__)))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "serving.server", base, "--name", processes.MODEL]
    command += ["--grpc-port", str(port), "--rest-port", "0", "--poll-seconds", "0.2"]
    return processes.start(command, log, env), f"127.0.0.1:{port}"


def _drop(server: _Server) -> None:
    processes.end(server.process)
    server.log.close()
    shutil.rmtree(server.folder, ignore_errors=True)
