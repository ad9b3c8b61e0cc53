"""Servers of a trial as processes of this one: started, waited for until they serve the candidate, and ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc

from components.infra_validator import leash, spec
from serving import client as client_lib

MODEL = "candidate"
# TensorFlow Serving's program.
BINARY = "tensorflow_model_server"


class NotServed(Exception):
    """The server did not come up with the model."""


def available() -> str:
    """The server that `auto` takes, see `spec.InfraSpec`."""
    if shutil.which(BINARY):
        return "binary"
    if shutil.which("docker"):
        try:
            answer = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return "embedded"
        if answer.returncode == 0:
            return "docker"
    return "embedded"


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    command: Sequence[str], log: Any, env: Mapping[str, str], last_signal: int = signal.SIGKILL
) -> "subprocess.Popen[bytes]":
    """Starts a server that also ends if this process is killed: by `last_signal`."""
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(int(last_signal)), str(os.getpid())]
    return subprocess.Popen(
        [*leashed, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(env)
    )


@contextlib.contextmanager
def serving(process: "subprocess.Popen[bytes]", address: str, infra: spec.InfraSpec) -> Iterator[str]:
    """The address, once the candidate is loaded there; ends the server.

    Raises:
      NotServed: if it ends, or does not load the candidate in time.
    """
    try:
        _wait(process, address, infra)
        yield address
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Asks it to end, and makes it if it does not."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, infra: spec.InfraSpec) -> None:
    deadline = time.monotonic() + infra.load_seconds
    with client_lib.Client(address, MODEL, timeout_s=1.0) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise NotServed(f"the server ended with code {process.returncode}")
            try:
                states = set(client.versions().values())
            except grpc.RpcError:
                states = set()
            if "AVAILABLE" in states:
                return
            if states == {"END"}:
                raise NotServed("the model does not load")
            time.sleep(0.2)
    raise NotServed(f"the model was not loaded within {infra.load_seconds:g} s (infra.load_seconds)")
