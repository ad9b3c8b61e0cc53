"""Studies, and the tables that are made of what was measured."""

import functools
import json
import os
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from benchmarks import quality
from benchmarks import study as study_lib
from components.behavior_example_gen.reading import times
from pipeline import config, datasets
from pipeline.comparing import runs
from pipeline.sweeping import sweep
from schemas import kinds, names

_NAMES = sorted(name[: -len(".yaml")] for name in os.listdir(study_lib.STUDIES))


@pytest.mark.parametrize("name", _NAMES)
def test_every_point_is_an_experiment(name: str, tmp_path: Any) -> None:
    study = study_lib.Study(name, "nowhere")
    for point in study.points:
        if study.floor(point) is not None:
            continue
        path = tmp_path / f"{point}.yaml"
        path.write_text(yaml.safe_dump(study.as_it_is_run(point)), encoding="utf-8")
        config.load(str(path))
        # As its results are kept.
        assert json.loads(json.dumps(study.experiment(point))) == study.experiment(point)
    for pair in study.pairs:
        assert set(pair) <= set(study.points)
    for point in study.points:
        study.described(point)
    for metric in study.measure().main:
        part = metric.partition("/")[2]
        assert not part or set(study.groups.get(part, [part])) <= set(study.steps), metric
    assert not set(study.groups) & set(study.steps)


def test_a_point_is_run_without_what_it_inherits_and_nothing_reads() -> None:
    """An ablation of a part leaves the part's settings, by which it is known, as the study has them."""
    study = study_lib.Study("tp-beauty", "nowhere")
    assert study.experiment("sasrec-tp-lambda0")["loop"]["discriminator_rate"] == 1
    assert "discriminator_rate" not in study.as_it_is_run("sasrec-tp-lambda0")["loop"]
    assert study.as_it_is_run("sasrec-tp") == study.experiment("sasrec-tp")


@pytest.mark.parametrize("name", _NAMES)
def test_what_is_kept_was_measured_with_the_settings_of_now(name: str) -> None:
    path = os.path.join(study_lib.RESULTS, f"{name}.json")
    if not os.path.exists(path):
        pytest.skip(f"nothing was measured of {name}")
    with open(path, encoding="utf-8") as stream:
        kept = json.load(stream)["points"]
    assert set(study_lib.Study(name, "nowhere").read()) == set(kept)


@pytest.mark.parametrize("name", _NAMES)
def test_a_study_can_read_the_times_of_its_log(
    name: str, shared_data: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_lib, "WORK", str(tmp_path))
    study = study_lib.Study(name, str(shared_data("")))
    log = config.load(study.write_experiment(study.points[0])).log
    if log.path.startswith(datasets.PREFIX):
        return
    column = log.columns.timestamp
    read = (
        pd.read_parquet if log.path.endswith(".parquet") else functools.partial(pd.read_csv, usecols=[column])
    )
    found = times.convert(pa.chunked_array([pa.array(read(log.path)[column])]), times.Rule.of(log))
    assert (found.state == times.GOOD).mean() >= 1 - log.max_rejected_share


