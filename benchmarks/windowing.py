"""Windowing: events/s of one process, against a per-event pipeline, and memory as the log grows.

    python -m benchmarks.windowing [--quick] [--rounds N]

Each measurement is a process of its own (its peak memory is its own, too); imports are not
counted, the whole of reading, cutting and writing is. Both write the same examples, which is
checked. The last line is a JSON object of the figures.
"""

import argparse
import glob
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection
from typing import Any

from benchmarks import processes, quick
from components.behavior_example_gen.windows.next import NextWindow

# Before TensorFlow is imported, here or in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_EVENTS = 2_000_000
_QUICK_EVENTS = 20_000
# Users of a shard stay as many when the log grows.
_EVENTS_PER_SHARD = 125_000


def write_log(path: str, events: int, seed: int = 0) -> None:
    """A Parquet log in the order of time, of users and items with long tails; no time twice."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    population = max(10, events // 40)
    users = (population * rng.random(events) ** 2).astype(np.int64)
    items = (20_000 * rng.random(events) ** 4).astype(np.int64)
    table = pa.table(
        {
            "user_id": pa.array(np.char.add("user", users.astype(str))),
            "item_id": pa.array(np.char.add("item", items.astype(str))),
            "timestamp": pa.array(1_600_000_000 + np.arange(events)),
        }
    )
    pq.write_table(table, path, row_group_size=500_000)


def measure(which: str, log: str, events: int, output: str) -> dict[str, float]:
    """Runs one implementation in this process."""
    from benchmarks import per_event

    # The executor before the clock starts.
    from components.behavior_example_gen import executor, spec  # noqa: F401

    window = NextWindow(length=50, shards=max(2, events // _EVENTS_PER_SHARD))
    start = time.perf_counter()
    if which == "per_event":
        per_event.run(log, window, output, processes.BEAM)
    else:
        processes.cut(spec.LogSpec(path=log), window, spec.SplitSpec(by=("leave_one_out",)), output)
    seconds = time.perf_counter() - start
    return {"events_per_s": events / seconds, "seconds": seconds, "peak_mb": processes.peak_mb()}


def digest(output: str, but: Collection[str] = ()) -> dict[str, Any]:
    """Of the examples of each split, whatever their order and that of their features; without some of these."""
    import tensorflow as tf

    result: dict[str, Any] = {}
    for folder in sorted(glob.glob(os.path.join(output, "Split-*"))):
        total, count = 0, 0
        for record in tf.data.TFRecordDataset(sorted(glob.glob(f"{folder}/*")), "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            kept = ((name, feature) for name, feature in features.items() if name not in but)
            text = repr(sorted((name, feature.SerializeToString()) for name, feature in kept))
            total = (total + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")) % 2**64
            count += 1
        result[os.path.basename(folder)] = (count, total)
    return result


def _median(values: list[float]) -> float:
    import statistics

    return statistics.median(values)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "a small log, one round", events=_QUICK_EVENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        which, log, events, output = options.measure
        print(json.dumps(measure(which, log, int(events), output)))
        return
    events = options.quick["events"] if options.quick else _EVENTS
    rounds = 1 if options.quick else options.rounds
    rows: dict[str, list[dict[str, float]]] = {"columnar": [], "columnar x4": [], "per_event": []}
    with tempfile.TemporaryDirectory() as folder:
        logs = {1: os.path.join(folder, "log.parquet"), 4: os.path.join(folder, "log4.parquet")}
        for factor, path in logs.items():
            write_log(path, factor * events)
        for number in range(rounds):
            for name, which, factor in (
                ("columnar", "columnar", 1),
                ("per_event", "per_event", 1),
                ("columnar x4", "columnar", 4),
            ):
                if name == "per_event" and number >= 1:
                    continue  # minutes long, and far from the others whatever the noise
                output = os.path.join(folder, f"{name}-{number}")
                rows[name].append(
                    processes.measure(
                        "benchmarks.windowing", which, logs[factor], str(factor * events), output
                    )
                )
        alike = digest(os.path.join(folder, "columnar-0")) == digest(os.path.join(folder, "per_event-0"))
    if not alike:
        raise AssertionError("the two implementations do not write the same examples")
    print(f"{'':12s} {'events':>10s} {'events/s':>10s} {'peak MB':>8s}   (median of the rounds)")
    for name, found in rows.items():
        count = 4 * events if name.endswith("x4") else events
        speed, peak = _median([f["events_per_s"] for f in found]), _median([f["peak_mb"] for f in found])
        print(
            f"{name:12s} {count:10,d} {speed:10,.0f} {peak:8,.0f}   {[round(f['events_per_s']) for f in found]}"
        )
    speed = _median([f["events_per_s"] for f in rows["columnar"]])
    figures = {
        "events": events,
        "events_per_s": round(speed),
        "events_per_s_x4": round(_median([f["events_per_s"] for f in rows["columnar x4"]])),
        "ratio_vs_per_event": round(speed / rows["per_event"][0]["events_per_s"], 1),
        "memory_growth": round(
            _median([f["peak_mb"] for f in rows["columnar x4"]])
            / _median([f["peak_mb"] for f in rows["columnar"]]),
            3,
        ),
        "same_examples": alike,
        "rounds": rounds,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
