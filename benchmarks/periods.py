"""Windowing of kind `period`: events/s of one process, against a per-event pipeline.

    python -m benchmarks.periods [--quick] [--log CLICKS.parquet] [--rounds N]

The log is Globo.com's (2,988,181 clicks of 17 days; the scene is the type of referrer); without one, one with its columns is
drawn. Six hours follow each moment, four days are before it. Each measurement is a process of its own; imports are not
counted, the whole of reading, cutting and writing is. Both write the same examples, which is checked, but for how many
targets are recent: since when they are, is a quantile of all times, which ours takes of a histogram. The last line is a JSON
object of the figures.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from typing import Any

from benchmarks import processes, quick, windowing
from schemas import names

# Before TensorFlow is imported, here or in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_SHARDS = 24
_EVENTS = 1_000_000
_COLUMNS = {
    "user_id": "user_id",
    "item_id": "click_article_id",
    "timestamp": "click_timestamp",
    "scene": "click_referrer_type",
}
_DAY_MS = 86_400_000
_START = 1_506_816_000_000
# Where `eval` and `test` begin: after 12 and 14 days.
_CUTS = (_START + 12 * _DAY_MS, _START + 14 * _DAY_MS)


def draw(path: str, events: int, seed: int = 0) -> None:
    """Clicks of 17 days: users come back, and click a few articles each time; no time twice."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    times = _START + np.sort(rng.choice(17 * _DAY_MS, events, replace=False))
    columns = {
        "user_id": (max(10, events // 9) * rng.random(events) ** 2).astype(np.int64),
        "click_article_id": (46_000 * rng.random(events) ** 4).astype(np.int64),
        "click_timestamp": times,
        "click_referrer_type": rng.integers(1, 8, events),
    }
    pq.write_table(pa.table(columns), path)


def measure(which: str, path: str, output: str) -> dict[str, Any]:
    """Windows the log in this process, by one implementation."""
    import pyarrow.parquet as pq

    from benchmarks import per_event

    # The executor before the clock starts.
    from components.behavior_example_gen import executor, spec, time_span  # noqa: F401
    from components.behavior_example_gen.windows.period import PeriodWindow

    window = PeriodWindow(kind="period", past="4d", future="6h", length=50, shards=_SHARDS)
    start, cpu = time.perf_counter(), time.process_time()
    if which == "per_event":
        times = pq.read_table(path, columns=["click_timestamp"]).column(0).to_numpy()
        # No lonely click says when the log ends.
        end = time_span.TimeHistogram.of(times).bulk().last
        per_event.run_periods(path, _COLUMNS, window, _CUTS, end, output, processes.BEAM)
    else:
        moments = [datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc) for ms in _CUTS]
        log = spec.LogSpec(path=path, timestamp_unit="ms", columns=spec.Columns(**_COLUMNS))
        processes.cut(log, window, spec.SplitSpec(eval_from=moments[0], test_from=moments[1]), output)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    events = pq.ParquetFile(path).metadata.num_rows
    return {
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events_per_s": events / seconds,
        "peak_mb": processes.peak_mb(),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "a small drawn log, one round", events=20_000)
    parser.add_argument("--log", help="the clicks, in Parquet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    rounds = 1 if options.quick else options.rounds
    rows: dict[str, list[dict[str, Any]]] = {"columnar": [], "per_event": []}
    with tempfile.TemporaryDirectory() as folder:
        log = options.log
        if log is None:
            log = os.path.join(folder, "clicks.parquet")
            draw(log, options.quick["events"] if options.quick else _EVENTS)
        for number in range(rounds):
            for which, found in rows.items():
                if which == "per_event" and number:
                    continue  # minutes long, and far from the other whatever the noise
                output = os.path.join(folder, f"{which}-{number}")
                found.append(processes.measure("benchmarks.periods", which, log, output))
                row = found[-1]
                print(
                    f"{which}: {row['events']:,} events in {row['seconds']:.1f} s ({row['cpu_seconds']:.1f} s of CPU), "
                    f"{row['peak_mb']:,.0f} MB at most",
                    flush=True,
                )
        folders = (os.path.join(folder, f"{which}-0") for which in rows)
        made = [windowing.digest(one, but=(names.RECENT_TARGETS,)) for one in folders]
    speed = {which: statistics.median(row["events_per_s"] for row in found) for which, found in rows.items()}
    cpu = {which: statistics.median(row["cpu_seconds"] for row in found) for which, found in rows.items()}
    figures = {
        "events": rows["columnar"][0]["events"],
        "windows": {name: count for name, (count, _) in made[0].items()},
        "events_per_s": {which: round(value) for which, value in speed.items()},
        "cpu_seconds": {which: round(value, 1) for which, value in cpu.items()},
        "times_faster": round(speed["columnar"] / speed["per_event"], 2),
        "peak_mb": round(max(row["peak_mb"] for row in rows["columnar"])),
        "same_examples": made[0] == made[1],
        "rounds": rounds,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
