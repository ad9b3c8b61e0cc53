"""Whole runs with the real components: gated, pushed, asked, and fed a new day (killed: see test_kills).

The tests are the stations of one run folder, in the order of this file: each goes on from
what the one before has left, as the days of a deployment do.
"""

import fcntl
import json
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from serving import manifest
from tests.e2e import walk


class Deployment:
    """A working folder with a log, an experiment and the runs of it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        walk.write_day(folder / "log", 1, seed=1)
        experiment = {
            "name": "walk",
            "log": {"path": str(folder / "log" / "day-{SPAN}" / "*.csv")},
            "window": {"length": 10, "shards": 2},
            "split": {"by": ["leave_one_out"]},
            "model": {"name": "sasrec", "dim": 16, "blocks": 1, "heads": 1, "dropout": 0.1},
            "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.01},
            "evaluation": {"cutoffs": [1, 10]},
            "gate": {"min": {"hr@1": 0.3}, "min_lift_over_floor": 0.1, "max_drop": 0.05},
            "infra": {"requests": 5, "max_p50_ms": 5000.0, "load_seconds": 600.0, "server": "embedded"},
        }
        (folder / "walk.yaml").write_text(yaml.safe_dump(experiment))
        self.run_dir = folder / "runs" / "walk"

    def finish(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return walk.inside(self.folder, *arguments)

    def run(self, *arguments: str, finish: Callable[..., Any] = walk.inside) -> str:
        """A run that ends well; what it printed."""
        done = finish(self.folder, "run", "walk.yaml", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def artifacts(self, component: str, output: str) -> list:
        """The folders of an output, one for each execution."""
        return walk.made(self.run_dir, component, output)

    def versions(self) -> list:
        return sorted(int(path.name) for path in (self.run_dir / "serving" / "walk").glob("*"))

    def states(self) -> dict:
        state = json.loads((self.run_dir / "run.json").read_text())
        return {component["id"]: component["state"] for component in state["components"]}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, one_device):
    return Deployment(tmp_path_factory.mktemp("deployment"))


def test_it_trains_is_blessed_and_pushed(deployment):
    # By the command, as a process of its own, which the others are not.
    printed = deployment.run(finish=walk.finish)
    (history_file,) = (deployment.run_dir / "pipeline_root" / "Trainer").rglob("history.json")
    epochs = [epoch["epoch"] for epoch in json.loads(history_file.read_text())["epochs"]]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(deployment.versions()) == 1 and "Blessed by the gate." in printed
    # The settings of what answers stay, whichever the next run has.
    kept = deployment.run_dir / "pushed" / f"{deployment.versions()[0]}.yaml"
    assert kept.read_text() == (deployment.run_dir / "experiment.yaml").read_text()
    # Libraries write to the log, not to the screen.
    assert "absl" not in printed and "WARNING" not in printed and "Traceback" not in printed


def test_the_pushed_model_has_learnt_the_walk(deployment):
    wanted = []
    lines = []
    for start in range(0, walk.ITEMS, 4):
        steps = [start]
        for _ in range(4):
            steps.append(walk.successor(steps[-1]))
        lines.append(
            json.dumps(
                [
                    {"item_id": f"i{item}", "timestamp": 1000 * (1_600_000_000 + walk.DAY + 60 * n)}
                    for n, item in enumerate(steps[:-1])
                ]
            )
        )
        wanted.append(f"i{steps[-1]}")
    (deployment.folder / "histories.jsonl").write_text("\n".join(lines))
    done = deployment.finish("predict", "runs/walk", "--history", "histories.jsonl", "-k", "1", "--json")
    # The times are those of training.
    assert "warning" not in done.stdout
    answers = [json.loads(line)["item_id"][0] for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(wanted)
    assert np.mean([a == w for a, w in zip(answers, wanted)]) >= 0.8, (answers, wanted)


def test_a_worse_model_is_not_pushed_and_the_report_says_why(deployment):
    before = deployment.versions()
    done = deployment.finish("run", "walk.yaml", "--set", "training.epochs=0", "--require-blessing")
    assert done.returncode == 3, done.stdout
    printed = done.stdout
    assert deployment.states()["Transform"] == "cached" and deployment.states()["Trainer"] == "done"
    assert deployment.versions() == before and "Not pushed." in printed
    report = (deployment.run_dir / "report.html").read_text()
    for reason in ("hr@1", "popularity", "live model"):
        assert reason in report and reason in printed


def test_a_new_day_is_read_trained_on_and_pushed(deployment):
    walk.write_day(deployment.folder / "log", 2, seed=2)
    before = deployment.versions()
    # First to see what comes of it.
    printed = deployment.run("--no-push", "--require-blessing")
    assert "nothing is pushed" in printed and "Not pushed." in printed and deployment.versions() == before
    states = deployment.states()
    assert states["BehaviorExampleGen"] == "done" and states["Trainer"] == "done"
    deployment.run()
    assert deployment.states()["Trainer"] == "cached"
    events = [
        json.loads(next(path.rglob("profile.json")).read_text())["events"]
        for path in deployment.artifacts("BehaviorExampleGen", "profile")
    ]
    assert events == [3600, 7200]
    assert deployment.versions()[:-1] == before
    # The day before is what drift was measured against.
    (drift,) = (deployment.run_dir / "pipeline_root" / "AnomalyGate").rglob(
        "Split-train-of-span-2-against-span-1"
    )
    assert drift.parent == deployment.artifacts("AnomalyGate", "comparisons")[-1]


def test_the_same_again_is_all_cached(deployment):
    before = deployment.versions()
    deployment.run()
    states = deployment.states()
    work = ("BehaviorExampleGen", "StatisticsGen", "ExampleValidator", "AnomalyGate", "Transform", "Trainer")
    assert {states[name] for name in work} == {"cached"}
    assert deployment.versions() == before


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_damaged_version_is_pushed_again_by_the_same_command(deployment, damage):
    before = deployment.versions()
    version = deployment.run_dir / "serving" / "walk" / str(before[-1])
    if damage == "truncated":
        (file,) = (version / "variables").glob("*.data-*")
        os.truncate(file, 100)
    else:
        file = version / "saved_model.pb"
        file.unlink()
    printed = deployment.run()
    after = deployment.versions()
    assert after[:-1] == before and f"Pushed to {version.parent / str(after[-1])}" in printed
    compared, pushed = (line for line in printed.splitlines() if f"{version} is damaged: " in line)
    assert str(file.relative_to(version)) in compared and str(file.relative_to(version)) in pushed
    assert "the version before it counts" in compared
    assert pushed.endswith("; the model is pushed again")
    assert deployment.states()["Trainer"] == deployment.states()["ServerValidator"] == "cached"
    assert manifest.check(str(version.parent / str(after[-1]))) is None
    # The damaged one stays where it is.
    assert manifest.check(str(version)) is not None


def test_a_folder_has_one_run_at_a_time(deployment):
    with open(deployment.run_dir / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = deployment.finish("run", "walk.yaml")
    assert done.returncode == 2 and "another run is at work" in done.stdout


def test_a_broken_day_stops_the_run_with_examples(deployment):
    folder = deployment.folder / "log" / "day-3"
    folder.mkdir()
    rows = [f"u{n},i{n % walk.ITEMS},{1_600_000_000 + 3 * walk.DAY + n}" for n in range(2000)]
    rows[::2] = [f"u{n},,yesterday" for n in range(1000)]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    before = deployment.versions()
    done = deployment.finish("run", "walk.yaml")
    assert done.returncode == 2
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("footfall: ") and "day-3/events.csv" in last and "1,000 of 9,200" in last
    assert deployment.states()["BehaviorExampleGen"] == "failed" and deployment.versions() == before