@pytest.fixture(name="study")
def _study(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> study_lib.Study:
    for folder in ("STUDIES", "RESULTS", "WORK"):
        monkeypatch.setattr(study_lib, folder, str(tmp_path / folder))
    os.makedirs(study_lib.STUDIES)
    _write_study(dropout=0.2)
    return study_lib.Study("small", "nowhere")


def _write_study(dropout: float) -> None:
    values = {
        "title": "small",
        "seeds": 3,
        "experiment": {"log": {"path": "log.csv"}, "model": {"name": "sasrec", "dim": 8}},
        "compare": [["a", "b"]],
        "points": {"a": {}, "b": {"model": {"dropout": dropout}}, "c": {"model": {"name": "caser"}}},
    }
    with open(os.path.join(study_lib.STUDIES, "small.yaml"), "w", encoding="utf-8") as stream:
        yaml.safe_dump(values, stream)


def _runs(*means: float) -> list[dict[str, Any]]:
    metrics = [{"windows": 9, "hr@10": [mean, 0.01], "ndcg@10": [mean / 2, 0.01]} for mean in means]
    return [
        {
            "seed": seed,
            "best_epoch": 4,
            "cpu_seconds": 1800,
            "slices": {"all": found, "user_status=new": found},
        }
        for seed, found in enumerate(metrics, start=1)
    ]


def test_settings_of_a_point_are_merged_but_not_those_of_another_model(study: study_lib.Study) -> None:
    assert study.experiment("b")["model"] == {"name": "sasrec", "dim": 8, "dropout": 0.2}
    assert study.experiment("c")["model"] == {"name": "caser"}


def test_a_point_whose_settings_changed_counts_as_not_measured(study: study_lib.Study) -> None:
    study.keep("a", _runs(0.1))
    study.keep("b", _runs(0.2))
    study.keep_comparison("a", "b", {"seeds": 1, "slices": {}})
    _write_study(dropout=0.3)
    changed = study_lib.Study("small", "nowhere")
    assert set(study.read()) == {"a", "b"} and set(study.comparisons()) == {"a -> b"}
    assert set(changed.read()) == {"a"} and not changed.comparisons()


def test_seeds_are_added_to_those_measured_before(study: study_lib.Study) -> None:
    first, second, third = _runs(0.1, 0.2, 0.3)
    study.keep("a", [first, third])
    study.keep("a", [second])
    assert [run["seed"] for run in study.read()["a"]["runs"]] == [1, 2, 3]


def test_intervals_over_seeds_are_students() -> None:
    mean, half = quality.mean_and_interval(_runs(0.10, 0.12, 0.17), "all", "hr@10")
    # Quantile 0.975 of two degrees of freedom, from a printed table: 4.303.
    deviation = np.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2)
    assert mean == pytest.approx(0.13)
    assert half == pytest.approx(4.303 * deviation / np.sqrt(3), rel=1e-4)


def test_the_interval_of_one_seed_is_over_its_windows() -> None:
    assert quality.mean_and_interval(_runs(0.1), "all", "hr@10") == pytest.approx((0.1, 0.0196))
    assert quality.mean_and_interval(_runs(0.1), "user_status=existing", "hr@10") is None


def test_a_table_has_a_row_a_point_and_a_row_a_slice_of_a_pair(study: study_lib.Study) -> None:
    study.keep("a", _runs(0.10, 0.12, 0.17))
    study.keep("b", _runs(0.2))
    pair = {"hr@10": [0.07, 0.01, 0.13, 0.02], "ndcg@10": [0.035, None, None, None]}
    others = {"hr@10": [-0.07, -0.13, -0.01, 0.0003], "ndcg@10": None}
    study.keep_comparison("a", "b", {"seeds": 1, "slices": {"all": pair, "user_status=new": others}})
    lines = quality.table(study).splitlines()
    assert lines[2] == "| a | 3 | 4, 4, 4 | 0.1300 ± 0.0896 | 0.0650 ± 0.0448 | 1.50 |"
    assert lines[3] == "| b | 1 | 4 | 0.2000 ± 0.0196 | 0.1000 ± 0.0196 | 0.50 |"
    assert lines[-2] == "| a -> b | all | 9 | 1 | +0.0700 [+0.0100, +0.1300], p 0.020 | +0.0350 |"
    assert lines[-1] == "| a -> b | user_status=new | 9 | 1 | -0.0700 [-0.1300, -0.0100], p < 0.001 | – |"


