"""How near models of exposures come to the best possible: a chain of three steps with known probabilities.

    python -m benchmarks.chain [--rows N] [--models bpcm,esmm] [--seed N]
    python -m benchmarks.chain --rates 0.04 0.004 0.0002 --rows 5000000
    python -m benchmarks.chain --quick

A log is drawn from a model of its own: a step follows the one before with a logistic chance of what is
known of user, item and device, and of the product of latent factors of user and item, which no column
shows. Rates fall from 30 % to 10 % and 2 %, or as `--rates` says: the rarer a step, the more it has to gain from
what is learnt of those before it. Windowing, Transform and training are those of runs. The test
exposures are then scored by each model and by the true probabilities, than which nothing orders better on
average: what a model lacks to their AUC is what it has not learnt. `calibrator=0` are models with
a calibrator, trained without it; `passed` and `0.01` are BPCM's eq. (9) as it is printed, and AITM's initial embeddings.

The last line is one JSON object of the figures; those of a whole run are kept in `results/chain.json`
(of other rates in `results/chain-rare.json`).
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks import prepared
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.transform import spec as transform_spec
from schemas import auc, names
from trainer import config

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STEPS = ("click", "cart", "buy")
RATES = (0.3, 0.1, 0.02)
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
_RESULTS, _RARE = (os.path.join(_FOLDER, name) for name in ("chain.json", "chain-rare.json"))
_ROWS, _QUICK_ROWS = 1_000_000, 40_000
# Of the paper.
_RARE_RATES, _RARE_ROWS = (0.04, 0.004, 0.0002), 5_000_000
_START = 1_600_000_000
_COUNTRIES, _BRANDS, _DEVICES, _FACTORS = 8, 20, 4, 2
_COLUMNS = {
    "user": {"country": "country", "age": {"column": "age", "type": "numeric"}},
    "item": {"brand": "brand", "price": {"column": "price", "type": "numeric"}},
    "context": {"device": "device"},
    "label": {step: step for step in STEPS},
}
_COMMON = {"dim": 8, "dropout": 0.0}
_EXPERTS = {**_COMMON, "expert": (64,), "tower": (32,)}
_TOWERS = {**_COMMON, "tower": (64, 32)}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", **_TOWERS},
    "omoe": {"name": "omoe", "experts": 4, **_EXPERTS},
    "mmoe": {"name": "mmoe", "experts": 4, **_EXPERTS},
    "ple": {"name": "ple", "levels": 1, "step_experts": 1, "shared_experts": 2, **_EXPERTS},
    "esmm": {"name": "esmm", **_TOWERS},
    "aitm": {"name": "aitm", "calibrator": 0.6, **_TOWERS},
    "aitm calibrator=0": {"name": "aitm", "calibrator": 0.0, **_TOWERS},
    "bpcm": {"name": "bpcm", "hidden": 64, "calibrator": 0.6, **_TOWERS},
    "bpcm calibrator=0": {"name": "bpcm", "hidden": 64, "calibrator": 0.0, **_TOWERS},
    "bpcm passed": {"name": "bpcm", "hidden": 64, "calibrator": 0.6, "conversion_reads": "passed", **_TOWERS},
    "bpcm no transfer": {"name": "bpcm", "hidden": 64, "calibrator": 0.6, "conversion": False, **_TOWERS},
    "aitm 0.01": {"name": "aitm", "calibrator": 0.6, "embedding_stddev": 0.01, **_TOWERS},
    "bpcm 0.01": {"name": "bpcm", "hidden": 64, "calibrator": 0.6, "embedding_stddev": 0.01, **_TOWERS},
}
_QUICK_MODELS = ("aitm", "aitm calibrator=0")


class Shape(NamedTuple):
    """What a log is drawn of.

    Attributes:
      users, items: how many there are.
      spreads: standard deviations of the logits of each step; a large one makes chances near 1, so that a step is as likely as
        the one before.
      correlation: of the logits of any two steps, given the one before; None: what comes of effects that are shared by half,
        which in few users and items is anything.
    """

    users: int = 200
    items: int = 100
    spreads: Sequence[float] = (1.0, 2.5, 2.5)
    correlation: float | None = None


USUAL = Shape()


def draw(
    rows: int, seed: int = 0, rates: Sequence[float] = RATES, shape: Shape = USUAL
) -> tuple[pd.DataFrame, np.ndarray]:
    """A log of exposures, a second apart.

    Args:
      rows: how many.
      seed: of all that is drawn.
      rates: how frequent each step is, falling.
      shape: what it is drawn of.

    Returns:
      The log, and the chance of each step of each row before anything came of it, `[rows, T]` float64.
    """
    rng = np.random.default_rng(seed)

    def effects(count: int) -> np.ndarray:
        """`[count, T]`: half of what a value does, it does to all steps."""
        return (rng.normal(size=(count, 1)) + rng.normal(size=(count, len(STEPS)))) / np.sqrt(2)

    users, items = rng.integers(0, shape.users, rows), rng.integers(0, shape.items, rows)
    devices = rng.integers(0, _DEVICES, rows)
    country, brand = rng.integers(0, _COUNTRIES, shape.users), rng.integers(0, _BRANDS, shape.items)
    age, price = rng.integers(16, 90, shape.users), np.round(np.exp(rng.normal(3, 1, shape.items)), 2)
    of_user = effects(_COUNTRIES)[country] + np.outer((age - 50) / 20, effects(1)[0])
    of_item = effects(_BRANDS)[brand] + np.outer(np.log(price) - 3, effects(1)[0])
    factors_of_users = rng.normal(size=(shape.users, _FACTORS))
    factors_of_items = rng.normal(size=(shape.items, _FACTORS))
    products = (factors_of_users[users] * factors_of_items[items]) @ effects(_FACTORS)
    signal = of_user[users] + of_item[items] + effects(_DEVICES)[devices] + products
    if shape.correlation is not None:
        signal = _correlated(signal, shape.correlation)
    signal *= np.array(shape.spreads) / signal.std(axis=0)

    chances = np.ones((rows, 1))
    for number, rate in enumerate(rates):
        given = _sigmoid(signal[:, number] + _offset(signal[:, number], chances[:, -1], rate))
        chances = np.column_stack([chances, chances[:, -1] * given])
    chances = chances[:, 1:]
    # One number decides how far an exposure gets: the chain is consistent, and each step has its chance.
    happened = rng.random((rows, 1)) < chances
    log = pd.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "timestamp": _START + np.arange(rows),
            "country": country[users],
            "age": age[users],
            "brand": brand[items],
            "price": price[items],
            "device": devices,
            **{step: happened[:, number].astype(np.int64) for number, step in enumerate(STEPS)},
        }
    )
    return log, chances


def _correlated(signal: np.ndarray, correlation: float) -> np.ndarray:
    """Sums of the columns `[rows, T]`, of variance 1 and any two with this correlation, so still of users, items and products."""
    steps = signal.shape[1]
    wanted = np.full([steps, steps], correlation) + (1 - correlation) * np.eye(steps)
    apart = np.linalg.inv(np.linalg.cholesky(np.cov(signal.T)))
    return (signal - signal.mean(axis=0)) @ apart.T @ np.linalg.cholesky(wanted).T


def _offset(signal: np.ndarray, before: np.ndarray, rate: float) -> float:
    """What makes a step as frequent as `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if (before * _sigmoid(signal + middle)).mean() > rate else (middle, high)
    return (low + high) / 2


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))


def prepare(log: pd.DataFrame, folder: str) -> prepared.Prepared:
    """Windows and transformed examples of a log, in a folder."""
    path = os.path.join(folder, "log.parquet")
    log.to_parquet(path, index=False)
    found = prepared.Prepared(
        log=window_spec.LogSpec(path=path, columns=window_spec.Columns.from_values(_COLUMNS)),
        window=ExposureWindow(kind="exposure", steps=STEPS, shards=2),
        split=window_spec.SplitSpec(by=("time",), eval_from=0.7, test_from=0.8),
        features=transform_spec.FeaturesSpec(time=False),
        folder=os.path.join(folder, "examples"),
    )
    found.cut()
    found.transform()
    return found


def scores(model: Any, exposures: prepared.Prepared, transform_output: Any) -> tuple[np.ndarray, np.ndarray]:
    """The model's probabilities of the test exposures `[N, T]`, and the row of the log of each `[N]`."""
    import tensorflow as tf

    layer = transform_output.transform_features_layer()
    answer = tf.function(lambda batch: model.probabilities(layer(batch)), reduce_retracing=True)
    found: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for batch in exposures.parsed(names.TEST):
        found.append(answer(batch).numpy())
        rows.append(batch[names.TIMESTAMP].numpy() // 1000 - _START)
    return np.concatenate(found), np.concatenate(rows)


def measure(
    models: Mapping[str, Mapping[str, Any]],
    rows: int,
    seed: int,
    training: dict[str, Any],
    resamples: int,
    rates: Sequence[float] = RATES,
    shape: Shape = USUAL,
    log_seed: int = 0,
) -> dict[str, Any]:
    """Trains models on one log, each in turn.

    Args:
      models: their settings by name.
      rows: of the log.
      seed: of the trainings.
      training: its other settings.
      resamples: of the users, for intervals.
      rates, shape, log_seed: see `draw`.

    Returns:
      Figures: of the best possible scores, of the true chance of the step before as a score, and of each model with what it
      lacks to the best.
    """
    from pipeline.comparing import paired_scores
    from trainer import task

    log, chances = draw(rows, log_seed, rates, shape)
    labels, users = log[list(STEPS)].to_numpy(), log["user_id"].to_numpy()
    figures: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows,
        "seed": seed,
        "log_seed": log_seed,
        "shape": shape._asdict(),
        "training": training,
        "positives": {step: round(float(labels[:, n].mean()), 6) for n, step in enumerate(STEPS)},
        "models": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        exposures = prepare(log, folder)
        data = exposures.data()
        for name, given in models.items():
            settings = config.TrainerSettings.from_values(
                {"model": given, "training": {**training, "seed": seed}}
            )
            used = time.process_time()
            loop, history = task.train(settings, data, os.path.join(folder, name.replace(" ", "-")))
            used = time.process_time() - used
            found, tested = scores(loop.model, exposures, data.transform_output)
            codes = np.unique(users[tested], return_inverse=True)[1]
            compared = paired_scores.compare(
                chances[tested][np.newaxis],
                found[np.newaxis],
                labels[tested],
                codes,
                STEPS,
                resamples=resamples,
            )
            figures["models"][name] = {
                "settings": dict(given),
                "parameters": int(sum(np.prod(v.shape) for v in loop.model.trainable_variables)),
                "best_epoch": history["best_epoch"],
                "cpu_seconds": round(used, 1),
                **_figures(compared),
            }
            figures["test_exposures"] = len(tested)
            figures["step_before"] = {
                step: round(auc.of_scores(chances[tested, n], labels[tested, n + 1]), 5)
                for n, step in enumerate(STEPS[1:])
            }
            figures["optimum"] = {
                metric: round(float(compared[metric].a[0]), 5)
                for metric in compared
                if len(compared[metric].a)
            }
            print(_row(name, figures["models"][name]), flush=True)
    best = {step: max(m["difference"][step][0] for m in figures["models"].values()) for step in STEPS}
    figures["best_difference"] = best
    return figures


def _figures(compared: dict[str, Any]) -> dict[str, Any]:
    """Of one model: metrics by name, and its AUC less that of the optimum, with a 95 % interval."""
    own = {metric: round(float(found.b[0]), 5) for metric, found in compared.items() if len(found.b)}
    difference = {}
    for step in STEPS:
        found = compared[f"auc/{step}"]
        difference[step] = [round(float(value), 5) for value in (found.difference, found.low, found.high)]
    return {"metrics": own, "difference": difference}


_HEADER = f"{'':18s} " + " ".join(f"{'AUC ' + step + ' (lacks)':>20s} {'ECE':>7s}" for step in STEPS)


def _row(name: str, found: dict[str, Any]) -> str:
    metrics = found["metrics"]
    cells = [
        f"{metrics[f'auc/{step}']:.4f} ({-found['difference'][step][0]:+.4f})".rjust(20)
        + f" {metrics[f'ece/{step}']:7.4f}"
        for step in STEPS
    ]
    return f"{name:18s} {' '.join(cells)} {metrics['chain_violations']:10.4%} {found['cpu_seconds']:6.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small log and few models: at most a minute")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="write the figures to benchmarks/results, also of other rates, rows or seeds than those of the README",
    )
    parser.add_argument("--rows", type=int, default=_ROWS, help="of the log (default: %(default)s)")
    parser.add_argument("--models", help=f"with commas; all by default: {', '.join(MODELS)}")
    parser.add_argument("--seed", type=int, default=1, help="of the trainings (default: %(default)s)")
    parser.add_argument("--rates", type=float, nargs=len(STEPS), default=list(RATES), help="of the steps")
    given = parser.parse_args(arguments)
    if not all(1 > one > other > 0 for one, other in zip(given.rates, given.rates[1:])):
        parser.error(f"rates fall from below 1 and stay above 0, found {given.rates}")
    models = given.models.split(",") if given.models else _QUICK_MODELS if given.quick else list(MODELS)
    unknown = [name for name in models if name not in MODELS]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    batch_size = 128 if given.quick else 512
    training = {
        "epochs": 6,
        "patience": 6,
        "batch_size": batch_size,
        "learning_rate": 2e-3,
        "schedule": "cosine",
    }
    print(f"{_HEADER} violations  CPU s")
    figures = measure(
        {name: MODELS[name] for name in models},
        _QUICK_ROWS if given.quick else given.rows,
        given.seed,
        training,
        200 if given.quick else 1000,
        given.rates,
    )
    optimum = figures["optimum"]
    print(
        f"{'optimum':18s} "
        + " ".join(f"{optimum[f'auc/{s}']:20.4f} {optimum[f'ece/{s}']:7.4f}" for s in STEPS)
    )
    text = json.dumps(figures)
    measured = tuple(given.rates), given.rows, given.seed
    usual = given.keep or measured in ((RATES, _ROWS, 1), (_RARE_RATES, _RARE_ROWS, 1))
    if not given.quick and not given.models and usual:
        rare = tuple(given.rates) != RATES
        with open(_RARE if rare else _RESULTS, "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
