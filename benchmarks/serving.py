"""The embedded server: latency and throughput of `recommend`, beside a call in the process.

    python -m benchmarks.serving [--quick] [--rounds N] [--clients N]

A SASRec (64 wide, 2 blocks, 2 heads, 50 events) over 1,000 items answers requests of one
history of 50 events, k = 10. The server is a process of its own, the clients are threads of
another, and both share the machine; the call in the process is that of the same signature of
the same SavedModel, with the same tensors, in turns with one client. The last line is a JSON
object of the figures.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import quick

# Before TensorFlow is imported, here or in the server.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

_ITEMS = 1_000
_LENGTH = 50
_K = 10
_REQUESTS, _WARMUP, _SECONDS = 1000, 100, 5.0
_QUICK: dict[str, quick.Number] = {"rounds": 2, "requests": 200, "warmup": _WARMUP, "seconds": 2.0}


def transform_output(folder: str, items: int, length: int) -> Any:
    """A transform graph with the items `i0`, `i1`, ..., and histories of so many events."""
    from schemas import names
    from tests import fixtures

    output = fixtures.build_transform_output(folder, fixtures.random_windows(60, 20), length=length)
    # The vocabularies are files: those of a small catalogue become those of a large one.
    assets = pathlib.Path(folder, "transform", "transform_fn", "assets")
    (assets / names.ITEM_VOCABULARY).write_text("".join(f"i{row}\n" for row in range(items)))
    return output


def export_models(folder: str, seeds: Sequence[int]) -> list[str]:
    """SASRecs with initial weights by seed, with one transform graph; returns the versions' folder of each."""
    import numpy as np
    import tensorflow as tf

    from serving import export
    from trainer.models import ranking as ranking_models
    from trainer.models import sasrec
    from trainer.settings import sasrec as sasrec_settings

    output, made = transform_output(folder, _ITEMS, _LENGTH), []
    for seed in seeds:
        tf.random.set_seed(seed)
        model = sasrec.SASRec(
            sasrec_settings.SASRecSettings(name="sasrec"),
            ranking_models.Catalogue(np.ones(_ITEMS, np.int64), _LENGTH),
            seed,
        )
        # Its variables are made when it is first asked.
        model.query({name: tf.ones([1, _LENGTH], tf.int64) for name in model.inputs_read}, training=False)
        made.append(os.path.join(folder, f"versions-{seed}"))
        export.export_model(model, output, os.path.join(made[-1], "1"), objective="ranking")
    return made


