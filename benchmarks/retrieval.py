"""`recommend` over catalogues of growing size: every item scored, beside an inverted file.

    python -m benchmarks.retrieval [--quick] [--items 10000 100000 1000000] [--clients 1 8 32] [--seconds 5]

The embedded server (a process of its own) has two models of the same table, 64 wide, one exact and one with the fewest lists
that find 98 % of the ten best items; clients are threads of another process, and ask for k = 10 with one history of 20 events.
Both models are asked in turns. A history's query is the mean of its items' vectors, so that what is timed is the
search; vectors are drawn around centres, with lengths that vary, and a history has items of two of these. `recall` is
that of other histories than those by which the lists were chosen. Where no quarter of a catalogue finds as much, what is served
scores all of it, and so does this. The last line is a JSON object of the figures.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from benchmarks import quick
from benchmarks import serving as serving_benchmark

_DIM, _LENGTH, _K, _RECALL = 64, 20, 10, 0.98
_CENTRES = 200
# Histories whose answers are compared.
_ASKED = 256
# Of so few items that 98 % are not to be had without asking nearly all.
_QUICK_RECALL = 0.9


def vectors(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Vectors `[N, D]` and the centre of each, `[N]`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(_CENTRES, _DIM))
    of = rng.integers(_CENTRES, size=count)
    lengths = 0.1 * rng.lognormal(0, 0.3, (count, 1))
    return (lengths * (centres[of] + 0.5 * rng.normal(size=(count, _DIM)))).astype(np.float32), of


def histories(of: Any, count: int, seed: int) -> Any:
    """Catalogue rows `[count, _LENGTH]`, of items of two centres each."""
    import numpy as np

    rng = np.random.default_rng(seed)
    order = np.argsort(of, kind="stable")
    bounds = np.searchsorted(of[order], np.arange(_CENTRES + 1))
    chosen = rng.integers(_CENTRES, size=(count, 2))[
        np.arange(count)[:, None], rng.integers(2, size=(count, _LENGTH))
    ]
    place = bounds[chosen] + rng.integers(1 << 30, size=chosen.shape) % np.maximum(np.diff(bounds)[chosen], 1)
    return order[np.minimum(place, len(of) - 1)]


def export(folder: str, items: int, recall: float) -> tuple[dict[str, str], dict[str, Any], Any]:
    """Exports both models; returns their folders, what is known of the lists, and the centres of the items."""
    import numpy as np
    import tensorflow as tf

    from schemas import names
    from serving import catalogue, export, retrieval
    from tests import fixtures
    from trainer import retrieval as choosing

    output = serving_benchmark.transform_output(folder, items, _LENGTH)
    table, of = vectors(items)
    model = fixtures.ToyModel(items, _DIM)
    model.table = tf.Variable(np.concatenate([np.zeros([names.FIRST_INDEX, _DIM], np.float32), table]))

    def queries() -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        for first in range(0, 2000, 100):
            rows = tf.constant(histories(of, 100, seed=1 + first)) + names.FIRST_INDEX
            yield (
                catalogue.query(model, {names.HISTORY_ITEM_INDEX: rows}),
                tf.cast(rows, tf.int64) - names.FIRST_INDEX,
            )

    start = time.perf_counter()
    index, known = choosing.choose(
        model, queries(), retrieval.IVFSettings(name="ivf", recall=recall, queries=1000)
    )
    known["seconds"] = time.perf_counter() - start
    folders = {}
    for name, search in (("exact", None), *([("ivf", index)] if index else [])):
        folders[name] = os.path.join(folder, name)
        export.export_model(
            model, output, os.path.join(folders[name], "1"), objective="ranking", index=search
        )
    return folders, known, of


def measure(
    items: int, clients: Sequence[int], seconds: float, rounds: int, recall: float, asked_of: int
) -> dict[str, Any]:
    """Latencies and rates of both models over a catalogue of so many items."""
    from serving import client as client_lib

    with tempfile.TemporaryDirectory() as folder:
        folders, known, of = export(folder, items, recall)
        rows = histories(of, asked_of, seed=99)
        asked = [
            [
                {"item_id": f"i{row}", "timestamp": 1_600_000_000_000 + 60_000 * n}
                for n, row in enumerate(history)
            ]
            for history in rows
        ]
        with contextlib.ExitStack() as servers:
            addresses = {
                name: servers.enter_context(serving_benchmark.served(versions))
                for name, versions in folders.items()
            }
            answers = {}
            for name, address in addresses.items():
                with client_lib.Client(address) as client:
                    answers[name] = [client.recommend([history], _K)[0].item_ids for history in asked]
            found: dict[str, Any] = {"lists": known["lists"], "division_s": round(known["seconds"], 1)}
            if "ivf" in answers:
                shares = [
                    len(set(some) & set(all_)) / len(all_)
                    for some, all_ in zip(answers["ivf"], answers["exact"])
                ]
                found |= {
                    "probes": known["probes"],
                    "searched": round(known["searched"], 4),
                    "recall": round(statistics.mean(shares), 4),
                }
            else:
                found["best"] = known.get("best")
            for number in clients:
                times: dict[str, list[float]] = {name: [] for name in addresses}
                rates: dict[str, list[float]] = {name: [] for name in addresses}
                for _ in range(rounds):
                    for name, address in addresses.items():
                        some = serving_benchmark.ask_at_once(address, asked, number, seconds / rounds)
                        times[name] += some["times"]
                        rates[name].append(some["requests_per_s"])
                for name in addresses:
                    found[f"{name}_{number}"] = {
                        "p50_ms": round(serving_benchmark.percentile(times[name], 0.5), 2),
                        "p99_ms": round(serving_benchmark.percentile(times[name], 0.99), 2),
                        "requests_per_s": round(statistics.median(rates[name])),
                    }
            return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one small catalogue", items=5_000, asked=_ASKED, seconds=0.5)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each model and number of clients")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.items, options.clients, options.rounds = [options.quick["items"]], [2], 1
        options.seconds = options.quick["seconds"]
    figures = {}
    print(
        f"{'items':>9s} {'search':>6s} {'recall':>7s} {'clients':>7s} {'p50 ms':>8s} {'p99 ms':>8s} {'requests/s':>10s}"
    )
    for items in options.items:
        found = measure(
            items,
            options.clients,
            options.seconds,
            options.rounds,
            _QUICK_RECALL if options.quick else _RECALL,
            options.quick["asked"] if options.quick else _ASKED,
        )
        for number in options.clients:
            for name, recall in (("exact", 1.0), ("ivf", found.get("recall"))):
                row = found.get(f"{name}_{number}")
                if row is None:
                    continue
                print(
                    f"{items:9,d} {name:>6s} {recall:7.4f} {number:7d} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f} "
                    f"{row['requests_per_s']:10,d}",
                    flush=True,
                )
        figures[str(items)] = found
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
