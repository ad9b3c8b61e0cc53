"""Embeddings of users are pretrained, gated, pushed and asked for, from the log on."""

import json

import numpy as np
import pyarrow.parquet as pq
import yaml
from ml_metadata import metadata_store

from pipeline.runners import store
from serving import objectives
from tests.e2e import walk

COLUMNS = {"scene": "scene", "context": {"price": {"column": "price", "type": "numeric"}}}


def _add_prices(path):
    """A price for each item, and none in every seventh row."""
    head, *rows = path.read_text().splitlines()
    prices = [
        "" if number % 7 == 0 else str(int(row.split(",")[1][1:]) * 1.5) for number, row in enumerate(rows)
    ]
    path.write_text(
        "\n".join([f"{head},price", *(f"{row},{price}" for row, price in zip(rows, prices))]) + "\n"
    )


def test_users_are_embedded_from_a_log_without_labels_and_labels_learnt_from_there(tmp_path, one_device):
    walk.write_day(tmp_path, 1, seed=1, users=400, scenes=True)
    _add_prices(tmp_path / "day-1" / "events.csv")
    experiment = {
        "name": "users",
        "log": {"path": str(tmp_path / "day-1" / "*.csv"), "columns": COLUMNS},
        "window": {"kind": "period", "past": "5m", "future": "2m", "length": 10, "shards": 2},
        "split": {"by": ["time"], "eval_from": 0.5, "test_from": 0.75},
        "model": {"name": "byb", "dim": 16, "blocks": 1, "heads": 2, "dropout": 0.0, "bucket": "none"},
        "training": {"epochs": 5, "batch_size": 32, "learning_rate": 0.01, "patience": 5},
        "evaluation": {"slices": ["history_length"]},
        "gate": {"min": {"effective_rank": 2.0, "spread": 0.1}, "min_lift_over_floor": 0.02},
        "infra": {"requests": 5, "max_p50_ms": 500.0, "server": "embedded"},
    }
    (tmp_path / "users.yaml").write_text(yaml.safe_dump(experiment))
    done = walk.inside(tmp_path, "run", "users.yaml")
    assert done.returncode == 0 and "Blessed by the gate." in done.stdout, done.stdout
    assert "neighbor_agreement: " in done.stdout and "a random other user 0." in done.stdout
    run = tmp_path / "runs" / "users"
    (trained,) = walk.made(run, "Trainer", "model_run")
    history = json.loads((trained / "history.json").read_text())
    last = history["epochs"][-1]
    assert history["objective"] == "neighbor_agreement"
    assert {"loss", "eval_loss", "cosine", "spread", "effective_rank", "target_spread"} <= set(last)
    assert last["neighbor_agreement"] > 2 * last["random_agreement"]
    report = (run / "report.html").read_text()
    assert "Effective rank of users" in report and "NEIGHBOR_AGREEMENT on eval" in report
    (version,) = [path for path in (run / "serving" / "users").iterdir() if path.name.isdigit()]
    assert objectives.of_saved_model(str(version)) == "user_embedding"
    history = [{"item_id": f"i{n}", "scene": "home", "timestamp": 1_600_086_400_000 + n} for n in (1, 2)]
    priced = [{**event, "context_price": 1.5} for event in history]
    (tmp_path / "history.jsonl").write_text(json.dumps(priced))
    done = walk.inside(tmp_path, "predict", "runs/users", "--history", "history.jsonl", "--json")
    embedding = json.loads(done.stdout.strip().splitlines()[-1])["embedding"]
    assert done.returncode == 0 and len(embedding) == 16
    done = walk.inside(tmp_path, "predict", "runs/users", "--items", "i1,i2")
    assert "16 dimensions, length " in done.stdout, done.stdout
    done = walk.inside(tmp_path, "embed", "runs/users", "-o", "vectors.parquet")
    assert done.returncode == 0, done.stdout
    table = pq.read_table(tmp_path / "vectors.parquet")
    # As of the end of the log: a quarter has done nothing in the five minutes before.
    assert table.num_rows == 300 and "left out: 100 users" in done.stdout
    assert len(table["moment"].unique()) == 1
    assert np.isfinite(np.stack(table["embedding"].to_numpy())).all()

    experiment["window"] |= {
        "min_future": 0,
        "labels": {"stays": {"any_of": {}}, "searches": {"any_of": {"scene": "search"}}},
    }
    experiment |= {
        "name": "finetuned",
        "model": {**experiment["model"], "name": "byb_labels", "base_model": "runs/users", "tower": [8]},
        "training": {"epochs": 2, "batch_size": 64, "learning_rate": 0.01},
        "gate": {"min": {"auc/searches": 0.0}, "min_lift_over_base_rate": None, "min_positives": 1},
    }
    (tmp_path / "finetuned.yaml").write_text(yaml.safe_dump(experiment))
    # What does not fit is told before the log is read, all of it; of a sweep it is the point's own.
    differs = "was pretrained with model.dim 16, found 8; window.past 5m, found 4m: "
    done = walk.inside(tmp_path, "run", "finetuned.yaml", "--set", "model.dim=8", "--set", "window.past=4m")
    assert done.returncode != 0 and differs in done.stdout, done.stdout
    assert not walk.made(tmp_path / "runs" / "finetuned", "BehaviorExampleGen", "examples")
    other = ("--set", "window.past=4m", "--grid", "model.dim=4,8")
    done = walk.inside(tmp_path, "sweep", "finetuned.yaml", *other)
    assert differs in done.stdout and "model.dim 16, found 4;" in done.stdout, done.stdout
    done = walk.inside(tmp_path, "run", "finetuned.yaml")
    assert done.returncode == 0 and "Blessed by the gate." in done.stdout, done.stdout
    run = tmp_path / "runs" / "finetuned"
    (trained,) = walk.made(run, "Trainer", "model_run")
    base = json.loads((trained / "history.json").read_text())["base_model"]
    assert base["from"] == f"runs/users/serving/users/{version.name}" and base["weights"] == base["of"] > 0
    # As the docs say where to find it.
    opened = metadata_store.MetadataStore(store.connection(str(run / store.FILE), readonly=True))
    (execution,) = opened.get_executions_by_id([int(trained.name)])
    named = json.loads(execution.custom_properties["base"].string_value)
    assert named == {"path": base["from"], "digest": base["digest"]}
    assert (
        f"run runs/users, version {version.name} (digest {base['digest'][:8]}, learnt from events up to "
        in ((run / "report.html").read_text())
    )
    assert base["rows"]["items"]["new_events"] == base["rows"]["items"]["new"] == 0 and not base["frozen"]
    assert base["rows"]["items"]["kept"] > 0 and "Pretrained by" in (run / "report.html").read_text()
    # Who the user is the network does not read.
    done = walk.inside(
        tmp_path, "predict", "runs/finetuned", "--exposure", json.dumps({"history": history}), "--json"
    )
    chances = json.loads(done.stdout.strip().splitlines()[-1])
    assert sorted(chances) == ["searches", "stays"] and all(0 < chance < 1 for chance in chances.values())

    # Another finetuning of the same network, of another task: no epochs, and what it fits is calibrated, gated and served.
    fitted = (
        "name=fitted",
        "window.labels={stays: {any_of: {}}, goes_home: {any_of: {scene: home}}}",
        "gate.min={auc/goes_home: 0}",
        "model.frozen=true",
        "model.tower=[]",
        "loop.name=logistic_regression",
        "model.dropout=0.1",
        "training={calibration: platt}",
    )
    done = walk.inside(
        tmp_path, "run", "finetuned.yaml", *(part for one in fitted for part in ("--set", one))
    )
    assert done.returncode == 0 and "Blessed by the gate." in done.stdout, done.stdout
    run = tmp_path / "runs" / "fitted"
    (trained,) = walk.made(run, "Trainer", "model_run")
    fit = json.loads((trained / "history.json").read_text())
    assert fit["stopped"] == "fitted" and set(fit["penalties"]) == {"stays", "goes_home"} == set(
        fit["calibration"]["steps"]
    )
    assert fit["base_model"]["of"] == base["of"] and fit["base_model"]["from"] == base["from"]
    assert f"goes_home {fit['penalties']['goes_home']}" in (run / "report.html").read_text()
    done = walk.inside(
        tmp_path, "predict", "runs/fitted", "--exposure", json.dumps({"history": history}), "--json"
    )
    other = json.loads(done.stdout.strip().splitlines()[-1])
    assert sorted(other) == ["goes_home", "stays"] and all(0 < chance < 1 for chance in other.values())
