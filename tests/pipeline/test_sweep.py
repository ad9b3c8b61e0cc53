"""Sweeps: what a person writes, which points follow, and what is made of trainings that end or fail."""

import json
import math
import os

import pytest
import yaml

from pipeline import config, progress, sweep
from pipeline.comparing import runs
from pipeline.runners import local
from schemas import errors
from tests.components.behavior_example_gen import harness
from trainer import search


def test_a_grid_is_every_combination():
    grid = sweep.parse_grid(
        ["model.dim=32,64", "training.learning_rate=0.001,3e-3", "training.xla=true,false"]
    )
    points = sweep.grid_points(grid)
    assert len(points) == 8 and len({tuple(point.values()) for point in points}) == 8
    assert {type(value) for point in points for value in point.values()} == {int, float, bool}
    assert {point["training.learning_rate"] for point in points} == {0.001, 0.003}
    assert sweep.grid_points({}) == [{}]


@pytest.mark.parametrize(
    "texts,words",
    [
        (["model.dim"], "takes KEY=VALUES"),
        (["window.length=10,20"], "a key starts with model., loss., loop., training."),
        (["model=sasrec,gru4rec"], "a key starts with"),
        (["training.seed=1,2"], "--seeds"),
        (["model.dim=1", "model.dim=2"], "there twice"),
    ],
)
def test_grids_that_are_none(texts, words):
    with pytest.raises(errors.InputError, match=words):
        sweep.parse_grid(texts)


def test_spaces():
    space = sweep.parse_space(
        [
            "model.dim=16..128:log:step=2",
            "model.dropout=0..0.5",
            "training.learning_rate=1e-4..1e-2:log",
            "model.heads=1,2",
        ]
    )
    assert space["model.dim"] == search.Range(low=16, high=128, step=2, log=True)
    assert space["model.dropout"] == search.Range(low=0, high=0.5)
    assert space["training.learning_rate"] == search.Range(low=0.0001, high=0.01, log=True)
    assert space["model.heads"] == search.Range(choices=(1, 2))
    for text, words in (
        ("model.dim=8..4", "a range goes up"),
        ("model.dim=0..4:log", "above 0"),
        ("model.dim=1..4:cubic", "none of log, linear"),
        ("model.dim=a..b", "a range is of numbers"),
        ("model.dim=1..4:log:step=1", "step must be above 1"),
        ("model.dim=1,x", "choices are numbers, texts or true and false"),
    ):
        with pytest.raises(errors.InputError, match=words):
            sweep.parse_space([text])


SPACE = ["model.dim=4..64:log:step=2", "training.learning_rate=1e-4..1e-1:log"]


def searched(kind, trials, score, seed=1):
    points = []
    for values, answer in sweep.Search(kind, sweep.parse_space(SPACE), trials, seed):
        points.append(values)
        answer(score(values))
    return points


def valley(values):
    """Best at a learning rate of 0.01, whatever the width."""
    return -abs(math.log10(values["training.learning_rate"]) + 2)


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_search_asks_for_the_same_points_again(kind):
    """This is what makes it resumable: what is finished comes from the cache."""
    first = searched(kind, 9, valley)
    assert first == searched(kind, 9, valley) and first != searched(kind, 9, valley, seed=2)
    assert len(first) == 9
    for point in first:
        assert point["model.dim"] in (4, 8, 16, 32, 64) and isinstance(point["model.dim"], int)
        assert 1e-4 <= point["training.learning_rate"] <= 1e-1
        yaml.safe_dump(point)  # plain values, not NumPy's


def test_a_bayesian_search_listens():
    """Other answers, other points, once its random start is over; a random search asks on as it would."""
    other = lambda values: -valley(values)  # noqa: E731
    first, second = searched("bayesian", 8, valley), searched("bayesian", 8, other)
    assert first[:6] == second[:6] and first[6:] != second[6:]
    assert searched("random", 8, valley) == searched("random", 8, other)


