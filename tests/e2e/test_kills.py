"""A run that is killed in every component, and each time goes on, comes to what an uninterrupted one comes to."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import yaml

from components.evaluator import verdict
from pipeline.runners import store
from tests.e2e import kills, walk

EXPERIMENT = {
    "name": "walk",
    "window": {"length": 8, "shards": 1},
    "split": {"by": ["leave_one_out"]},
    "model": {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.1},
    "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1},
    "tuning": {
        "search": "grid",
        "space": {"model.dim": [15, 16], "training.learning_rate": [0.00001, 0.01]},
        "training": {"epochs": 2},
    },
    "evaluation": {"cutoffs": [1, 10], "slices": ["user_frequency"], "confidence_intervals": False},
    "gate": {"min_lift_over_floor": None},
    "infra": {"requests": 2, "max_p50_ms": 5000.0, "load_seconds": 600.0, "server": "embedded"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of both runs, and how each attempt ended."""
    folder = tmp_path_factory.mktemp("kills")
    walk.write_day(folder / "log", 1, seed=1, users=120, steps=8)
    log = {"path": str(folder / "log" / "day-1" / "events.csv")}
    (folder / "walk.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": log}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.kills", str(folder)],
        env={**os.environ, "PYTHONPATH": str(walk.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1500,
    )
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def attempts(folder: pathlib.Path) -> dict:
    """What each attempt of the killed run printed, by the point where it was killed."""
    parts = re.split(r"^== (.*)\n", (folder / f"{kills.KILLED}.txt").read_text(), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def artifact(run_dir: pathlib.Path, component: str, output: str) -> pathlib.Path:
    return walk.made(run_dir, component, output)[-1]


def test_every_attempt_is_killed_where_it_was_to_be_and_the_last_ends(runs):
    folder, ends = runs
    assert [[name, point, code] for name, point, code, _ in ends] == [
        [kills.WHOLE, None, 0],
        *([kills.KILLED, point, -9] for point in kills.KILLS),
        [kills.KILLED, None, 0],
    ], (folder / "killed.txt").read_text()[-3000:]
    state = json.loads((folder / kills.KILLED / "walk" / "run.json").read_text())
    # None is left out.
    assert {c["id"] for c in state["components"]} == {kills.component_of(point) for point in kills.KILLS}


def test_what_was_finished_is_not_repeated(runs):
    """Each attempt finishes what the one before died in, takes what came earlier from the cache, and dies itself."""
    folder, _ = runs
    printed, before = attempts(folder), []
    for point in kills.KILLS:
        component, last = kills.component_of(point), before[-1] if before else None
        for name in {*before} - {component, last}:
            # Once a model is live, the next attempt compares with it: with itself.
            if name not in ("LiveModel", "Evaluator"):
                assert f"{name}: cached" in printed[point], (point, name)
        if last not in (None, component):
            assert f"{last}: done" in printed[point], (point, last)
        assert f"{component}: done" not in printed[point] and f"{component}: cached" not in printed[point]
        before.append(component)
    assert "going on after epoch 1" in printed["Trainer: the model is trained"]
    assert "going on after epoch 3" in printed["Evaluator"]
    assert "known from before" in printed["Trainer: an epoch is done"]


def test_the_metrics_are_those_of_the_uninterrupted_run(runs):
    folder, _ = runs
    whole, killed = (folder / name / "walk" for name in (kills.WHOLE, kills.KILLED))
    found = [
        verdict.read(str(artifact(d, "Evaluator", "evaluation")), str(artifact(d, "Evaluator", "blessing")))
        for d in (whole, killed)
    ]
    measured = [[(r.slice, r.examples, r.candidate, r.popularity) for r in one.slices] for one in found]
    assert measured[0] == measured[1]
    assert found[0].blessed and found[1].blessed and len(found[0].slices) > 1
    assert found[0].overall.candidate["ndcg@10"].value > 0.2
    histories = [
        json.loads(next(artifact(d, "Trainer", "model_run").rglob("history.json")).read_text())
        for d in (whole, killed)
    ]
    assert histories[1]["resumed_from_epoch"] == 3 and histories[0]["resumed_from_epoch"] is None
    for epochs in zip(*(history["epochs"] for history in histories)):
        assert epochs[0]["loss"] == epochs[1]["loss"] and epochs[0]["ndcg@10"] == epochs[1]["ndcg@10"]
    assert histories[0]["tuned"] == histories[1]["tuned"]


def test_the_trainer_takes_the_best_of_the_search(runs):
    run_dir = runs[0] / kills.WHOLE / "walk"
    trials, history = (
        json.loads(next(artifact(run_dir, component, output).rglob(name)).read_text())
        for component, output, name in (
            ("Tuner", "tuner_results", "trials.json"),
            ("Trainer", "model_run", "history.json"),
        )
    )
    assert [trial["values"]["model.dim"] for trial in trials] == [15, 15, 16, 16]
    failed = ["multiple of heads (2), found 15" in (trial["error"] or "") for trial in trials]
    assert failed == [True, True, False, False]
    (taken,) = [trial for trial in trials if trial["taken"]]
    assert taken["values"] == {"model.dim": 16, "training.learning_rate": 0.01}
    assert taken["score"] > trials[2]["score"] + 0.1 and taken["epochs"] == 2
    assert history["tuned"] == taken["values"]
    # The same training up to where the trial ended; the experiment's own goes on.
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2, 3]
    assert max(epoch["ndcg@10"] for epoch in history["epochs"][:2]) == taken["score"]
    assert history["epochs"][0]["learning_rate"] == pytest.approx(0.01)
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert 'id="search"' in page and ">taken<" in page


def test_one_version_is_pushed_and_nothing_is_left_behind(runs):
    folder, _ = runs
    run_dir = folder / kills.KILLED / "walk"
    base = run_dir / "serving" / "walk"
    assert len(os.listdir(base)) == 1
    # Nor what a killed search would have gone on from.
    assert not any((run_dir / "checkpoints").glob("*/ckpt-*"))
    assert not any((run_dir / "checkpoints").glob("search-*"))
    root = run_dir / "pipeline_root"
    left = [*root.glob("*/.system/*/*/.temp"), *root.glob("*/.system/stateful_working_dir/*")]
    assert not left and not (run_dir / "tmp").exists() and not list(run_dir.glob(f"{store.ASIDE}*"))
    # Half-made artifacts of killed executions are gone: what is there is what the uninterrupted run has.
    whole = folder / kills.WHOLE / "walk" / "pipeline_root"
    outputs = {(path.parent.parent.name, path.parent.name) for path in whole.glob("*/[!.]*/*")}
    # The Evaluator measures again once there is a model to compare with.
    for component, output in (names for names in outputs if names[0] not in ("LiveModel", "Evaluator")):
        assert len(os.listdir(root / component / output)) == 1, (component, output)
    deadline = time.monotonic() + 30
    while any(str(folder) in command for command in _commands()):
        assert time.monotonic() < deadline, "a server outlives its run"
        time.sleep(0.1)


def _commands() -> list:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found
