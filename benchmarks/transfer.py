"""What passing on from step to step is worth where the last step starves, by how much the steps have in common.

    python -m benchmarks.transfer [--rows N] [--logs N] [--correlations 0 0.5 0.9] [--models bpcm,esmm]
    python -m benchmarks.transfer --table
    python -m benchmarks.transfer --quick

Logs are drawn as in `benchmarks.chain`, of 2,000 users and 1,000 items, with logits of the steps of one spread that correlate as
asked for, whatever is drawn: with 0, who clicks says nothing of who then buys. A log is another draw each time, of users, items
and what they do. Rates fall from 10 % to 1 % and 0.1 %. What a model lacks is the AUC of the true chances less its own; `step
before` is the true chance of a cart as the score of a buy, which knows nothing of buys: between the two is what is to be learnt
of buys themselves. The last epoch counts for all models, since the rate falls to 0 until then and `eval` has few buys.

Each log is kept in `results/transfer.json` when it is done, and not measured again. The last line is one JSON object: by
correlation, the mean over logs and the half width of its 95 % interval by Student's t of what each model lacks, and of pairs on
the same log.
"""

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import stats

from benchmarks import chain, quick

_RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "transfer.json")
_RATES = (0.1, 0.01, 0.001)
_ROWS, _LOGS, _CORRELATIONS = 1_000_000, 5, (0.0, 0.5, 0.9)
_USERS, _ITEMS, _SPREADS = 2000, 1000, (1.0, 1.0, 1.0)
_EPOCHS = 6
_TRAINING = {"batch_size": 512, "learning_rate": 2e-3, "schedule": "cosine"}
_COMMON = {"dim": 8, "dropout": 0.1}
_EXPERTS = {**_COMMON, "expert": (64,), "tower": (32,)}
_TOWERS = {**_COMMON, "tower": (64, 32)}
_BPCM = {"name": "bpcm", "hidden": 16, **_COMMON, "tower": (48, 32)}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", **_TOWERS},
    "omoe": {"name": "omoe", "experts": 4, **_EXPERTS},
    "mmoe": {"name": "mmoe", "experts": 4, **_EXPERTS},
    "ple": {"name": "ple", "levels": 2, "step_experts": 1, "shared_experts": 1, **_EXPERTS},
    "esmm": {"name": "esmm", **_TOWERS},
    "aitm": {"name": "aitm", **_TOWERS},
    "bpcm": _BPCM,
    "bpcm by dropout": {**_BPCM, "message_norm": False},
    "bpcm no transfer": {**_BPCM, "conversion": False},
}
PAIRS = (
    ("bpcm no transfer", "bpcm"),
    ("bpcm no transfer", "bpcm by dropout"),
    ("mmoe", "bpcm by dropout"),
    ("mmoe", "aitm"),
    ("mmoe", "esmm"),
)


def measure_log(
    correlation: float,
    log_seed: int,
    rows: int,
    models: Sequence[str],
    shape: chain.Shape,
    epochs: int = _EPOCHS,
) -> dict[str, Any]:
    """One log, and the models on it; see `chain.measure`."""
    training = {**_TRAINING, "epochs": epochs, "evaluate_every": epochs, "patience": epochs}
    return chain.measure(
        {name: MODELS[name] for name in models},
        rows,
        seed=log_seed,
        training=training,
        resamples=200,
        rates=_RATES,
        shape=shape._replace(correlation=correlation),
        log_seed=log_seed,
    )


