"""Exposures: rows/s of one process, and memory as the log grows, through windowing and Transform.

    python -m benchmarks.exposures [--quick] [--rows N,N] [--phases windowing]

A log of exposures in Parquet: three categorical attributes, two numbers, one of several values, two labels;
examples with the user's last 20 events. Each measurement is a process of its own; imports are not counted,
the whole of reading, cutting (or analysing and transforming) and writing is. The last line is a JSON object
of the figures.
"""

import argparse
import importlib.util
import json
import os
import tempfile
import time
from typing import Any, Dict, List

from benchmarks import processes

# Before TensorFlow is imported in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ROWS = (2_000_000, 10_000_000)
_QUICK_ROWS = (50_000, 250_000)
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


def _settings(rows: int) -> Any:
    """The columns of the log and the window."""
    from components.behavior_example_gen import spec

    window = spec.ExposureWindow(
        kind="exposure", steps=("click", "buy"), history=20, shards=max(2, rows // _ROWS_PER_SHARD)
    )
    return spec.Columns.from_values(_COLUMNS), window


def _windowing(log: str, rows: int, output: str) -> None:
    import apache_beam as beam

    from components.behavior_example_gen import executor, spec

    columns, window = _settings(rows)
    executor.run(
        log=spec.LogSpec(path=log, columns=columns),
        window=window,
        split=spec.SplitSpec(by=("time",)),
        span=None,
        examples_uri=output,
        rejected_uri=os.path.join(output, "rejected"),
        profile_uri=os.path.join(output, "profile"),
        scratch=os.path.join(output, "scratch"),
        make_pipeline=lambda: beam.Pipeline(argv=list(processes.BEAM)),
    )


def _transform(rows: int, output: str) -> None:
    """Analyses `train` and transforms all splits, as TFX's Transform does."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from tfx_bsl.coders import example_coder
    from tfx_bsl.tfxio import tf_example_record

    from components.transform import exposures, spec
    from schemas import load, names

    columns, window = _settings(rows)
    config = {
        "window": window.to_json(),
        "features": spec.FeaturesSpec().to_json(),
        "columns": columns.to_json(),
    }
    attributes = {name: attribute.type for name, attribute in columns.attributes().items()}
    schema = load.exposure_window_schema(window.steps, attributes, False, True, False)
    with beam.Pipeline(argv=list(processes.BEAM)) as pipeline:
        with tft_beam.Context(temp_dir=os.path.join(output, "tft"), force_tf_compat_v1=False):
            raw, config_of_raw = {}, None
            for split in names.SPLITS:
                source = tf_example_record.TFExampleRecord(
                    os.path.join(output, f"Split-{split}", "*"), schema=schema
                )
                raw[split] = pipeline | f"Read {split}" >> source.BeamSource()
                config_of_raw = source.TensorAdapterConfig()
            function = (raw[names.TRAIN], config_of_raw) | tft_beam.AnalyzeDataset(
                lambda inputs: exposures.preprocessing_fn(inputs, config)
            )
            for split in names.SPLITS:
                (transformed, _) = ((raw[split], config_of_raw), function) | f"Transform {split}" >> (
                    tft_beam.TransformDataset(output_record_batches=True)
                )
                (
                    transformed
                    | f"Encode {split}"
                    >> beam.FlatMapTuple(
                        lambda batch, _: example_coder.RecordBatchToExamplesEncoder(None).encode(batch)
                    )
                    | f"Write {split}"
                    >> beam.io.WriteToTFRecord(
                        os.path.join(output, f"Transformed-{split}", "part"), file_name_suffix=".gz"
                    )
                )


def measure(phase: str, log: str, rows: int, output: str) -> Dict[str, float]:
    """Runs one phase in this process."""
    import schemas  # noqa: F401  selects Keras 2
    import tensorflow  # noqa: F401
    import tensorflow_transform  # noqa: F401

    from components.behavior_example_gen import executor  # noqa: F401

    start, cpu = time.perf_counter(), time.process_time()
    if phase == "windowing":
        _windowing(log, rows, output)
    else:
        _transform(rows, output)
    seconds = time.perf_counter() - start
    return {
        "rows_per_s": rows / seconds,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": processes.peak_mb(),
    }


def _is_there(phase: str) -> bool:
    return phase != "transform" or importlib.util.find_spec("components.transform.exposures") is not None


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller logs: at most a minute")
    parser.add_argument("--phases", default=",".join(_PHASES), help="which to measure, by default all")
    parser.add_argument("--rows", default=",".join(map(str, _ROWS)), help="of the logs, the smallest first")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        phase, log, rows, output = options.measure
        print(json.dumps(measure(phase, log, int(rows), output)))
        return
    sizes = _QUICK_ROWS if options.quick else tuple(map(int, options.rows.split(",")))
    phases = [phase for phase in _PHASES if phase in options.phases.split(",") and _is_there(phase)]
    found: Dict[str, List[Dict[str, float]]] = {phase: [] for phase in phases}
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
    figures: Dict[str, Any] = {"rows": list(sizes)}
    for phase, runs in found.items():
        figures[phase] = {
            "rows_per_s": [round(run["rows_per_s"]) for run in runs],
            "cpu_seconds": [round(run["cpu_seconds"], 1) for run in runs],
            "peak_mb": [round(run["peak_mb"]) for run in runs],
            "memory_growth": round(runs[-1]["peak_mb"] / runs[0]["peak_mb"], 3),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
