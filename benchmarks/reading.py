"""Reading a log: CPU time per row of Footfall's readers, beside a plain read of the same file by Arrow and by pandas.

    python -m benchmarks.reading [--quick] [--rows N] [--rounds N]

The same events stand in each format. A plain read gives the columns as they stand in the file; Footfall also makes every id
a text, every time a moment in ms within the log's range, looks for bad rows and words that mean nobody, and numbers the
rows. All read in one process and on one thread, in turns, and each has to find all events. The last line is a JSON
object of the figures.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from components.behavior_example_gen import readers, spec
from schemas import names

_ROWS, _ROUNDS = 1_000_000, 5
_QUICK_ROWS, _QUICK_ROUNDS = 100_000, 2
_ROW_GROUP = 500_000
FOOTFALL, ARROW, PANDAS = "footfall", "pyarrow", "pandas"
_ISO = "iso8601"

# Of each format its file.
FORMATS = {
    "CSV": "log.csv",
    "CSV, integer ids": "integers.csv",
    "CSV, all fields quoted": "quoted.csv",
    "CSV, ISO 8601 times": "iso.csv",
    "CSV, gzip": "packed.csv.gz",
    "TSV": "log.tsv",
    "JSON lines": "log.jsonl",
    "JSON lines, integer ids": "integers.jsonl",
    "JSON lines, gzip": "packed.jsonl.gz",
    "Parquet": "log.parquet",
    "Parquet, integer ids": "integers.parquet",
    "Parquet, double ids": "doubles.parquet",
}


def events(rows: int, seed: int = 0) -> pd.DataFrame:
    """Events in the order of time, of users and items with long tails; ids are integers."""
    rng = np.random.default_rng(seed)
    population = max(10, rows // 40)
    return pd.DataFrame(
        {
            names.USER_ID: 100_000_000 + (population * rng.random(rows) ** 2).astype(np.int64),
            names.ITEM_ID: 1_000_000 + (20_000 * rng.random(rows) ** 4).astype(np.int64),
            names.TIMESTAMP: 1_600_000_000 + np.arange(rows),
            names.BEHAVIOR: np.array(["view", "cart", "buy"])[rng.choice(3, rows, p=[0.8, 0.15, 0.05])],
        }
    )


def write(folder: str, rows: int) -> None:
    """Writes the log in each format."""
    ids = [names.USER_ID, names.ITEM_ID]
    integers = events(rows)
    texts = integers.assign(**{name: name[:4] + integers[name].astype(str) for name in ids})
    moments = pd.to_datetime(integers[names.TIMESTAMP], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, frame, how in (
        ("log.csv", texts, {}),
        ("integers.csv", integers, {}),
        ("quoted.csv", texts, {"quoting": csv.QUOTE_ALL}),
        ("iso.csv", texts.assign(**{names.TIMESTAMP: moments}), {}),
        ("packed.csv.gz", texts, {}),
        ("log.tsv", texts, {"sep": "\t"}),
    ):
        frame.to_csv(os.path.join(folder, name), index=False, **how)
    for name, frame in (("log.jsonl", texts), ("integers.jsonl", integers), ("packed.jsonl.gz", texts)):
        frame.to_json(os.path.join(folder, name), orient="records", lines=True)
    doubles = integers.astype(dict.fromkeys(ids, np.float64))
    for name, frame in (("log.parquet", texts), ("integers.parquet", integers), ("doubles.parquet", doubles)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pyarrow.parquet.write_table(table, os.path.join(folder, name), row_group_size=_ROW_GROUP)


def by_footfall(path: str) -> int:
    """The good rows of a log.

    Raises:
      AssertionError: if it has a bad one.
    """
    columns = {name: name for name in (names.USER_ID, names.ITEM_ID, names.TIMESTAMP, names.BEHAVIOR)}
    unit = _ISO if os.path.basename(path).startswith("iso") else "s"
    rows = 0
    for block in readers.read_all([path], spec.LogSpec(path=path, columns=columns, timestamp_unit=unit)):
        if block.rejects:
            raise AssertionError(f"{path}: {block.rejects[0]}")
        rows += block.batch.num_rows
    return rows


def by_arrow(path: str) -> int:
    """The rows of a file, its types found by Arrow."""
    if ".parquet" in path:
        return pyarrow.parquet.read_table(path, use_threads=False).num_rows
    if ".jsonl" in path:
        return pyarrow.json.read_json(path, pyarrow.json.ReadOptions(use_threads=False)).num_rows
    parse = pyarrow.csv.ParseOptions(delimiter="\t" if ".tsv" in path else ",")
    return pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False), parse).num_rows


def by_pandas(path: str) -> int:
    """The rows of a file, its types found by pandas."""
    if ".parquet" in path:
        return len(pd.read_parquet(path, use_threads=False))
    if ".jsonl" in path:
        return len(pd.read_json(path, orient="records", lines=True))
    return len(pd.read_csv(path, sep="\t" if ".tsv" in path else ","))


SYSTEMS: dict[str, Callable[[str], int]] = {FOOTFALL: by_footfall, ARROW: by_arrow, PANDAS: by_pandas}


def measure(path: str, rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """CPU ns per row of each system, in turns.

    Raises:
      AssertionError: if a system does not find all rows.
    """
    found: dict[str, list[float]] = {system: [] for system in SYSTEMS}
    for _ in range(rounds):
        for system, read in SYSTEMS.items():
            start = time.process_time()
            count = read(path)
            found[system].append((time.process_time() - start) * 1e9 / rows)
            if count != rows:
                raise AssertionError(f"{path}: {system} reads {count:,} of {rows:,} rows")
    return {
        system: {"median": round(statistics.median(of), 1), "min": round(min(of), 1)}
        for system, of in found.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smaller log: at most a minute")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args(arguments)
    rows = options.rows or (_QUICK_ROWS if options.quick else _ROWS)
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print(f"CPU ns per row, median of {rounds}; {rows:,} rows; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'':24s} {'MB':>6s}" + "".join(f" {system:>9s}" for system in SYSTEMS) + "  of pyarrow  of pandas"
    )
    with tempfile.TemporaryDirectory() as folder:
        write(folder, rows)
        for name, file in FORMATS.items():
            path = os.path.join(folder, file)
            figures[name] = found = measure(path, rows, rounds)
            ours, *others = (found[system]["median"] for system in SYSTEMS)
            print(
                f"{name:24s} {os.path.getsize(path) / 1e6:6.1f}"
                + "".join(f" {found[system]['median']:9,.0f}" for system in SYSTEMS)
                + "".join(f" {ours / other:10.2f}" for other in others),
                flush=True,
            )
    print(json.dumps({"reading": figures, "rows": rows, "rounds": rounds}))


if __name__ == "__main__":
    sys.exit(main())
