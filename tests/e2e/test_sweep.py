"""A whole sweep and a comparison of its points with the real components."""

import contextlib
import io
import json

import pytest
import yaml

from components.evaluator import verdict
from pipeline.cli import parser
from tests.e2e import walk

SWEEP = ("sweep", "walk.yaml", "--grid", "training.epochs=0,3")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, one_device):
    """The folder of a sweep over two numbers of epochs, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    walk.write_day(folder / "log", 1, seed=1, users=150, steps=8)
    experiment = {
        "name": "walk",
        "log": {"path": str(folder / "log" / "day-1" / "*.csv")},
        "window": {"length": 8, "shards": 1},
        "split": {"by": ["leave_one_out"]},
        "model": {"name": "sasrec", "dim": 16, "blocks": 1, "heads": 1},
        "training": {"batch_size": 32, "learning_rate": 0.01},
        "evaluation": {
            "cutoffs": [1, 10],
            "sampled_negatives": 5,
            "slices": ["item_frequency"],
            "confidence_intervals": False,
        },
    }
    (folder / "walk.yaml").write_text(yaml.safe_dump(experiment))
    return folder, footfall(folder, *SWEEP)


def footfall(folder, command, *arguments):
    """A command in this process, which has TFX imported; what it printed at its end."""
    runs = ("--runs", str(folder / "runs")) if command == "sweep" else ()
    arguments = [str(folder / a) if a.endswith(".yaml") else a for a in arguments]
    options = parser.build().parse_args([command, *arguments, *runs])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert options.run(options) == 0
    return printed.getvalue()


def test_windows_are_made_once_and_nothing_is_pushed(swept):
    folder, printed = swept
    run_dir = folder / "runs" / "walk-sweep"
    assert len(walk.made(run_dir, "BehaviorExampleGen", "examples")) == 1
    assert len(walk.made(run_dir, "Transform", "transformed_examples")) == 1
    assert len(walk.made(run_dir, "Trainer", "model")) == 2
    assert len(walk.made(run_dir, "Evaluator", "evaluation")) == 2
    assert not (run_dir / "serving").exists() and not (run_dir / "pipeline_root" / "Pusher").exists()
    assert not (folder / "runs" / "walk").exists()
    # Sorted, best first.
    lines = [line.split() for line in printed.splitlines() if line[:2] in ("0 ", "3 ")]
    assert [line[0] for line in lines] == ["3", "0"] and float(lines[0][1]) > float(lines[1][1]) + 0.1


def test_its_points_can_be_compared_and_agree_with_the_evaluator(swept):
    folder, _ = swept
    points = folder / "runs" / "walk-sweep" / "points"
    arguments = [str(points / f"training.epochs={epochs}") for epochs in (0, 3)]
    found = json.loads(footfall(folder, "compare", *arguments, "--json"))
    assert found["differing"] == [["training.epochs", "0", "3"]]
    assert (found["only_a"], found["only_b"]) == (0, 0)
    written = json.loads((points.parent / "sweep.json").read_text())
    of_point = {point["values"]["training.epochs"]: point for point in written["points"]}
    evaluations = walk.made(points.parent, "Evaluator", "evaluation")
    by_slice = {tuple(part["slice"].items()): part for part in found["slices"]}
    for epochs, side, uri in zip((0, 3), "ab", evaluations):
        decided = verdict.read(str(uri))
        assert len(decided.slices) > 1
        for result in decided.slices:
            part = by_slice[result.slice]
            assert part["windows"] == result.examples
            assert set(part["metrics"]) == set(result.candidate) and "sampled5_mrr" in result.candidate
            for name, row in part["metrics"].items():
                assert row[side] == pytest.approx(result.candidate[name].value, abs=1e-6), (
                    result.slice,
                    name,
                )
        on_test = of_point[epochs]["on_test"]["mrr"]["mean"]
        assert on_test == pytest.approx(by_slice[()]["metrics"]["mrr"][side], abs=1e-6)
    row = by_slice[()]["metrics"]["mrr"]
    assert row["low"] > 0 and row["p"] < 0.01


def test_the_same_sweep_again_trains_nothing(swept):
    folder, _ = swept
    before = json.loads((folder / "runs" / "walk-sweep" / "sweep.json").read_text())
    footfall(folder, *SWEEP)
    run_dir = folder / "runs" / "walk-sweep"
    assert len(walk.made(run_dir, "Trainer", "model")) == 2
    after = json.loads((run_dir / "sweep.json").read_text())
    assert {run["state"] for point in after["points"] for run in point["runs"]} == {"cached"}
    assert [p["on_test"] for p in after["points"]] == [p["on_test"] for p in before["points"]]
