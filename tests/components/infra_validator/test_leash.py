"""Children that die with their parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from components.infra_validator import leash

CHILD = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True); time.sleep(300)"


def leashed(last_signal, parent):
    return [sys.executable, "-I", "-S", leash.__file__, str(int(last_signal)), parent]


def alive(process):
    """Whether it runs; a zombie, whom nobody waits for, does not."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_parent_takes_its_child_along():
    """The child heeds no SIGTERM, as a hung server."""
    command = [*leashed(signal.SIGKILL, "PARENT"), sys.executable, "-c", CHILD]
    program = f"""
import os, subprocess, sys
command = [str(os.getpid()) if part == "PARENT" else part for part in {command!r}]
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), child.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        said, child = parent.stdout.readline().split()
        assert said == "up" and alive(child)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < deadline, f"{child} outlives its parent"
        time.sleep(0.01)


def test_a_parent_that_is_dead_already_gets_no_child():
    done = subprocess.run(
        [*leashed(signal.SIGKILL, str(os.getpid() + 1)), "echo", "alive"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "has ended" in done.stderr and not done.stdout


@pytest.mark.parametrize("code", [0, 7])
def test_the_command_is_the_process(code):
    program = f"import os, sys; print(os.getpid()); sys.exit({code})"
    command = [*leashed(signal.SIGTERM, str(os.getpid())), sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == f"{process.pid}\n"
    assert process.returncode == code