def summary(logs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the logs of one correlation: what models and the step before lack, and pairs, by step.

    Returns:
      `lacks` and `pairs` by name and step, each `[mean, half width of the 95 % interval, logs]`; a pair is B less A of the AUC.
    """
    names = [name for name in MODELS if any(name in log["models"] for log in logs)]
    lacks = {name: {step: _interval(_lacks(logs, name, step)) for step in chain.STEPS} for name in names}
    lacks["step before"] = {
        step: _interval([log["optimum"][f"auc/{step}"] - log["step_before"][step] for log in logs])
        for step in chain.STEPS[1:]
    }
    pairs = {}
    for a, b in PAIRS:
        both = [log for log in logs if a in log["models"] and b in log["models"]]
        if both:
            pairs[f"{a} -> {b}"] = {
                step: _interval([x - y for x, y in zip(_lacks(both, a, step), _lacks(both, b, step))])
                for step in chain.STEPS
            }
    return {"logs": len(logs), "lacks": lacks, "pairs": pairs}


def _lacks(logs: Sequence[dict[str, Any]], name: str, step: str) -> list[float]:
    return [-log["models"][name]["difference"][step][0] for log in logs if name in log["models"]]


def _interval(values: Sequence[float]) -> list[float | None]:
    half = None
    if len(values) > 1:
        error = statistics.stdev(values) / len(values) ** 0.5
        half = round(float(stats.t.ppf(0.975, len(values) - 1) * error), 5)
    return [round(statistics.fmean(values), 5), half, len(values)]


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown, by correlation."""
    lines = []
    for correlation, one in found.items():
        lines += [
            f"| correlation {correlation}, {one['logs']} logs | click | cart | buy |",
            "| --- | --- | --- | --- |",
        ]
        for group in ("lacks", "pairs"):
            for name, steps in one[group].items():
                cells = [_cell(steps.get(step), group == "pairs") for step in chain.STEPS]
                lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(value: Sequence[float | None] | None, signed: bool) -> str:
    if value is None:
        return ""
    mean, half, _ = value
    return f"{mean:{'+' if signed else ''}.4f}" + ("" if half is None else f" ± {half:.4f}")


def _kept() -> dict[str, dict[str, Any]]:
    if not os.path.exists(_RESULTS):
        return {}
    with open(_RESULTS, encoding="utf-8") as stream:
        return json.load(stream)


def _keep(name: str, log: dict[str, Any]) -> None:
    """Adds a log, whole or not at all."""
    kept = {**_kept(), name: log}
    with open(f"{_RESULTS}.part", "w", encoding="utf-8") as stream:
        json.dump(dict(sorted(kept.items())), stream, indent=1)
        stream.write("\n")
    os.replace(f"{_RESULTS}.part", _RESULTS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one small log and two models", rows=40_000, users=200, epochs=_EPOCHS)
    parser.add_argument("--table", action="store_true", help="what has been measured, as Markdown")
    parser.add_argument("--rows", type=int, default=_ROWS, help="of a log (default: %(default)s)")
    parser.add_argument("--logs", type=int, default=_LOGS, help="of each correlation (default: %(default)s)")
    parser.add_argument("--correlations", type=float, nargs="+", default=list(_CORRELATIONS))
    parser.add_argument("--models", help=f"with commas; all by default: {', '.join(MODELS)}")
    given = parser.parse_args(arguments)
    models = given.models.split(",") if given.models else ["mmoe", "esmm"] if given.quick else list(MODELS)
    unknown = [name for name in models if name not in MODELS]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    shape = chain.Shape(_USERS, _ITEMS, _SPREADS)
    if given.quick:
        size = given.quick
        small = shape._replace(users=size["users"], items=size["users"] // 2)
        log = measure_log(0.5, 1, size["rows"], models, small, size["epochs"])
        print(json.dumps({"0.5": summary([log])}))
        return
    if not given.table:
        # One log of each correlation first, so that whatever is done can be compared.
        for log_seed in range(1, given.logs + 1):
            for correlation in given.correlations:
                name = f"{correlation:g}/{given.rows}/{log_seed}"
                if set(models) - set(_kept().get(name, {}).get("models", ())):
                    print(name, flush=True)
                    _keep(name, measure_log(correlation, log_seed, given.rows, models, shape))
    logs: dict[str, list[dict[str, Any]]] = {}
    for name, log in _kept().items():
        correlation, rows, _ = name.split("/")
        if int(rows) == given.rows:
            logs.setdefault(correlation, []).append(log)
    found = {correlation: summary(each) for correlation, each in logs.items()}
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
