"""A whole run with a search in it: the model is trained with what the search found, and once."""

import json

import pytest
import yaml
from tfx.orchestration.local import local_dag_runner

from pipeline import config, lineage
from pipeline.reporting import report
from pipeline.runners import local
from tests.e2e import walk

SPACE = {"model.dim": [15, 16], "training.learning_rate": [0.00001, 0.01]}


@pytest.fixture(scope="module")
def run(tmp_path_factory, one_device):
    """Runs the experiment up to its evaluation; gives the run's folder and each component's state."""
    folder = tmp_path_factory.mktemp("tuning")
    walk.write_day(folder / "log", 1, seed=1, users=150, steps=8)
    experiment = {
        "name": "walk",
        "log": {"path": str(folder / "log" / "day-1" / "*.csv")},
        "window": {"length": 8, "shards": 1},
        "split": {"by": ["leave_one_out"]},
        "model": {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2},
        "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.1},
        "tuning": {"search": "grid", "space": SPACE, "training": {"epochs": 2}},
        "evaluation": {"cutoffs": [1, 10], "slices": [], "confidence_intervals": False},
    }
    path = folder / "walk.yaml"
    path.write_text(yaml.safe_dump(experiment))

    def once():
        dag = local.assemble(config.load(str(path)), str(folder / "run"), push=False)
        local_dag_runner.LocalDagRunner().run(dag)
        return folder / "run", {c.id: c.state for c in lineage.components(str(folder / "run"), {})}

    return once


def artifact(run_dir, component, output, name):
    (folder,) = walk.made(run_dir, component, output)
    (path,) = folder.rglob(name)
    return json.loads(path.read_text())


def test_the_trainer_takes_the_best_of_the_search_and_a_second_run_searches_no_more(run):
    run_dir, states = run()
    assert list(states).index("Tuner") == list(states).index("Trainer") - 1
    assert states["Tuner"] == states["Trainer"] == "done"
    trials = artifact(run_dir, "Tuner", "tuner_results", "trials.json")
    assert [trial["values"]["model.dim"] for trial in trials] == [15, 15, 16, 16]
    assert ["multiple of heads (2), found 15" in trial["error"] for trial in trials] == [True] * 2 + [
        False
    ] * 2
    (taken,) = [trial for trial in trials if trial["taken"]]
    assert taken["values"] == {"model.dim": 16, "training.learning_rate": 0.01}
    assert taken["score"] > trials[2]["score"] + 0.1 and taken["epochs"] == 2

    history = artifact(run_dir, "Trainer", "model_run", "history.json")
    assert history["tuned"] == taken["values"]
    # The same training up to where the trial ended; the experiment's own goes on.
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2, 3]
    assert max(epoch["ndcg@10"] for epoch in history["epochs"][:2]) == taken["score"]
    assert history["epochs"][0]["learning_rate"] == pytest.approx(0.01)
    # What a killed search would have gone on from is no longer needed.
    assert not any((run_dir / "checkpoints").iterdir())
    with open(report.build(str(run_dir)), encoding="utf-8") as stream:
        page = stream.read()
    assert 'id="search"' in page and ">taken<" in page

    _, states = run()
    assert states["Tuner"] == states["Trainer"] == "cached"
    assert len(walk.made(run_dir, "Tuner", "tuner_results")) == 1
