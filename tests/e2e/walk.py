"""A log that a small model learns in seconds: users who walk on from item to item."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO

import numpy as np

import pipeline
from pipeline import cli

ROOT = pathlib.Path(pipeline.__file__).parents[1]
ITEMS = 40
SCENES = ("home", "search", "feed")
DAY = 86_400


def successor(item: int) -> int:
    """What a user of the log nearly always does next; all items are on one round."""
    return (21 * item + 3) % ITEMS


def scene_of(item: int) -> str:
    """Where an item is met."""
    return SCENES[item % len(SCENES)]


def write_day(
    folder: pathlib.Path, day: int, seed: int, users: int = 300, steps: int = 12, scenes: bool = False
) -> None:
    """A day's log: users walk on from item to item; one step in twenty is a jump."""
    rng = np.random.default_rng(seed)
    lines = ["user_id,item_id,timestamp" + (",scene" if scenes else "")]
    for user in range(users):
        item = int(rng.integers(ITEMS))
        for step in range(steps):
            scene = f",{scene_of(item)}" if scenes else ""
            lines.append(f"u{user},i{item},{1_600_000_000 + DAY * day + 60 * step + user}{scene}")
            item = int(rng.integers(ITEMS)) if rng.random() < 0.05 else successor(item)
    target = folder / f"day-{day}" / "events.csv"
    target.parent.mkdir(parents=True)
    target.write_text("\n".join(lines) + "\n")


def start(folder: pathlib.Path, *arguments: str, module: str = "pipeline.cli") -> "subprocess.Popen[str]":
    """A `footfall` command in a folder, in a process group of its own; `module` is run in its place."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(
    folder: pathlib.Path, *arguments: str, module: str = "pipeline.cli"
) -> "subprocess.CompletedProcess[str]":
    """A `footfall` command that ended, with all that it printed."""
    process = start(folder, *arguments, module=module)
    try:
        printed, _ = process.communicate(timeout=550)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, printed)


def inside(folder: pathlib.Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As `finish`, within this process, which has imported all that one of its own would.

    A run that starts TensorFlow wants the fixture `one_device`.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1) as printed:
        with _working_in(folder), _printing_to(printed):
            code = cli.execute(arguments)
        printed.seek(0)
        return subprocess.CompletedProcess(arguments, code, printed.read())


@contextlib.contextmanager
def _working_in(folder: pathlib.Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _printing_to(stream: TextIO) -> Iterator[None]:
    """At the level of descriptors, too, since a run writes to the one of stdout."""
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    for descriptor in saved:
        os.dup2(stream.fileno(), descriptor)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield
    finally:
        stream.flush()
        for descriptor, before in saved.items():
            os.dup2(before, descriptor)
            os.close(before)


def made(run_dir: pathlib.Path, component: str, output: str) -> list:
    """The folders of an output, one for each execution."""
    found = (run_dir / "pipeline_root" / component / output).glob("*")
    return sorted((path for path in found if path.is_dir()), key=lambda path: int(path.name))
