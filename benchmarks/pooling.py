"""What pooling by time saves a pretraining (`byb`): windows a second, and cost as histories grow.

    python -m benchmarks.pooling [--quick] [--days 30 90 180 360] [--rounds N]

Windows are drawn: a user does something on three days of ten, then four times on average, and the pretraining
predicts two weeks. The same windows are trained on by Footfall's own loop with each `bucket`; `none` leaves every
event by itself. A measurement is a process of its own, so that its peak memory is its own; buckets take turns in
each round. Times are those of an epoch, batches included, without the epoch that compiles it. `ratio` is windows a
second pooled by day over unpooled ones. The last line is a JSON object of the figures, medians over the rounds.
"""

import argparse
import json
import math
import os
import tempfile
from typing import Any

from benchmarks import processes, quick, scene_steps

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BUCKETS = ("none", "hour", "day", "week")
_DAYS = (30, 90, 180, 360)
_ITEMS, _FUTURE_DAYS = 10_000, 14
_BATCH, _STEPS = 64, 8
_ACTIVE, _MEAN_EVENTS = 0.3, 4.0
_DAY = 86_400.0
_MODEL, _BLOCKS = {"name": "byb", "dim": 64, "heads": 4, "max_buckets": 400}, 4


def _events(rng: Any, count: int, days: int, places: int) -> tuple[Any, Any]:
    """Seconds from a moment, rising, `[count, places]`, and which there are; of more, the nearest stay."""
    import numpy as np

    number = rng.geometric(1 / _MEAN_EVENTS, [count, days]) * (rng.random([count, days]) < _ACTIVE)
    seconds = np.zeros([count, places], np.float32)
    there = np.zeros([count, places], bool)
    for row, of_days in enumerate(number):
        times = np.repeat(np.arange(days), of_days) * _DAY
        # Most of what is done on a day is done within an hour or two.
        starts = rng.uniform(0, 20 * 3600, days)[np.repeat(np.arange(days), of_days)]
        times = np.sort(times + starts + rng.exponential(2400, len(times)).clip(0, 3 * 3600))[:places]
        seconds[row, : len(times)], there[row, : len(times)] = times, True
    return seconds, there


def windows(count: int, days: int, length: int) -> dict[str, Any]:
    """Drawn windows with histories of so many days, at most `length` events."""
    import numpy as np

    from schemas import names

    rng = np.random.default_rng(0)
    before, past = (value[:, ::-1] for value in _events(rng, count, days, length))
    after, future = _events(rng, count, _FUTURE_DAYS, length)

    def index(there: Any, size: int) -> Any:
        drawn = (size * rng.random(there.shape) ** 2).astype(np.int64) + names.FIRST_INDEX
        return np.where(there, drawn, names.PADDING_INDEX)

    last = before[:, -1:]
    return {
        names.HISTORY_ITEM_INDEX: index(past, _ITEMS),
        names.HISTORY_HOUR_INDEX: index(past, 24),
        names.HISTORY_WEEKDAY_INDEX: index(past, 7),
        names.HISTORY_SECONDS: np.where(past, before - last, 0).astype(np.float32),
        names.SECONDS_SINCE_LAST: last[:, 0].astype(np.float32),
        names.FUTURE_ITEM_INDEX: index(future, _ITEMS),
        names.FUTURE_SECONDS: np.where(future, after, 0).astype(np.float32),
    }


def measure(bucket: str, days: int, batch_size: int, steps: int, blocks: int) -> dict[str, float]:
    """Trains in this process; gives `windows_s`, `ms` a window, `events` a history and `peak_mb`."""
    import tensorflow as tf

    import schemas  # noqa: F401  selects Keras 2
    from components.transform import event_fields
    from schemas import names
    from trainer import config
    from trainer.loops import teacher
    from trainer.losses import future as losses
    from trainer.models import byb, users

    length = math.ceil(2 * days * _ACTIVE * _MEAN_EVENTS)
    settings = config.TrainerSettings.from_values(
        {
            "model": {**_MODEL, "blocks": blocks, "bucket": bucket, "min_spread": 0, "min_rank": 0},
            "training": {"epochs": 2, "batch_size": batch_size, "learning_rate": 0.001, "length_buckets": 1},
        }
    )
    known = users.Behaviors({event_fields.ITEM: _ITEMS}, length, days * _DAY, _FUTURE_DAYS * _DAY)

    def build() -> byb.BYB:
        model = byb.BYB(settings.model, known, seed=1)
        model.training_loss = losses.build(settings.loss)
        return model

    made = windows(batch_size * steps, days, length)
    with tempfile.TemporaryDirectory() as folder:
        last = teacher.TeacherFit(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(["CPU:0"]),
            tf.data.Dataset.from_tensor_slices(made).batch(1024),
            lambda _: scene_steps.NotMeasured(),
            os.path.join(folder, "checkpoints"),
        ).run()["epochs"][-1]
    count = batch_size * steps
    return {
        "windows_s": count / last["seconds"],
        "ms": 1000 * last["seconds"] / count,
        "events": float((made[names.HISTORY_ITEM_INDEX] != 0).sum() / count),
        "peak_mb": processes.peak_mb(),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(
        parser,
        "one length of history, pooled by day and not at all, one round",
        days=30,
        batch=16,
        steps=4,
        blocks=_BLOCKS,
    )
    parser.add_argument("--days", type=int, nargs="+", default=list(_DAYS), help="lengths of histories")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        bucket, *given = options.measure
        print(json.dumps(measure(bucket, *map(int, given))))
        return
    small = options.quick
    days = [small["days"]] if small else options.days
    compared = ("none", "day") if small else BUCKETS
    sizes = (small["batch"], small["steps"], small["blocks"]) if small else (_BATCH, _STEPS, _BLOCKS)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for number in days:
        found[str(number)] = processes.in_turns(
            "benchmarks.pooling", compared, (number, *sizes), 1 if small else options.rounds, digits=3
        )
        print(f"{number} days of history, {found[str(number)]['day']['events']:.0f} events on average")
        for bucket, figures in found[str(number)].items():
            print(
                f"  {bucket:5s} {figures['windows_s']:9,.1f} windows/s, {figures['ms']:8.2f} ms a window, "
                f"peak {figures['peak_mb']:6,.0f} MB",
                flush=True,
            )
    ratios = {
        number: round(of["day"]["windows_s"] / of["none"]["windows_s"], 2) for number, of in found.items()
    }
    print(json.dumps({"ratio": ratios, "days": found}))


if __name__ == "__main__":
    main()
