"""What it saves to start the next training from the live model, as `training.warm_start: last_blessed` does.

    python -m benchmarks.warm_start [--quick] [--log RATINGS.csv.gz] [--seeds N] [--days N]

A SASRec (64 wide, 2 blocks, 2 heads, 50 events) is trained on a log until N days before its end, and exported. Then the
whole log is trained on: by a model of initial weights, and by one that starts from what was exported, where the items
that are new since then have initial vectors. Both have the same windows, seed and settings, and train until `eval` (the two
weeks before the last) does not improve for `patience` epochs. What is compared: the epochs and seconds of training until
the warm one's NDCG@10 on `eval` is at least the best of the other, and NDCG@10 of both on `test` (the last week, which no
training has seen in any way), of their best epochs by `eval`. Without a log one is drawn, in which users walk from item to
item. The last line is a JSON object of the figures.
"""

import argparse
import json
import os
import statistics
import tempfile
from typing import Any

from benchmarks import quick

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

_DAY = 86_400
_METRIC = "ndcg@10"
_MODEL = {"name": "sasrec", "dim": 64, "blocks": 2, "heads": 2, "dropout": 0.3}
_LOSS = {"name": "sampled_softmax", "negatives": 1024, "shared_negatives": True}
# Rates without a warm-up let some trainings of initial weights end after two epochs.
_TRAINING = {"epochs": 40, "batch_size": 128, "learning_rate": 0.001, "warmup_steps": 200, "patience": 6}


def draw(path: str, users: int = 200, days: int = 60, seed: int = 0) -> None:
    """A log in which each day has some new items, and what follows an item is mostly one other."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        item = int(rng.integers(20))
        for day in range(int(rng.integers(days // 2)), days, 3):
            item = int(rng.integers(20 + day)) if rng.random() < 0.2 else (7 * item + 3) % (20 + day)
            rows.append((user, item, 1_600_000_000 + _DAY * day + user))
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(path, index=False)


def prepare(path: str, folder: str, back: int) -> Any:
    """Windows and features of a log until `back` days before its end.

    Args:
      path: a CSV file of user_id, item_id and timestamp (s).
      folder: of all that is made.
      back: days.
    """
    import datetime

    import pandas as pd

    from benchmarks import prepared
    from components.behavior_example_gen import spec
    from components.behavior_example_gen.windows.next import NextWindow
    from components.transform import spec as transform_spec

    log = pd.read_csv(path, dtype={"user_id": str, "item_id": str})
    end = int(log["timestamp"].max()) + 1 - _DAY * back
    os.makedirs(folder)
    cut = os.path.join(folder, "events.csv")
    log[log["timestamp"] < end].to_csv(cut, index=False, columns=["user_id", "item_id", "timestamp"])

    def weeks_before(number: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(end - 7 * _DAY * number, datetime.timezone.utc)

    columns = spec.Columns(user_id="user_id", item_id="item_id", timestamp="timestamp")
    found = prepared.Prepared(
        spec.LogSpec(path=cut, columns=columns, timestamp_unit="s"),
        NextWindow(length=50),
        spec.SplitSpec(by=("time",), eval_from=weeks_before(3), test_from=weeks_before(1)),
        transform_spec.FeaturesSpec(),
        folder,
    )
    found.cut()
    found.transform()
    return found


def train(
    data: Any, settings: dict[str, Any], seed: int, base: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """Trains to the end; gives the model and the history."""
    from trainer import config, task

    given = config.TrainerSettings.from_values(
        {**settings, "training": {**settings["training"], "seed": seed}}
    )
    with tempfile.TemporaryDirectory() as folder:
        loop, history = task.train(given, data, folder, base_model=base)
    return loop.model, history


def _on_test(data: Any, model: Any, settings: dict[str, Any]) -> float:
    from trainer import config, objectives

    given = config.TrainerSettings.from_values(settings)
    return objectives.get("ranking").prepare(given, data).evaluation(model).evaluate()[_METRIC]


def _until(history: dict[str, Any], wanted: float) -> tuple[int, float] | None:
    """Epochs and seconds until the metric is as wanted; None: never."""
    seconds = 0.0
    for epoch in history["epochs"]:
        seconds += epoch["seconds"]
        if epoch[_METRIC] >= wanted:
            return epoch["epoch"], seconds
    return None


def measure(path: str, settings: dict[str, Any], seeds: int, days: int) -> dict[str, Any]:
    """Trains all three of each seed; of a live model that is no day old, on one log."""
    from schemas import names
    from serving import export

    with tempfile.TemporaryDirectory() as folder:
        after = prepare(path, os.path.join(folder, "after"), 0)
        earlier_log = prepare(path, os.path.join(folder, "before"), days) if days else after
        before = earlier_log.data("ranking")
        data, test = after.data("ranking"), after.data("ranking", names.TEST)
        found: list[dict[str, Any]] = []
        for seed in range(1, seeds + 1):
            base = os.path.join(folder, f"base-{seed}")
            earlier, _ = train(before, settings, seed)
            export.export_model(earlier, before.transform_output, base, objective="ranking")
            cold, of_cold = train(data, settings, seed)
            warm, of_warm = train(data, settings, seed, base)
            best = max(epoch[_METRIC] for epoch in of_cold["epochs"])
            needed, reached = _until(of_cold, best), _until(of_warm, best)
            found.append(
                {
                    "rows": of_warm["warm_start"]["rows"],
                    "cold": {
                        "epochs": needed[0],
                        "seconds": round(needed[1], 1),
                        "eval": best,
                        "test": _on_test(test, cold, settings),
                    },
                    "warm": {
                        "epochs": reached[0] if reached else None,
                        "seconds": round(reached[1], 1) if reached else None,
                        "eval": max(epoch[_METRIC] for epoch in of_warm["epochs"]),
                        "test": _on_test(test, warm, settings),
                    },
                }
            )
            _print(seed, found[-1])
    reached = [one for one in found if one["warm"]["seconds"]]
    return {
        "seeds": found,
        "reached": len(reached),
        "saved": round(statistics.mean(1 - s["warm"]["seconds"] / s["cold"]["seconds"] for s in reached), 3)
        if reached
        else None,
        "test_difference": round(statistics.mean(s["warm"]["test"] - s["cold"]["test"] for s in found), 4),
    }


def _print(seed: int, found: dict[str, Any]) -> None:
    for name in ("cold", "warm"):
        row = found[name]
        print(
            f"seed {seed} {name}: {row['epochs']} epochs, {row['seconds']} s to the best {_METRIC} from initial weights; "
            f"best on eval {row['eval']:.4f}, on test {row['test']:.4f}",
            flush=True,
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(
        parser, "a drawn log, two epochs, and a live model of the same log", users=200, days=60, epochs=2
    )
    parser.add_argument("--log", help="a CSV file of user_id, item_id and timestamp in seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=int, default=7, help="how old the live model is")
    options = parser.parse_args()
    settings = {"model": _MODEL, "loss": _LOSS, "training": _TRAINING}
    if options.quick:
        settings = {
            "model": {**_MODEL, "dim": 8, "blocks": 1},
            "loss": {"name": "softmax"},
            "training": {**_TRAINING, "epochs": options.quick["epochs"]},
        }
    with tempfile.TemporaryDirectory() as folder:
        path = options.log
        if path is None:
            path = os.path.join(folder, "drawn.csv")
            draw(path, **({name: options.quick[name] for name in ("users", "days")} if options.quick else {}))
        seeds, days = (1, 0) if options.quick else (options.seeds, options.days)
        print(json.dumps(measure(path, settings, seeds, days)))


if __name__ == "__main__":
    main()
