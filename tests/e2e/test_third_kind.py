"""A window kind of somebody's own goes from the log to a served answer, without an edit of any room."""

import json

import pytest
import yaml

from components.behavior_example_gen import windows
from components.evaluator import objectives as evaluated
from components.transform import windows as transformed
from pipeline import ask, comparing
from pipeline.reporting import objectives as reported
from schemas import kinds
from serving import objectives as served
from tests.e2e import third_kind, walk
from trainer import objectives as trained

# A time of the log, in s.
_LATE = 1_600_000_000 + 86_400 + 700


@pytest.mark.parametrize("entries", [windows.KINDS, transformed.PREPROCESSING])
def test_each_room_has_an_entry_for_each_window_kind(entries):
    assert set(entries) == set(kinds.WINDOW_KINDS)


@pytest.mark.parametrize(
    "entries",
    [
        evaluated.OBJECTIVES,
        trained.OBJECTIVES,
        served.OBJECTIVES,
        comparing.OBJECTIVES,
        reported.OBJECTIVES,
        ask.ASKING,
    ],
)
def test_each_room_has_an_entry_for_each_objective(entries):
    assert set(entries) == set(kinds.OBJECTIVES)


def test_a_registered_kind_is_windowed_trained_gated_pushed_and_asked(tmp_path):
    walk.write_day(tmp_path, 1, seed=1, scenes=True)
    experiment = {
        "name": "walk",
        "log": {"path": str(tmp_path / "day-1" / "*.csv"), "columns": {"scene": "scene"}},
        "window": {"kind": third_kind.KIND, "past": "10m", "future": "1m", "length": 10, "shards": 2},
        "split": {"by": ["time"], "eval_from": 0.6, "test_from": 0.8},
        "model": {
            "name": third_kind.MODEL,
            "dim": 16,
            "scene_dim": 4,
            "blocks": 1,
            "heads": 1,
            "dropout": 0.1,
        },
        "training": {"epochs": 4, "batch_size": 32, "learning_rate": 0.01},
        "evaluation": {"cutoffs": [1, 10]},
        "gate": {
            "min": {"hr@1": 0.3, "period_recall@10": 0.3, "scene_hr@1": 0.8},
            "metric": "ndcg@10",
            "min_lift_over_floor": 0.1,
        },
        "infra": {"requests": 5, "max_p50_ms": 500.0, "server": "embedded"},
    }
    (tmp_path / "walk.yaml").write_text(yaml.safe_dump(experiment))
    done = walk.finish(tmp_path, "run", "walk.yaml", module="tests.e2e.third_kind")
    assert done.returncode == 0 and "Blessed by the gate." in done.stdout, done.stdout
    report = (tmp_path / "runs" / "walk" / "report.html").read_text()
    assert "Test rounds" in report and "period_recall@10 is " in report and "scene_hr@1 is " in report
    items = [walk.successor(3)]
    items.append(walk.successor(items[0]))
    following = walk.successor(items[1])
    history = [
        {"item_id": f"i{item}", "scene": walk.scene_of(item), "timestamp": 1000 * (_LATE + 60 * number)}
        for number, item in enumerate(items)
    ]
    (tmp_path / "history.jsonl").write_text(json.dumps(history))
    # A server knows nothing of kinds: Footfall as it is answers from what was pushed, next items and next scenes.
    done = walk.inside(tmp_path, "predict", "runs/walk", "--history", "history.jsonl", "-k", "1")
    assert f"i{following} " in done.stdout, done.stdout
    assert f"scenes: {walk.scene_of(following)} " in done.stdout, done.stdout
