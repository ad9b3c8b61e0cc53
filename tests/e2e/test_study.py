"""A study whose points start from a pretraining, with floors on the same windows, from the log to its table."""

import os

import yaml

from benchmarks import quality
from benchmarks import study as study_lib
from tests.e2e import walk

_STUDY = {
    "title": "small",
    "seeds": 1,
    "together": True,
    "baseline": "counts",
    "experiment": {
        "log": {"path": "day-1/events.csv", "columns": {"scene": "scene"}},
        "window": {
            "kind": "period",
            "past": "5m",
            "future": "2m",
            "length": 10,
            "min_future": 0,
            "shards": 1,
            "labels": {"stays": {"any_of": {}}, "searches": {"any_of": {"scene": ["search"]}}},
        },
        "split": {"by": ["time"], "eval_from": 0.5, "test_from": 0.75},
        "model": {
            "name": "byb_labels",
            "encoder": "causal",
            "dim": 8,
            "blocks": 1,
            "heads": 2,
            "tower": [4],
        },
        "training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.01},
    },
    "points": {
        # Of the same windows, which have labels: by these it is probed.
        "next": {"model": {"name": "user_next", "dim": 8, "blocks": 1, "heads": 2}},
        "finetuned": {"model": {"base_model": "point:next"}, "training": {"label_share": 0.5}},
    },
    "floors": {
        "counts": {"name": "counts"},
        "pooled": {"name": "pooled_items", "items": "point:next"},
        "head": {"name": "head", "embeddings": "point:next"},
    },
}


def test_a_point_is_finetuned_from_another_and_compared_with_floors(tmp_path, monkeypatch, one_device):
    walk.write_day(tmp_path, 1, seed=1, users=200, scenes=True)
    for folder in ("STUDIES", "RESULTS", "WORK"):
        monkeypatch.setattr(study_lib, folder, str(tmp_path / folder))
    os.makedirs(study_lib.STUDIES)
    (tmp_path / "STUDIES" / "small.yaml").write_text(yaml.safe_dump(_STUDY, sort_keys=False))
    study = study_lib.Study("small", str(tmp_path))
    figures = quality.run(study, study.points, 1)
    assert figures["next"]["neighbor_agreement"][0] > 0
    for point in ("finetuned", "counts", "pooled", "head"):
        for metric in ("auc/stays", "ks/searches"):
            assert 0 <= figures[point][metric][0] <= 1, (point, metric)
    # A user who walks on comes to where the last step leads.
    assert figures["counts"]["auc/searches"][0] > 0.6
    # An item's table of its own and more.
    measured = study.read()
    assert measured["finetuned"]["runs"][0]["parameters"] > measured["next"]["runs"][0]["parameters"] > 100
    saved = study.saved_model("next", 1)
    assert os.path.isdir(saved)
    assert set(study.comparisons()) == {f"counts -> {point}" for point in ("finetuned", "pooled", "head")}
    table = quality.table(study, ["auc", "ks"])
    assert "| counts | 1 | – |" in table and "| counts -> pooled | all |" in table
