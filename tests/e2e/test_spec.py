"""The compiled spec runs, from the log to the push, as Kubeflow Pipelines and Vertex AI would run it.

The tests are stations of one deployment, in the order of this file: each goes on from what the one before left.
"""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf
import tensorflow_transform as tft
import yaml

from components.behavior_example_gen import candidates
from components.evaluator import verdict
from pipeline import cli, config, example_log
from pipeline.runners import kubeflow
from schemas import names
from tests.e2e import spec_walk, walk

# Small, and open: what a gate asks is tested elsewhere. That a model passes it is what is needed here.
_RUN = {
    "split": {"by": ["leave_one_out"]},
    "evaluation": {"confidence_intervals": False},
    "infra": {"requests": 2, "max_p50_ms": 5000.0, "load_seconds": 400.0, "server": "embedded"},
}
RANKING = {
    **_RUN,
    "name": "walk",
    "window": {"length": 8, "shards": 1},
    "model": {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 1, "dropout": 0.1},
    "training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.01},
    "gate": {"min_lift_over_floor": None},
}
LABELS = {
    **_RUN,
    "name": "shown",
    "window": {"kind": "exposure", "steps": ["click", "buy"], "inconsistent": "fill", "shards": 1},
    "split": {"by": ["time"]},
    "model": {"name": "mlp", "dim": 4, "tower": [8]},
    "training": {"epochs": 1, "batch_size": 128},
    "gate": {"min_lift_over_base_rate": None, "min_positives": 0},
}
PERIODS = {
    **_RUN,
    "name": "periods",
    "window": {"kind": "period", "past": "10m", "future": "1m", "length": 8, "shards": 1},
    "split": {"by": ["time"], "eval_from": 0.6, "test_from": 0.8},
    "model": {"name": "scenectc", "dim": 8, "scene_dim": 4, "blocks": 1, "heads": 1},
    "training": {"epochs": 1, "batch_size": 64},
    "evaluation": {**_RUN["evaluation"], "candidates_within": "2m"},
    "gate": {"min_lift_over_floor": None, "min_examples": 0},
}

USERS = {
    **_RUN,
    "name": "users",
    "window": {"kind": "period", "past": "10m", "future": "1m", "length": 8, "shards": 1},
    "split": {"by": ["time"], "eval_from": 0.6, "test_from": 0.8},
    "model": {"name": "byb", "dim": 8, "blocks": 1, "heads": 1, "min_spread": 0, "min_rank": 0},
    "training": {"epochs": 1, "batch_size": 64},
}

# Steps that only look at the data, and stop a run: they do not differ from one window kind to the next.
WATCHING = {"StatisticsGen", "ExampleValidator", "AnomalyGate"}
# From the log to a model.
TO_A_MODEL = ("LogState", "LiveModel", "BehaviorExampleGen", "ImportSchemaGen", "Transform", "Trainer")
# Of each run, not of the experiments.
EPOCHS = 2


class Deployment:
    """A log, an experiment, and the backend that runs its compiled spec."""

    def __init__(self, folder: pathlib.Path, site: pathlib.Path, experiment: dict, log: dict):
        self.folder, self._name = folder, experiment["name"]
        (folder / "experiment.yaml").write_text(yaml.safe_dump({**experiment, "log": log}))
        self.kept = folder / "bucket"
        self.spec = folder / "spec.yaml"
        command = ["compile", str(folder / "experiment.yaml"), "-o", str(self.spec), "--root", str(self.kept)]
        assert cli.execute(command) == 0
        loaded = config.load(str(folder / "experiment.yaml"))
        schema = pathlib.Path(kubeflow.schema_place(loaded, str(self.kept)))
        schema.parent.mkdir(parents=True)
        shutil.copy(folder / "spec.schema.pbtxt", schema)
        self.site = site
        self.backend = spec_walk.Backend(folder, site)
        # A regression has none.
        self._epochs = {"epochs": EPOCHS} if "epochs" in experiment["training"] else {}

    def run(self, *tasks: str, **parameters: str) -> dict[str, spec_walk.Done]:
        return self.backend.run(self.spec, tasks or None, {**self._epochs, **parameters})

    def versions(self) -> list[str]:
        return sorted(str(path) for path in (self.kept / self._name / "serving" / self._name).glob("*"))


