"""Runs an experiment again and again in forks of one process, each of which kills itself at a given point.

    python -m tests.e2e.kills FOLDER

A process of its own: TFX is imported once, and TensorFlow has not been started when it forks.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

WHOLE, KILLED = "whole", "killed"
# The points of a run in their order: a component, and what it is at.
KILLS = (
    "ImportSchemaGen",
    "LiveModel",
    "LogState",
    "BehaviorExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Tuner: a trial is done",
    "Trainer: an epoch is done",
    "Trainer: the model is trained",
    "Evaluator",
    "ServerValidator: the server is up",
    "Pusher: the version is not in place",
    "Pusher: the version is in place",
)


def component_of(point: str) -> str:
    """The component that a point is in."""
    return point.split(":")[0]


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _before(owner: Any, name: str) -> None:
    setattr(owner, name, _die)


def _after(owner: Any, name: str) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: (original(*args, **kwargs), _die()))


def _as_it_writes(name: str, root: pathlib.Path) -> None:
    """Dies as soon as a component has begun to write, and at the latest when it has all written but not said so."""
    from tfx.orchestration.portable import launcher

    publish = launcher.Launcher._publish_successful_execution

    def publish_or_die(self: Any, *args: Any, **kwargs: Any) -> None:
        if self._pipeline_node.node_info.id == name:
            _die()
        publish(self, *args, **kwargs)

    launcher.Launcher._publish_successful_execution = publish_or_die

    def watch() -> None:
        while not any(path.is_file() for path in (root / name).glob("[!.]*/**/*")):
            time.sleep(0.005)
        _die()

    threading.Thread(target=watch, daemon=True).start()


def _when_a_trial_is_kept() -> None:
    """Dies once a trial's result is written (TFX loads `trainer.tuner` anew, with what would be put into it)."""
    import tensorflow as tf

    rename = tf.io.gfile.rename

    def rename_and_die(source: str, target: str, overwrite: bool = False) -> None:
        rename(source, target, overwrite=overwrite)
        if "/search-" in target and target.endswith(".json"):
            _die()

    tf.io.gfile.rename = rename_and_die


def _when_an_epoch_of_the_trainer_is_kept() -> None:
    """Dies once an epoch's checkpoint is written; those of the Tuner's trials, which are of a search, do not count."""
    from trainer.loops import loop as loop_lib

    save = loop_lib.Loop._save

    def save_and_die(self: Any) -> None:
        save(self)
        if "/search-" not in self._checkpoints._folder:
            _die()

    loop_lib.Loop._save = save_and_die


def _arm(point: str, run_dir: pathlib.Path) -> None:
    """Has this process kill itself at a point."""
    from components.infra_validator import executor as infra_validator
    from components.pusher import executor as pusher
    from serving import export

    special: dict[str, Callable[[], None]] = {
        "Tuner: a trial is done": _when_a_trial_is_kept,
        "Trainer: an epoch is done": _when_an_epoch_of_the_trainer_is_kept,
        "Trainer: the model is trained": lambda: _before(export, "export_model"),
        "ServerValidator: the server is up": lambda: _before(infra_validator, "_ask"),
        "Pusher: the version is not in place": lambda: _before(pusher, "_sync"),
        "Pusher: the version is in place": lambda: _after(pusher, "push"),
    }
    special.get(point, lambda: _as_it_writes(point, run_dir / "pipeline_root"))()


def _run(folder: pathlib.Path, name: str, point: str | None) -> int:
    """A run in a fork; how it ended, as `os.waitstatus_to_exitcode` says."""
    from pipeline import config
    from pipeline.runners import local

    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        run_dir = folder / name / "walk"
        if point is not None:
            _arm(point, run_dir)
        path = str(folder / "walk.yaml")
        local.run(config.load(path), str(run_dir), path, ["footfall", "run", path])
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    """Runs it as a whole, then with a kill at every point; prints a line for each: the point and how it ended."""
    from schemas import collector

    # All that a run imports, once.
    with collector.importing():
        from pipeline import pipeline  # noqa: F401
        from pipeline.reporting import report  # noqa: F401
        from pipeline.runners import cache  # noqa: F401
        from trainer import tuner  # noqa: F401

    folder = pathlib.Path(sys.argv[1])
    for name, point in ((WHOLE, None), *((KILLED, kill) for kill in KILLS), (KILLED, None)):
        with open(folder / f"{name}.txt", "a", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 2)
            saved = os.dup(1)
            os.dup2(stream.fileno(), 1)
            print(f"== {point}", flush=True)
            start = time.monotonic()
            code = _run(folder, name, point)
            os.dup2(saved, 1)
        print(json.dumps([name, point, code, round(time.monotonic() - start, 1)]), flush=True)


if __name__ == "__main__":
    main()