@contextlib.contextmanager
def served(versions: str) -> Iterator[str]:
    """The embedded server of a folder of versions, as a process of its own: its gRPC address.

    Raises:
      RuntimeError: if it does not start.
    """
    from serving import server as server_lib

    command = [sys.executable, "-m", "serving.server", versions, "--grpc-port", "0", "--rest-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith(server_lib.READY):
            raise RuntimeError(f"the server said {line!r}")
        yield f"127.0.0.1:{json.loads(line[len(server_lib.READY) :])['grpc_port']}"
    finally:
        process.terminate()
        process.wait()


def histories(count: int, seed: int = 0) -> list[list[dict[str, Any]]]:
    """Histories of 50 events."""
    import numpy as np

    items = np.random.default_rng(seed).integers(0, _ITEMS, [count, _LENGTH])
    return [
        [{"item_id": f"i{item}", "timestamp": 1_600_000_000_000 + 60_000 * n} for n, item in enumerate(row)]
        for row in items
    ]


def _timed(call: Callable[[int], Any], requests: int) -> list[float]:
    times = []
    for number in range(requests):
        start = time.perf_counter()
        call(number)
        times.append(1000 * (time.perf_counter() - start))
    return times


def percentile(times: Sequence[float], share: float) -> float:
    """The time that a share of all does not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ask_at_once(address: str, asked: Sequence[Any], clients: int, seconds: float) -> dict[str, Any]:
    """`clients` threads, each with a connection of its own, ask as fast as they are answered: `times` in ms, and the rate."""
    from serving import client as client_lib

    def ask(number: int) -> list[float]:
        with client_lib.Client(address, timeout_s=30.0) as client:
            client.recommend([asked[number % len(asked)]], _K)
            times, end, place = [], time.perf_counter() + seconds, number
            while (start := time.perf_counter()) < end:
                client.recommend([asked[place % len(asked)]], _K)
                times.append(1000 * (time.perf_counter() - start))
                place += 1
            return times

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        times = [t for found in pool.map(ask, range(clients)) for t in found]
        return {"times": times, "requests_per_s": len(times) / (time.perf_counter() - start)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "fewer requests: at most a minute", **_QUICK)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    full = {"rounds": options.rounds, "requests": _REQUESTS, "warmup": _WARMUP, "seconds": _SECONDS}
    size = options.quick or full
    rounds, requests, warmup = size["rounds"], size["requests"], size["warmup"]

    import numpy as np

    from schemas import names
    from serving import client as client_lib
    from serving import model_store, signatures

    with tempfile.TemporaryDirectory() as folder:
        (versions,) = export_models(folder, [0])
        asked = histories(64)
        store = model_store.ModelStore(versions)
        model = store.model
        tensors = [
            {
                names.HISTORY_ITEM_ID: np.asarray([[event["item_id"] for event in history]], object),
                names.HISTORY_TIMESTAMP: np.asarray([[event["timestamp"] for event in history]], np.int64),
                signatures.EXCLUDE: np.empty([1, 0], object),
                signatures.K: np.full(1, _K, np.int32),
            }
            for history in asked
        ]
        try:
            inside: list[float] = []
            one: list[float] = []
            many: list[dict[str, Any]] = []
            differences: list[float] = []
            with served(versions) as address, client_lib.Client(address) as client:

                def call(number: int) -> Any:
                    return model.predict("recommend", tensors[number % len(tensors)])

                def request(number: int) -> Any:
                    return client.recommend([asked[number % len(asked)]], _K)

                same = [i.decode() for i in call(3)[names.ITEM_ID][0]] == request(3)[0].item_ids
                _timed(call, warmup), _timed(request, warmup)
                for _ in range(rounds):
                    calls, answers = _timed(call, requests), _timed(request, requests)
                    inside += calls
                    one += answers
                    differences.append(statistics.median(answers) - statistics.median(calls))
                    many.append(ask_at_once(address, asked, options.clients, size["seconds"]))
        finally:
            store.close()
    if not same:
        raise AssertionError("the server does not answer what the model does")
    under_load = [t for found in many for t in found["times"]]
    rows = (
        ("in the process", inside, 1000 * len(inside) / sum(inside)),
        ("1 client", one, 1000 * len(one) / sum(one)),
        (f"{options.clients} clients", under_load, statistics.median(m["requests_per_s"] for m in many)),
    )
    print(f"{'':16s} {'p50 ms':>8s} {'p99 ms':>8s} {'requests/s':>11s}")
    for name, times, rate in rows:
        print(f"{name:16s} {percentile(times, 0.5):8.2f} {percentile(times, 0.99):8.2f} {rate:11.0f}")
    figures = {
        "p50_ms": round(percentile(one, 0.5), 3),
        "p99_ms": round(percentile(one, 0.99), 3),
        "overhead_p50_ms": round(statistics.median(differences), 3),
        "requests_per_s": round(rows[2][2]),
        "in_process_p50_ms": round(percentile(inside, 0.5), 3),
        "requests_per_s_1_client": round(rows[1][2]),
        "p50_ms_loaded": round(percentile(under_load, 0.5), 3),
        "p99_ms_loaded": round(percentile(under_load, 0.99), 3),
        "clients": options.clients,
        "rounds": rounds,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