def ran(done: dict[str, spec_walk.Done]) -> set[str]:
    """The tasks whose outputs were not taken from the cache."""
    return {name for name, of in done.items() if not of.cached}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return spec_walk.install(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def ranking(tmp_path_factory, site):
    folder = tmp_path_factory.mktemp("ranking")
    for day in (1, 2):
        walk.write_day(folder / "log", day, seed=day, users=120, steps=6)
    made = Deployment(folder, site, RANKING, {"path": str(folder / "log" / "day-{SPAN}" / "*.csv")})
    yield made
    made.backend.close()


def test_a_ranking_spec_runs_to_a_push(ranking):
    done = ranking.run(push="no")
    assert ran(done) == set(done) >= {"LogState", "LiveModel", "Trainer", "Evaluator", "Pusher"}
    assert not ranking.versions() and not done["Pusher"].artifacts["pushed_model"]["metadata"]["pushed"]
    # What ExampleGen's driver would have found out.
    state = json.loads(done["LogState"].parameters["state"])
    assert state["span"] == 2
    examples = done["BehaviorExampleGen"].artifacts["examples"]
    assert examples["metadata"]["span"] == 2
    assert examples["metadata"]["input_fingerprint"] == state["fingerprint"]
    profile = pathlib.Path(done["BehaviorExampleGen"].artifacts["profile"]["uri"], "profile.json")
    assert json.loads(profile.read_text())["events"] == 2 * 120 * 6
    assert not pathlib.Path(examples["uri"], ".windowing").exists()
    assert len([*(ranking.kept / "walk" / "accepted_statistics").glob("*/span-2.pb")]) == 1
    pushing = ranking.run()
    assert ran(pushing) == {"LogState", "LiveModel", "Pusher"}
    pushed = pushing["Pusher"].artifacts["pushed_model"]["metadata"]
    assert ranking.versions() == [pushed["pushed_destination"]]
    assert json.loads(done["LiveModel"].parameters["live"])["path"] is None
    found = verdict.read(done["Evaluator"].artifacts["evaluation"]["uri"])
    assert not found.has_baseline
    history = json.loads(
        pathlib.Path(done["Trainer"].artifacts["model_run"]["uri"], "history.json").read_text()
    )
    assert len(history["epochs"]) == EPOCHS != RANKING["training"]["epochs"]


def test_a_second_run_finds_the_live_model_and_a_third_is_cached(ranking):
    (live,) = ranking.versions()
    done = ranking.run()
    assert ran(done) == {"LogState", "LiveModel", "Evaluator", "Pusher"}
    assert json.loads(done["LiveModel"].parameters["live"])["path"] == live
    found = verdict.read(done["Evaluator"].artifacts["evaluation"]["uri"])
    # It is the candidate itself, measured on the same windows.
    assert found.overall.change["ndcg@10"].value == 0
    assert found.overall.baseline["ndcg@10"].value == found.overall.candidate["ndcg@10"].value > 0
    blessing = done["Evaluator"].artifacts["blessing"]["metadata"]
    assert blessing["blessed"] == 1 and blessing["baseline_model"] == live
    assert ranking.versions() == [live]
    told = json.loads(done["LiveModel"].parameters["live"])
    assert blessing["judged_against"] == told["digest"]
    # They look each time, and are in no cache; what is there already is not pushed again.
    assert ran(ranking.run()) == {"LogState", "LiveModel", "Pusher"}
    assert ranking.versions() == [live]


def test_late_events_of_an_older_span_are_read(ranking):
    with open(ranking.folder / "log" / "day-1" / "events.csv", "a", encoding="utf-8") as log:
        log.write("u0,i1,1600086500\n")
    done = ranking.run("LogState", "BehaviorExampleGen")
    assert ran(done) == {"LogState", "BehaviorExampleGen"}
    profile = pathlib.Path(done["BehaviorExampleGen"].artifacts["profile"]["uri"], "profile.json")
    assert json.loads(profile.read_text())["events"] == 2 * 120 * 6 + 1
    # A run may be of an earlier span, and of another log.
    earlier = ranking.run("LogState", span="1")["LogState"].parameters["state"]
    assert json.loads(earlier)["span"] == 1
    moved = ranking.folder / "moved"
    shutil.copytree(ranking.folder / "log" / "day-1", moved / "day-7")
    done = ranking.run("LogState", "BehaviorExampleGen", log_path=str(moved / "day-{SPAN}" / "*.csv"))
    profile = pathlib.Path(done["BehaviorExampleGen"].artifacts["profile"]["uri"], "profile.json")
    assert json.loads(profile.read_text())["events"] == 120 * 6 + 1
    assert done["BehaviorExampleGen"].artifacts["examples"]["metadata"]["span"] == 7


def test_bad_input_is_a_steps_last_line(ranking):
    (ranking.folder / "log" / "day-2").rename(ranking.folder / "log" / "day-two")
    with pytest.raises(spec_walk.StepFailed) as failed:
        ranking.run("LogState")
    code, last = str(failed.value).splitlines()[0], str(failed.value).splitlines()[-1]
    assert code.startswith("LogState ended with 2") and last.startswith(
        "footfall: log.path: {SPAN} stands for"
    )


def test_vertex_ai_runs_it_too(ranking):
    """It gives names and types, and would run a hook; the steps until a type of ours has been read and written."""
    (ranking.folder / "log" / "day-two").rename(ranking.folder / "log" / "day-2")
    backend = spec_walk.Backend(ranking.folder / "vertex", ranking.site, vertex=True)
    backend.share(ranking.backend)
    done = backend.run(ranking.spec, ("LogState", "BehaviorExampleGen", "StatisticsGen"))
    assert done["StatisticsGen"].artifacts["statistics"]["metadata"]["span"] == 2
    assert done["BehaviorExampleGen"].artifacts["rejected"]["name"].startswith("projects/")


def test_a_labels_spec_runs_to_a_push(tmp_path, site, ranking):
    log = tmp_path / "shown.csv"
    log.write_text("\n".join(example_log.make().splitlines()[:3000]) + "\n")
    columns = {"label": {"click": "clicked", "buy": "bought"}, "item": {"category": "category"}}
    made = Deployment(tmp_path, site, LABELS, {"path": str(log), "columns": columns})
    made.backend.share(ranking.backend)
    tasks = set(yaml.safe_load(made.spec.read_text())["root"]["dag"]["tasks"]) - WATCHING
    done = made.run(*tasks)
    assert ran(done) == tasks
    assert made.versions() == [done["Pusher"].artifacts["pushed_model"]["metadata"]["pushed_destination"]]
    found = verdict.read(done["Evaluator"].artifacts["evaluation"]["uri"])
    assert found.objective == "labels" and found.steps == ("click", "buy")


def test_a_finetuning_spec_starts_from_what_another_has_pretrained(tmp_path, site, ranking):
    walk.write_day(tmp_path / "log", 1, seed=4, users=60, steps=8)
    log = {"path": str(tmp_path / "log" / "day-1" / "*.csv")}
    for folder in ("pretraining", "finetuning"):
        (tmp_path / folder).mkdir()
    pretraining = Deployment(tmp_path / "pretraining", site, USERS, log)
    pretraining.backend.share(ranking.backend)
    (model,) = (
        done.artifacts["model"]["uri"] + "/Format-Serving"
        for name, done in pretraining.run(*TO_A_MODEL).items()
        if name == "Trainer"
    )
    labels = {"low": {"any_of": {"item_id": [f"i{number}" for number in range(walk.ITEMS // 2)]}}}
    finetuning = {
        **USERS,
        "name": "finetuned",
        "window": {**USERS["window"], "min_future": 0, "labels": labels},
        "model": {
            **{name: value for name, value in USERS["model"].items() if not name.startswith("min_")},
            **{"name": "byb_labels", "base_model": model, "frozen": True, "tower": []},
        },
        "loop": {"name": "logistic_regression"},
        "training": {},
    }
    made = Deployment(tmp_path / "finetuning", site, finetuning, log)
    made.backend.share(ranking.backend)
    done = made.run(*TO_A_MODEL, "BaseModel")
    run = pathlib.Path(done["Trainer"].artifacts["model_run"]["uri"])
    history = json.loads((run / "history.json").read_text())
    assert history["base_model"]["from"] == model and history["base_model"]["weights"] > 0
    assert set(history["penalties"]) == set(labels)


def test_a_periods_spec_runs_to_a_model_of_items_and_scenes(tmp_path, site, ranking, capsys):
    walk.write_day(tmp_path / "log", 1, seed=3, users=60, steps=8, scenes=True)
    log = {"path": str(tmp_path / "log" / "day-1" / "*.csv"), "columns": {"scene": "scene"}}
    made = Deployment(tmp_path, site, PERIODS, log)
    made.backend.share(ranking.backend)
    tasks = set(yaml.safe_load(made.spec.read_text())["root"]["dag"]["tasks"]) - WATCHING
    done = made.run(*tasks)
    assert ran(done) == tasks
    found = verdict.read(done["Evaluator"].artifacts["evaluation"]["uri"])
    assert {"period_recall@10", "scene_hr@10"} <= set(found.slices[0].candidate)
    (pushed,) = made.versions()
    assert pushed == done["Pusher"].artifacts["pushed_model"]["metadata"]["pushed_destination"]
    history = [{"item_id": "i3", "scene": walk.scene_of(3), "timestamp": 1_600_086_400_000}]
    (tmp_path / "history.jsonl").write_text(json.dumps(history))
    capsys.readouterr()
    asked = ["--history", str(tmp_path / "history.jsonl"), "-k", "2", "--json"]
    assert cli.execute(["predict", str(pathlib.Path(pushed).parent), *asked]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["item_id"]) == len(answer["scene"]["scene"]) == 2
    place = done["Transform"].artifacts
    output = tft.TFTransformOutput(place["transform_graph"]["uri"])
    assert set(output.vocabulary_by_name(names.SCENE_VOCABULARY)) == {scene.encode() for scene in walk.SCENES}
    raw, transformed = done["BehaviorExampleGen"].artifacts["examples"], place["transformed_examples"]
    moments, places, items = candidates.read(raw["uri"])
    assert len(set(moments.tolist())) > 1 and len(items) > 1 and len(places) == len(moments)
    for split in names.SPLITS:
        windows, features = (_examples(folder["uri"], split) for folder in (raw, transformed))
        assert len(windows) == len(features) > 0
        wanted = [len(window[names.FUTURE_ITEM_ID].bytes_list.value) for window in windows]
        assert sorted(wanted) == sorted(len(f[names.FUTURE_SECONDS].float_list.value) for f in features)
        for window in windows:
            before, after = (
                window[name].int64_list.value for name in (names.HISTORY_TIMESTAMP, names.FUTURE_TIMESTAMP)
            )
            (moment,) = window[names.MOMENT].int64_list.value
            assert (
                moment - 600_000
                <= before[0]
                <= before[-1]
                < moment
                <= after[0]
                <= after[-1]
                < moment + 60_000
            )


def _examples(uri, split):
    """The features of the examples of a split."""
    files = sorted(str(path) for path in pathlib.Path(uri, f"Split-{split}").iterdir())
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record).features.feature for record in records]
