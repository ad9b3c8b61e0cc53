"""Sweeps: what is made of trainings that end or fail."""

import json
import math
import os
import signal

import pytest
import yaml

from components.evaluator import verdict
from pipeline import config, lineage, progress
from pipeline.comparing import runs
from pipeline.runners import local
from pipeline.sweeping import points as point_lib
from pipeline.sweeping import proposals, results, sweep
from pipeline.sweeping import space as spaces
from schemas import errors
from tests.components.behavior_example_gen import harness

EXPERIMENT = {
    "name": "mine",
    "model": {"name": "sasrec", "dim": 8, "heads": 2},
    "training": {"seed": 5, "epochs": 3},
}


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """A sweep whose trainings are a function of the experiment, and what was trained."""
    path = harness.write_csv(tmp_path / "log.csv", ["u,i,1"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": path}}))
    trained = []

    def trial(self, point, seed, log_path, stop):
        try:
            experiment = self._experiment(point.values, seed)
        except errors.InputError as error:
            return point_lib.Trial(seed, progress.FAILED, error=str(error))
        trained.append((experiment.model.dim, experiment.training.seed))
        if experiment.model.dim == 64:
            return point_lib.Trial(
                seed, progress.FAILED, error="Trainer: TrainingError: the loss is not a number"
            )
        score = experiment.model.dim / 100 + seed / 1000
        return point_lib.Trial(
            seed, progress.DONE, 1.0, on_eval={"ndcg@10": score}, on_test={"ndcg@10": score / 2}
        )

    monkeypatch.setattr(sweep.Sweep, "_trial", trial)

    def run(points, seeds=2, overrides=()):
        return sweep.Sweep(str(tmp_path / "mine.yaml"), overrides, str(tmp_path / "runs"), seeds).run(
            points, "grid"
        )

    return run, trained, tmp_path / "runs"


def test_failures_are_told_and_the_others_go_on(swept):
    run, trained, folder = swept
    found = run(proposals.grid_points(spaces.parse_grid(["model.dim=64,7,16,32"])))
    assert trained == [(64, 5), (64, 6), (16, 5), (16, 6), (32, 5), (32, 6)]
    assert [point.values["model.dim"] for point in found] == [32, 16, 64, 7]
    best = found[0].summary("on_eval")["ndcg@10"]
    assert best["mean"] == pytest.approx(0.3255) and best["sd"] == pytest.approx(0.001 / math.sqrt(2))
    assert found[2].errors == ["Trainer: TrainingError: the loss is not a number"]
    assert "dim must be a multiple of heads (2), found 7" in found[3].errors[0]
    printed = results.table(found)
    assert "32         0.3255 ± 0.0007" in printed and "0 of 2" in printed
    assert "failed: model.dim=64: Trainer: TrainingError: the loss is not a number" in printed
    written = json.loads((folder / results.FILE).read_text())
    assert [point["values"]["model.dim"] for point in written["points"]] == [32, 16, 64, 7]
    assert written["seeds"] == [5, 6] and written["points"][0]["on_test"]["ndcg@10"]["mean"] == pytest.approx(
        0.16275
    )
    assert {run["state"] for run in written["points"][3]["runs"]} == {"failed"}


def test_points_of_exposures_are_ranked_by_auc():
    """And what has no value on test is left out of what is written."""
    low, high = (
        point_lib.Point(
            {"model.dim": dim},
            [point_lib.Trial(1, "done", on_eval={"auc": auc}, on_test={"auc": auc - 0.1, "log_loss": 0.3})],
            objective="auc",
        )
        for dim, auc in ((8, 0.6), (16, 0.7))
    )
    assert point_lib.ranked([low, high]) == [high, low]
    printed = results.table([high, low])
    assert "eval auc  test auc  test log_loss" in printed and "sorted by auc on eval" in printed
    written = results.as_plain([low, high], [1], "grid", "mine")
    assert written["objective"] == "auc on eval, mean over seeds"
    assert written["points"][0]["values"] == {"model.dim": 16}


def test_a_point_is_ranked_by_what_its_training_stopped_by(tmp_path, monkeypatch):
    """Of a pretraining with labels by a linear probe, which its objective does not name."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": "log.csv"}}))
    epochs = [
        {"epoch": 1, "neighbor_agreement": 0.4, "probe_auc": 0.6, "probe_auc/busy": 0.6, "seconds": 3.0},
        {"epoch": 2, "neighbor_agreement": 0.1, "probe_auc": 0.7, "probe_auc/busy": 0.7, "seconds": 3.0},
    ]
    history = {"objective": "probe_auc", "best_epoch": 2, "epochs": epochs}
    (tmp_path / "history.json").write_text(json.dumps(history))

    def made(name, *types):
        found = [lineage.Artifact(0, "", kind, str(tmp_path), {}) for kind in types]
        return lineage.Component(name, "done", seconds=1.0, outputs=found)

    components = {
        "BehaviorExampleGen": made("BehaviorExampleGen", "Examples"),
        "Trainer": made("Trainer", "Model", "ModelRun"),
        "Evaluator": made("Evaluator", "ModelEvaluation"),
    }
    monkeypatch.setattr(verdict, "read", lambda uri: verdict.Verdict(None, (), (), False))
    point = point_lib.Point({}, objective="neighbor_agreement")
    experiment = config.load(str(tmp_path / "mine.yaml"))
    one = sweep.Sweep(str(tmp_path / "mine.yaml"), (), str(tmp_path / "runs"), 1)
    point.trials.append(one._result(experiment, point, 1, components))
    assert point.objective == "probe_auc" and point.score == 0.7
    assert set(point.trials[0].on_eval) == {"neighbor_agreement", "probe_auc", "probe_auc/busy"}
    assert results.as_plain([point], [1], "grid", "mine")["objective"] == "probe_auc on eval, mean over seeds"


def test_points_that_learn_something_else_are_ranked_by_what_all_are_measured_by(swept, monkeypatch):
    """The first point that trains says by what: one metric does not compare with another."""
    run, _, _ = swept
    measured = {"ndcg@10": 0.2, "period_ndcg@10": 0.3}
    own = {8: "ndcg@10", 16: "period_ndcg@10", 24: "auc", 32: "period_ndcg@10"}

    def trial(self, point, seed, *rest):
        dim = point.values["model.dim"]
        if dim == 8:
            return point_lib.Trial(seed, "failed", error="no")
        point.objective = own[dim]
        return point_lib.Trial(seed, "done", on_eval={"auc": 0.7} if dim == 24 else dict(measured))

    monkeypatch.setattr(sweep.Sweep, "_trial", trial)
    points = run(proposals.grid_points(spaces.parse_grid(["model.dim=8,16,24,32"])))
    found = {point.values["model.dim"]: point.objective for point in points}
    assert (found[16], found[24], found[32]) == ("period_ndcg@10", "auc", "period_ndcg@10")
    own[32] = "ndcg@10"
    points = run(proposals.grid_points(spaces.parse_grid(["model.dim=8,16,32"])))
    assert [point.score for point in points] == [0.3, 0.3, float("-inf")]
    assert (
        results.as_plain(points, [1], "grid", "mine")["objective"]
        == "period_ndcg@10 on eval, mean over seeds"
    )


def test_a_grid_without_any_fitting_point_starts_nothing(swept):
    run, trained, folder = swept
    with pytest.raises(errors.InputError, match="model.dims: unknown key"):
        run(proposals.grid_points(spaces.parse_grid(["model.dims=8,16"])))
    assert not trained and not folder.exists()


def test_overrides_and_no_grid(swept):
    run, trained, _ = swept
    (point,) = run([{}], seeds=1, overrides=["training.seed=9", "model.dim=24"])
    assert trained == [(24, 9)] and point.label == "as the experiment"
    assert "as the experiment  0.2490" in results.table([point])


def test_what_some_point_reads_may_be_in_the_file(swept):
    run, trained, _ = swept
    apart = ["loop={name: tp, classes: apart, users_per_step: 1}"]
    run(proposals.grid_points(spaces.parse_grid(["loop.users_per_step=1,8"])), overrides=apart)
    run(proposals.Search("random", spaces.parse_space(["loop.users_per_step=1..2"]), 2, 3), overrides=apart)
    assert len(trained) == 8
    for points in (
        proposals.grid_points(spaces.parse_grid(["model.dim=16,32"])),
        proposals.grid_points({}),
        proposals.Search("random", spaces.parse_space(["model.dim=16..32:step=2"]), 2, 3),
    ):
        with pytest.raises(
            errors.InputError, match=r"mine\.yaml: loop\.classes: found apart, which nothing reads"
        ):
            run(points, overrides=apart)
    assert len(trained) == 8


def test_what_all_points_have_for_nothing_starts_nothing(swept):
    """Their trainings would end in an exact search."""
    run, trained, folder = swept
    few = ["retrieval={name: ivf, recall: 0.9999, queries: 2000}"]
    words = r"mine\.yaml: retrieval: a recall of 0\.9999 is not shown by 2,000 queries, [^;]*$"
    for points in (
        proposals.grid_points(spaces.parse_grid(["model.dim=16,32"])),
        proposals.grid_points({}),
        proposals.Search("random", spaces.parse_space(["model.dim=16..32:step=2"]), 2, 3),
    ):
        with pytest.raises(errors.InputError, match=words):
            run(points, overrides=few)
    assert not trained and not folder.exists()
    run([{}], seeds=1, overrides=[*few, "retrieval.recall=0.95"])
    assert trained == [(8, 5)]


def test_an_edit_of_the_file_is_of_a_later_sweep(swept, tmp_path, monkeypatch):
    run, trained, _ = swept
    trial = sweep.Sweep._trial

    def edited(self, *arguments):
        found = trial(self, *arguments)
        text = (tmp_path / "mine.yaml").read_text().replace("seed: 5", "seed: 70")
        (tmp_path / "mine.yaml").write_text(text.replace("dim: 8", "dim: 32"))
        return found

    monkeypatch.setattr(sweep.Sweep, "_trial", edited)
    run([{}, {"training.epochs": 2}])
    assert trained == [(8, 5), (8, 6), (8, 5), (8, 6)]
    run([{}], seeds=1)
    assert trained[-1] == (32, 70)


def test_what_a_full_disk_has_left_of_a_point_is_made_again(tmp_path):
    experiment = config.load(config.find("ml100k-sasrec"))
    for seed in (1, 2):
        (tmp_path / f"seed-{seed}").mkdir()
    (tmp_path / "seed-1" / "experiment.yaml").write_text("")
    (tmp_path / "seed-2" / "experiment.yaml").write_text("a: [")
    sweep._forget_others(str(tmp_path), experiment)
    assert os.listdir(tmp_path) == []
    (tmp_path / "experiment.yaml").write_text("")
    (tmp_path / "point.json").write_text("[]")
    with pytest.raises(errors.InputError, match="point.json: damaged: not the file of a point"):
        runs.trained(str(tmp_path))
    (tmp_path / "point.json").write_text(json.dumps({"model": str(tmp_path), "examples": str(tmp_path)}))
    with pytest.raises(errors.InputError, match="experiment.yaml: damaged: no experiment"):
        runs.trained(str(tmp_path))


def test_the_folder_of_a_sweep_is_no_run(tmp_path):
    (tmp_path / "x-sweep" / "points").mkdir(parents=True)
    (tmp_path / "x-sweep" / "metadata.sqlite").write_text("")
    for text in (str(tmp_path / "x-sweep"), str(tmp_path)):
        with pytest.raises(
            errors.InputError, match="of a sweep, which has many models|neither the folder of a run"
        ):
            runs.find_runs(text)


def test_a_point_that_comes_again_is_not_trained_twice(swept):
    """A Bayesian search may come back to a point."""
    run, trained, _ = swept
    points = [{"model.dim": dim} for dim in (8, 64, 8, 64, 16)]
    found = run(points, seeds=1)
    assert trained == [(8, 5), (64, 5), (16, 5)]
    assert [p.score for p in found] == [pytest.approx(0.165), pytest.approx(0.085), pytest.approx(0.085)] + [
        -math.inf
    ] * 2
    assert [p.trials[0].state for p in found] == ["done", "done", "cached", "failed", "failed"]


def test_a_search_ends_with_its_space(swept):
    run, trained, _ = swept
    points = proposals.Search("random", spaces.parse_space(["model.dim=8,16"]), trials=6, seed=1)
    found = run(points, seeds=1)
    assert [p.values["model.dim"] for p in found] == [16, 8] and sorted(trained) == [(8, 5), (16, 5)]


def test_what_comes_before_training_fails_for_all(tmp_path, monkeypatch):
    """A log that does not fit is one error, not one for each point."""
    path = harness.write_csv(tmp_path / "log.csv", ["u,i,1"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": path}}))
    launched = []

    def launch(experiment, places):
        launched.append(experiment)
        raise RuntimeError("no window for 'test'")

    monkeypatch.setattr(sweep, "_launch", launch)
    failed = [lineage.Component("BehaviorExampleGen", "failed")]
    monkeypatch.setattr(lineage, "components", lambda *_: failed)
    one = sweep.Sweep(str(tmp_path / "mine.yaml"), (), str(tmp_path / "runs"), 1)
    with pytest.raises(local.RunFailed, match="BehaviorExampleGen: RuntimeError: no window"):
        one.run([{}, {"model.dim": 16}], "grid")
    assert len(launched) == 1
    # The Trainer's failure is the point's own.
    failed[0].id = "Trainer"
    found = one.run([{}, {"model.dim": 16}], "grid")
    assert (
        len(launched) == 3
        and [p.errors for p in found] == [["Trainer: RuntimeError: no window for 'test'"]] * 2
    )


def test_a_model_that_does_not_fit_what_it_starts_from_is_the_points_own(tmp_path, monkeypatch):
    """Whichever component finds that, also one before the log is read."""
    path = harness.write_csv(tmp_path / "log.csv", ["u,i,1"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": path}}))

    def launch(experiment, places):
        try:
            raise errors.ModelError("model.dim 64, found 8")
        except errors.ModelError as error:
            raise RuntimeError("the driver") from error

    monkeypatch.setattr(sweep, "_launch", launch)
    monkeypatch.setattr(lineage, "components", lambda *_: [])
    one = sweep.Sweep(str(tmp_path / "mine.yaml"), (), str(tmp_path / "runs"), 1)
    found = one.run([{}, {"model.dim": 16}], "grid")
    assert [p.errors for p in found] == [["model.dim 64, found 8"]] * 2


def test_a_sweep_that_is_stopped_ends_there(tmp_path, monkeypatch):
    """Beam makes an error of the signal, which no point has failed by."""
    path = harness.write_csv(tmp_path / "log.csv", ["u,i,1"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": path}}))
    launched = []

    def launch(experiment, places):
        launched.append(experiment)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise RuntimeError("KeyboardInterrupt [while running 'Write']") from error

    monkeypatch.setattr(sweep, "_launch", launch)
    monkeypatch.setattr(lineage, "components", lambda *_: [lineage.Component("Trainer", "failed")])
    one = sweep.Sweep(str(tmp_path / "mine.yaml"), (), str(tmp_path / "runs"), 1)
    with pytest.raises(KeyboardInterrupt):
        one.run([{}, {"model.dim": 16}], "grid")
    assert len(launched) == 1 and not os.path.exists(tmp_path / "runs" / results.FILE)


def test_folders_are_safe_and_different():
    assert (
        sweep.folder_name({"model.dim": 32, "training.learning_rate": 0.001})
        == "model.dim=32+training.learning_rate=0.001"
    )
    name = sweep.folder_name({"loss.x": "a/b,c"})
    assert "/" not in name and "," not in name
    long = [sweep.folder_name({f"model.k{i}": 1.0 for i in range(30)} | {"model.z": z}) for z in (1, 2)]
    assert long[0] != long[1] and max(map(len, long)) < 200


def test_seeds_of_another_sweep_do_not_stay_beside_those_of_this_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": "log.csv"}}))
    for seed, epochs in ((1, 3), (2, 3), (3, 4)):
        folder = tmp_path / "point" / f"seed-{seed}"
        folder.mkdir(parents=True)
        experiment = config.load(str(path), [f"training.seed={seed}", f"training.epochs={epochs}"])
        (folder / runs.EXPERIMENT).write_text(experiment.to_yaml())
    sweep._forget_others(str(tmp_path / "point"), config.load(str(path), ["training.seed=7"]))
    assert sorted(os.listdir(tmp_path / "point")) == ["seed-1", "seed-2"]


def test_a_sweep_of_searches_is_refused(swept, tmp_path):
    run, trained, folder = swept
    tuning = "tuning={space: {model.dim: [8, 16]}}"
    with pytest.raises(errors.InputError, match="leave it out with --set tuning=null"):
        run([{}], overrides=[tuning])
    assert not trained and not folder.exists()
    run([{}], seeds=1, overrides=[tuning, "tuning=null"])
    assert trained == [(8, 5)]


def test_without_a_push_nothing_is_pushed_or_compared_with_what_is_live(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": "log.csv"}}))
    run_dir = str(tmp_path / "run")
    ids = {
        push: {
            node.id: node for node in local.assemble(config.load(str(path)), run_dir, push=push).components
        }
        for push in (True, False)
    }
    assert set(ids[True]) - set(ids[False]) == {"LiveModel", "ServerValidator", "Pusher"}
    compared = {push: nodes["Evaluator"].exec_properties["live_model"] for push, nodes in ids.items()}
    assert compared[True] is not None and compared[False] is None


def test_other_metrics_do_not_train_the_model_again(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "log": {"path": "log.csv"}}))

    def properties(*changes):
        made = local.assemble(config.load(str(path), changes), str(tmp_path / "run")).components
        return {node.id: dict(node.exec_properties) for node in made}

    plain, measured = (
        properties(),
        properties("evaluation.sampled_negatives=99", "evaluation.cutoffs=[10,30]"),
    )
    assert [name for name in plain if plain[name] != measured[name]] == ["Evaluator"]
    seen = properties("evaluation.exclude_seen=false")
    # The floors that the Evaluator measures go by it, too, and which model may be compared with.
    assert [name for name in plain if plain[name] != seen[name]] == ["LiveModel", "Trainer", "Evaluator"]