def test_a_comparison_of_fewer_seeds_than_its_means_says_so_and_replaces_none_of_more(
    study: study_lib.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.keep("a", _runs(0.1, 0.2, 0.3))
    study.keep("b", _runs(0.2, 0.3, 0.4))
    study.keep_comparison("a", "b", {"seeds": 2, "slices": {"all": {"hr@10": [0.1, None, None, None]}}})
    assert quality.table(study).splitlines()[-1].startswith("| a -> b | all | 9 | 2 of 3 | +0.1000")
    for seeds, kept in ((1, 2), (3, 3)):
        found = {"seeds": seeds, "slices": {"all": {"hr@10": [0.1, None, None, None]}}}
        monkeypatch.setattr(quality, "compare_pair", lambda *_, found=found: found)
        monkeypatch.setattr(study_lib.Study, "pairs", [("a", "b")])
        quality.run(study, ["a", "b"], 3)
        assert study.comparisons()["a -> b"]["seeds"] == kept


def _ranks(rank: float) -> pd.DataFrame:
    """What a model says that ranks every target alike."""
    kind, windows = kinds.window_kind("next"), range(8)
    key = {
        kind.user: [f"u{row}" for row in windows],
        kind.item: [f"i{row}" for row in windows],
        kind.time: windows,
    }
    table = pd.DataFrame({**key, **{name: ["same"] * len(windows) for name in names.SLICES}})
    return table.assign(**{names.RANK: rank, names.CATALOGUE_SIZE: 100})


def test_what_points_said_is_enough_for_a_pair(
    study: study_lib.Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Their models may be gone; of seeds, those that both have said something with."""
    for point, rank in (("a", 1.0), ("b", 20.0)):
        study.keep(point, _runs(0.1, 0.2, 0.3))
        for seed in (1, 3) if point == "a" else (1, 2, 3):
            study.keep_answers(point, seed, _ranks(rank))
    # Rows of a user may come in any order.
    study.keep_answers("b", 3, _ranks(20.0)[::-1])
    found = quality.compare_pair(study, "a", "b")
    assert found is not None and found["seeds"] == 2
    assert found["slices"]["all"]["hr@10"][:3] == [-1, -1, -1]
    # What b said with other settings is of another point.
    _write_study(dropout=0.3)
    changed = study_lib.Study("small", "nowhere")
    changed.keep("b", _runs(0.1, 0.2, 0.3))
    assert changed.answers("b", 1) is None and changed.answers("a", 1) is not None
    assert quality.compare_pair(changed, "a", "b") is None
    monkeypatch.setattr(study_lib.Study, "pairs", [("a", "b")])
    quality.run(changed, ["a"], 3)
    assert "small: a and b are not compared" in capsys.readouterr().out
    changed.keep_answers("b", 1, _ranks(20.0)[:5])
    with pytest.raises(SystemExit, match="a and b: the runs differ in .* of their test windows"):
        quality.compare_pair(changed, "a", "b")


def _write_pretraining(study_settings: dict[str, Any] | None = None, **byb: Any) -> None:
    values = {
        "title": "small",
        "seeds": 2,
        "together": True,
        "experiment": {
            "log": {"path": "log.csv"},
            "window": {"kind": "period", "past": "9d", "future": "9d", "labels": {"buys": {"any_of": {}}}},
            "model": {"name": "byb_labels", "dim": 8},
        },
        "points": {
            "byb": {"window": {"future": "3d", "labels": {}}, "model": {"name": "byb", "dim": 8, **byb}},
            "tuned": {"model": {"base_model": "point:byb"}},
            "frozen": {"model": {"base_model": "point:byb", "frozen": True}},
            "mmoe": {"model": {"name": "mmoe"}},
        },
        "floors": {"counts": {"name": "counts"}, "pooled": {"name": "pooled_items", "items": "point:byb"}},
        **(study_settings or {}),
    }
    with open(os.path.join(study_lib.STUDIES, "small.yaml"), "w", encoding="utf-8") as stream:
        yaml.safe_dump(values, stream, sort_keys=False)


def _train(study: study_lib.Study, point: str, seed: int) -> str:
    """Makes what a sweep leaves of a training."""
    name = sweep.folder_name(study.values(point, seed))
    folder = os.path.join(study.folder(point), "points", name, f"seed-{seed}")
    model, examples = (os.path.join(folder, part) for part in ("model", "examples"))
    for made in (model, examples):
        os.makedirs(made)
    with open(os.path.join(folder, runs.POINT), "w", encoding="utf-8") as stream:
        json.dump({"model": model, "examples": examples}, stream)
    return model


def test_a_point_starts_from_the_model_that_its_pretraining_has_of_the_same_seed(
    study: study_lib.Study,
) -> None:
    _write_pretraining()
    study = study_lib.Study("small", "nowhere")
    assert study.pretraining("tuned") == study.pretraining("pooled") == "byb"
    assert study.pretraining("mmoe") is None and study.pretraining("counts") is None
    with pytest.raises(SystemExit, match="byb has not been trained with seed 1 here: measure it first"):
        study.values("tuned", 1)
    assert study.run_folder("tuned", 1) is None
    models = {seed: _train(study, "byb", seed) for seed in (1, 2)}
    for seed in (1, 2):
        found = study.values("tuned", seed)["model"]
        assert found["base_model"].startswith(os.path.abspath(models[seed])) and found["dim"] == 8
        _train(study, "tuned", seed)
    folders = {study.run_folder(point, seed) for point in ("byb", "tuned") for seed in (1, 2)}
    assert len(folders) == 4 and None not in folders
    # No path of this machine is kept with what was measured.
    assert study.described("tuned")["model"]["base_model"] == "point:byb"


def test_without_common_windows_a_setting_alone_says_where_a_point_starts(study: study_lib.Study) -> None:
    _write_pretraining({"together": False})
    study = study_lib.Study("small", "nowhere")
    assert study.values("tuned") == {}
    _train(study, "byb", 1)
    assert list(study.values("tuned", 1)) == ["model.base_model"]
    assert study.folder("tuned") != study.folder("byb")


def test_a_point_whose_pretraining_changed_counts_as_not_measured(study: study_lib.Study) -> None:
    _write_pretraining(blocks=1)
    before = study_lib.Study("small", "nowhere")
    for point in before.points:
        before.keep(point, _runs(0.1))
    assert set(before.read()) == {"byb", "tuned", "frozen", "mmoe", "counts", "pooled"}
    _write_pretraining(blocks=2)
    assert set(study_lib.Study("small", "nowhere").read()) == {"mmoe", "counts"}


def test_points_of_other_windows_are_not_compared(study: study_lib.Study) -> None:
    _write_pretraining({"baseline": "counts", "compare": [["tuned", "frozen"]]})
    others = ["tuned", "frozen", "mmoe", "pooled"]
    pairs = study_lib.Study("small", "nowhere").pairs
    assert pairs == [("tuned", "frozen"), *(("counts", other) for other in others)]
    _write_pretraining({"compare": [["byb", "tuned"]]})
    with pytest.raises(SystemExit, match="byb and tuned cannot be compared: their log or window or split"):
        print(study_lib.Study("small", "nowhere").pairs)


def test_a_pretraining_that_there_is_not_is_named(study: study_lib.Study) -> None:
    _write_pretraining({"floors": {"pooled": {"name": "pooled_items", "items": "point:bib"}}})
    with pytest.raises(SystemExit, match="small pooled: point:bib: no such point; there are byb, tuned"):
        study_lib.Study("small", "nowhere").pretraining("pooled")


def test_each_point_is_measured_by_what_it_learns(study: study_lib.Study) -> None:
    _write_pretraining()
    study = study_lib.Study("small", "nowhere")
    assert study.steps == ("buys",)
    assert study.measure("byb").main == ("neighbor_agreement", "effective_rank", "spread")
    assert study.measure("tuned").main == ("auc", "auc/buys", "ks", "ks/buys")
    assert study.measure("counts").noun == study.measure().noun == "periods"
    _write_pretraining({"groups": {"rare": ["buys"]}})
    assert study_lib.Study("small", "nowhere").measure("tuned").main[:3] == ("auc", "auc/rare", "auc/buys")


def test_pretrainings_are_measured_first_and_again_where_their_models_are_missing(
    study: study_lib.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_pretraining()
    study, done = study_lib.Study("small", "nowhere"), []

    def measured(_: Any, point: str, seed: int) -> dict[str, Any]:
        done.append((point, seed))
        return _runs(*[0.1] * seed)[-1]

    monkeypatch.setattr(quality, "measure", measured)
    monkeypatch.setattr(quality, "measure_floor", measured)
    quality.run(study, ["counts", "tuned"], 2)
    assert done == [("counts", 1), ("counts", 2), ("byb", 1), ("byb", 2), ("tuned", 1), ("tuned", 2)]
    done.clear()
    quality.run(study, ["tuned"], 2)
    assert not done
    # Its figures are known, but nothing here has its weights.
    quality.run(study, ["frozen"], 1)
    assert done == [("byb", 1), ("frozen", 1)]
    done.clear()
    # A seed that was measured before, wherever that was, is not measured again beside a new one.
    quality.run(study, ["tuned"], 3)
    assert done == [("byb", 3), ("tuned", 3)]


def test_a_pair_tells_what_its_seeds_say(study: study_lib.Study) -> None:
    """Differences of 0.02, 0.03 and 0.07: t = 0.04 / (sd 0.02646 / sqrt 3) = 2.619, p 0.120 of two degrees of freedom."""
    study.keep("a", _runs(0.10, 0.12, 0.17))
    study.keep("b", _runs(0.12, 0.15, 0.24))
    pair = {"hr@10": [0.04, 0.01, 0.07, 0.001], "ndcg@10": None}
    study.keep_comparison("a", "b", {"seeds": 3, "slices": {"all": pair}})
    cell = "+0.0400 [+0.0100, +0.0700], p 0.001, of 3 seeds p 0.120"
    half = "+0.0200, of 3 seeds p 0.120"
    assert quality.table(study).splitlines()[-1] == f"| a -> b | all | 9 | 3 | {cell} | {half} |"
    one, other = _runs(0.1, 0.2, 0.3), _runs(0.2, 0.3)
    # Two seeds that both have, a metric that none has, and differences that are all the same.
    assert quality.over_seeds(one, other, "all", "hr@10") is None
    assert quality.over_seeds(one, one, "all", "mrr") is None
    assert quality.over_seeds(one, one, "all", "hr@10") is None


def test_of_a_pair_that_was_measured_apart_the_means_are_told(
    study: study_lib.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the points said was not kept in one place: there is no p over users, and none over seeds of fewer than three."""
    monkeypatch.setattr(study_lib.Study, "pairs", [("a", "b")])
    study.keep("a", _runs(0.10, 0.12, 0.17))
    assert "->" not in quality.table(study)
    study.keep("b", _runs(0.12, 0.15))
    assert quality.table(study).splitlines()[-1] == "| a -> b | all | 9 | 0 of 2 | – | – |"
    study.keep("b", _runs(0.12, 0.15, 0.24))
    last = "| a -> b | all | 9 | 0 of 3 | +0.0400, of 3 seeds p 0.120 | +0.0200, of 3 seeds p 0.120 |"
    assert quality.table(study).splitlines()[-1] == last


def test_floors_and_pretrainings_have_rows_in_the_table(study: study_lib.Study) -> None:
    _write_pretraining()
    study = study_lib.Study("small", "nowhere")
    of_labels = {"periods": 9, "auc": [0.7, 0.01], "ks": [0.3, 0.02], "auc/buys": [0.7, 0.01]}
    study.keep("byb", [{"seed": 1, "best_epoch": 2, "slices": {"all": {"neighbor_agreement": [0.02, None]}}}])
    study.keep("counts", [{"seed": 1, "slices": {"all": of_labels}}])
    lines = quality.table(study).splitlines()
    assert lines[0] == "| point | seeds | best epoch | neighbor_agreement | auc | ks | auc/buys | CPU h |"
    assert lines[2:] == [
        "| byb | 1 | 2 | 0.0200 | – | – | – | 0.00 |",
        "| counts | 1 | – | – | 0.7000 ± 0.0196 | 0.3000 ± 0.0392 | 0.7000 ± 0.0196 | 0.00 |",
    ]
    assert quality.figures(study)["counts"] == {
        "seeds": [1],
        "auc": [0.7, 0.0196],
        "auc/buys": [0.7, 0.0196],
        "ks": [0.3, 0.0392],
    }


def test_what_no_run_has_is_not_a_column_of_dashes(study: study_lib.Study) -> None:
    study.keep("a", _runs(0.1))
    with pytest.raises(
        SystemExit, match="no slice user_status=nw was measured; there are: all, user_status=new"
    ):
        quality.table(study, slices=["user_status=nw"])
    with pytest.raises(SystemExit, match="no metric hr@7 was measured; there are: hr@10, ndcg@10"):
        quality.table(study, metrics=["hr@10", "hr@7"])
