"""Exposures: rows/s of one process, and memory as the log grows, through windowing and Transform.

    python -m benchmarks.exposures [--quick] [--rows N,N] [--windowing-only]

A log of exposures in Parquet: three categorical attributes, two numbers, one of several values, two labels;
examples with the user's last 20 events. Each measurement is a process of its own; imports are not counted,
the whole of reading, cutting (or analysing and transforming) and writing is. The last line is a JSON object
of the figures.
"""

import argparse
import json
import os
import tempfile
import time
from typing import Any

from benchmarks import prepared, processes, quick
from components.behavior_example_gen import spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.transform import spec as transform_spec

# Before TensorFlow is imported in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ROWS = (2_000_000, 10_000_000)
_QUICK_ROWS = 5_000
_ROW_GROUP = 500_000
# Users of a shard stay as many when the log grows.
_ROWS_PER_SHARD = 125_000
_PHASES = ("windowing", "transform")
_COLUMNS = {
    "item": {
        "brand": "brand",
        "price": {"column": "price", "type": "numeric"},
        "tags": {"column": "tags", "type": "multi"},
    },
    "user": {"country": "country", "age": {"column": "age", "type": "numeric"}},
    "context": {"device": "device"},
    "label": {"click": "click", "buy": "buy"},
}


def write_log(path: str, rows: int, seed: int = 0) -> None:
    """A Parquet log in the order of time, a row group after the other, so that it needs no memory itself."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    population = max(10, rows // 40)

    def texts(prefix: str, values: np.ndarray) -> pa.Array:
        return pc.binary_join_element_wise(prefix, pa.array(values).cast(pa.string()), "")

    def batch(first: int, count: int) -> pa.Table:
        items = (20_000 * rng.random(count) ** 4).astype(np.int64)
        clicked = rng.random(count) < 0.1
        missing = rng.random(count) < 0.1
        tags = [texts(f"tag{n}-", (items * (n + 3)) % 50) for n in range(3)]
        return pa.table(
            {
                "user_id": texts("user", (population * rng.random(count) ** 2).astype(np.int64)),
                "item_id": texts("item", items),
                "timestamp": pa.array(1_600_000_000 + np.arange(first, first + count)),
                "brand": texts("brand", items % 500),
                "price": pa.array(np.round(np.exp(rng.normal(3, 1, count)), 2), mask=missing),
                "tags": pc.binary_join_element_wise(*tags, "|"),
                "country": texts("country", rng.integers(0, 50, count)),
                "age": pa.array(rng.integers(16, 90, count)),
                "device": texts("device", rng.integers(0, 5, count)),
                "click": pa.array(clicked.astype(np.int64)),
                "buy": pa.array((clicked & (rng.random(count) < 0.2)).astype(np.int64)),
            }
        )

    writer = None
    for first in range(0, rows, _ROW_GROUP):
        table = batch(first, min(_ROW_GROUP, rows - first))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def _prepared(log: str, rows: int, output: str) -> prepared.Prepared:
    window = ExposureWindow(
        kind="exposure", steps=("click", "buy"), history=20, shards=max(2, rows // _ROWS_PER_SHARD)
    )
    return prepared.Prepared(
        log=spec.LogSpec(path=log, columns=spec.Columns.from_values(_COLUMNS)),
        window=window,
        split=spec.SplitSpec(by=("time",)),
        features=transform_spec.FeaturesSpec(),
        folder=output,
    )


def measure(phase: str, log: str, rows: int, output: str) -> dict[str, float]:
    """Runs one phase in this process."""
    import tensorflow  # noqa: F401
    import tensorflow_transform  # noqa: F401

    import schemas  # noqa: F401  selects Keras 2
    from components.behavior_example_gen import executor  # noqa: F401

    exposures = _prepared(log, rows, output)
    start, cpu = time.perf_counter(), time.process_time()
    if phase == "windowing":
        exposures.cut()
    else:
        exposures.transform()
    seconds = time.perf_counter() - start
    return {
        "rows_per_s": rows / seconds,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": processes.peak_mb(),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one small log", rows=_QUICK_ROWS)
    parser.add_argument(
        "--windowing-only", action="store_true", help="do not go on to Transform, which takes longest"
    )
    parser.add_argument("--rows", default=",".join(map(str, _ROWS)), help="of the logs, the smallest first")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        phase, log, rows, output = options.measure
        print(json.dumps(measure(phase, log, int(rows), output)))
        return
    sizes = (options.quick["rows"],) if options.quick else tuple(map(int, options.rows.split(",")))
    # Transform reads what windowing has written.
    phases = _PHASES[:1] if options.windowing_only else _PHASES
    found: dict[str, list[dict[str, float]]] = {phase: [] for phase in phases}
    print(f"{'':10s} {'rows':>12s} {'rows/s':>10s} {'CPU s':>8s} {'peak MB':>8s}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "log.parquet")
            write_log(log, rows)
            for phase in phases:
                run = processes.measure("benchmarks.exposures", phase, log, str(rows), folder)
                found[phase].append(run)
                speed, seconds, peak = run["rows_per_s"], run["cpu_seconds"], run["peak_mb"]
                print(f"{phase:10s} {rows:12,d} {speed:10,.0f} {seconds:8,.1f} {peak:8,.0f}", flush=True)
    figures: dict[str, Any] = {"rows": list(sizes)}
    for phase, runs in found.items():
        figures[phase] = {
            "rows_per_s": [round(run["rows_per_s"]) for run in runs],
            "cpu_seconds": [round(run["cpu_seconds"], 1) for run in runs],
            "peak_mb": [round(run["peak_mb"]) for run in runs],
        }
        if len(runs) > 1:
            figures[phase]["memory_growth"] = round(runs[-1]["peak_mb"] / runs[0]["peak_mb"], 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