def test_failed_points_do_not_end_a_search():
    assert len(searched("random", 6, lambda values: -math.inf)) == 6
    assert len(searched("bayesian", 6, lambda values: -math.inf)) == 6


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

    def trial(self, point, seed, log_path):
        try:
            experiment = self._experiment(point.values, seed)
        except errors.InputError as error:
            return sweep.Trial(seed, progress.FAILED, error=str(error))
        trained.append((experiment.model.dim, experiment.training.seed))
        if experiment.model.dim == 64:
            return sweep.Trial(
                seed, progress.FAILED, error="Trainer: TrainingError: the loss is not a number"
            )
        score = experiment.model.dim / 100 + seed / 1000
        return sweep.Trial(
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
    found = run(sweep.grid_points(sweep.parse_grid(["model.dim=64,7,16,32"])))
    assert trained == [(64, 5), (64, 6), (16, 5), (16, 6), (32, 5), (32, 6)]
    assert [point.values["model.dim"] for point in found] == [32, 16, 64, 7]
    best = found[0].summary("on_eval")["ndcg@10"]
    assert best["mean"] == pytest.approx(0.3255) and best["sd"] == pytest.approx(0.001 / math.sqrt(2))
    assert found[2].errors == ["Trainer: TrainingError: the loss is not a number"]
    assert "dim must be a multiple of heads (2), found 7" in found[3].errors[0]
    printed = sweep.table(found)
    assert "32         0.3255 ± 0.0007" in printed and "0 of 2" in printed
    assert "failed: model.dim=64: Trainer: TrainingError: the loss is not a number" in printed
    written = json.loads((folder / sweep.FILE).read_text())
    assert [point["values"]["model.dim"] for point in written["points"]] == [32, 16, 64, 7]
    assert written["seeds"] == [5, 6] and written["points"][0]["on_test"]["ndcg@10"]["mean"] == pytest.approx(
        0.16275
    )
    assert {run["state"] for run in written["points"][3]["runs"]} == {"failed"}


def test_points_of_exposures_are_ranked_by_auc():
    """And what has no value on test is left out of what is written."""
    low, high = (
        sweep.Point(
            {"model.dim": dim},
            [sweep.Trial(1, "done", on_eval={"auc": auc}, on_test={"auc": auc - 0.1, "log_loss": 0.3})],
            objective="auc",
        )
        for dim, auc in ((8, 0.6), (16, 0.7))
    )
    assert sweep.ranked([low, high]) == [high, low]
    printed = sweep.table([high, low])
    assert "eval auc  test auc  test log_loss" in printed and "sorted by auc on eval" in printed
    written = sweep.as_plain([low, high], [1], "grid", "mine")
    assert written["objective"] == "auc on eval, mean over seeds"
    assert written["points"][0]["values"] == {"model.dim": 16}


def test_a_grid_without_any_fitting_point_starts_nothing(swept):
    run, trained, folder = swept
    with pytest.raises(errors.InputError, match="model.dims: unknown key"):
        run(sweep.grid_points(sweep.parse_grid(["model.dims=8,16"])))
    assert not trained and not folder.exists()


def test_overrides_and_no_grid(swept):
    run, trained, _ = swept
    (point,) = run([{}], seeds=1, overrides=["training.seed=9", "model.dim=24"])
    assert trained == [(24, 9)] and point.label == "as the experiment"
    assert "as the experiment  0.2490" in sweep.table([point])


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
    points = sweep.Search("random", sweep.parse_space(["model.dim=8,16"]), trials=6, seed=1)
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
    failed = [sweep.lineage.Component("BehaviorExampleGen", "failed")]
    monkeypatch.setattr(sweep.lineage, "components", lambda *_: failed)
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
    assert set(ids[True]) - set(ids[False]) == {"LatestBlessedModel", "ServerValidator", "Pusher"}
    assert (
        "baseline_model" in ids[True]["Evaluator"].inputs
        and "baseline_model" not in ids[False]["Evaluator"].inputs
    )


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
    # The floors that the Evaluator measures go by it, too.
    assert [name for name in plain if plain[name] != seen[name]] == ["Trainer", "Evaluator"]
