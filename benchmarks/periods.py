"""Windowing of kind `period`: events/s of one process on a log of clicks of a news portal.

    python -m benchmarks.periods --log CLICKS.parquet [--rounds N]

The log is Globo.com's (2,988,181 clicks of 17 days; the scene is the type of referrer). Each measurement is a
process of its own; imports are not counted, the whole of reading, cutting and writing is. The last line is a JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from typing import Any

from benchmarks import processes

# Before TensorFlow is imported, here or in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_SHARDS = 24
_COLUMNS = {
    "user_id": "user_id",
    "item_id": "click_article_id",
    "timestamp": "click_timestamp",
    "scene": "click_referrer_type",
}


def measure(path: str, output: str) -> dict[str, Any]:
    """Windows the log in this process: six hours follow each moment, four days are before it."""
    # The executor before the clock starts.
    from components.behavior_example_gen import executor, spec  # noqa: F401
    from components.behavior_example_gen.windows.period import PeriodWindow

    window = PeriodWindow(kind="period", past="4d", future="6h", length=50, shards=_SHARDS)
    start = time.perf_counter()
    log = spec.LogSpec(path=path, timestamp_unit="ms", columns=spec.Columns(**_COLUMNS))
    found = processes.cut(log, window, spec.SplitSpec(), output)
    seconds = time.perf_counter() - start
    return {
        "events": found["events"],
        "windows": found["windows"],
        "seconds": seconds,
        "events_per_s": found["events"] / seconds,
        "peak_mb": processes.peak_mb(),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", help="the clicks, in Parquet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    if not options.log:
        parser.error("--log: the path of the clicks is missing")
    with tempfile.TemporaryDirectory() as folder:
        rounds: list[dict[str, Any]] = [
            processes.measure("benchmarks.periods", options.log, os.path.join(folder, str(number)))
            for number in range(options.rounds)
        ]
    for found in rounds:
        print(f"{found['events']:,} events in {found['seconds']:.1f} s, {found['peak_mb']:,.0f} MB at most")
    speed = statistics.median(found["events_per_s"] for found in rounds)
    print(json.dumps({**rounds[0], "events_per_s": round(speed), "rounds": options.rounds}))


if __name__ == "__main__":
    main()
