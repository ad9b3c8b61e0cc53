"""Studies, and the tables that are made of what was measured."""

import json
import os
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import quality
from benchmarks import study as study_lib
from pipeline import config

_NAMES = sorted(name[: -len(".yaml")] for name in os.listdir(study_lib.STUDIES))


@pytest.mark.parametrize("name", _NAMES)
def test_every_point_is_an_experiment(name: str, tmp_path: Any) -> None:
    study = study_lib.Study(name, "nowhere")
    for point in study.points:
        path = tmp_path / f"{point}.yaml"
        path.write_text(yaml.safe_dump(study.experiment(point)), encoding="utf-8")
        config.load(str(path))
        # As its results are kept.
        assert json.loads(json.dumps(study.experiment(point))) == study.experiment(point)
    for pair in study.pairs:
        assert set(pair) <= set(study.points)


@pytest.mark.parametrize("name", _NAMES)
def test_what_is_kept_was_measured_with_the_settings_of_now(name: str) -> None:
    path = os.path.join(study_lib.RESULTS, f"{name}.json")
    if not os.path.exists(path):
        pytest.skip(f"nothing was measured of {name}")
    with open(path, encoding="utf-8") as stream:
        kept = json.load(stream)["points"]
    assert set(study_lib.Study(name, "nowhere").read()) == set(kept)


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


def test_what_no_run_has_is_not_a_column_of_dashes(study: study_lib.Study) -> None:
    study.keep("a", _runs(0.1))
    with pytest.raises(
        SystemExit, match="no slice user_status=nw was measured; there are: all, user_status=new"
    ):
        quality.table(study, slices=["user_status=nw"])
    with pytest.raises(SystemExit, match="no metric hr@7 was measured; there are: hr@10, ndcg@10"):
        quality.table(study, metrics=["hr@10", "hr@7"])
