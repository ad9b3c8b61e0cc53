"""What a training step costs on a GPU: plainly, by XLA, in mixed precision, and on two logical devices.

    python -m benchmarks.gpu [--quick] [--batch-size N] [--items N] [--seconds S]

A SASRec (64 wide, 2 blocks, 2 heads, 50 events, softmax over the whole catalogue) is trained by Footfall's own loop
on drawn windows, by each way in turn. `step_ms` is the time of a step as the loop takes it, batches included;
`stall_share` is the part of it by which such a step is longer than one whose batch is there already: what the input
pipeline holds up. `two devices` is one GPU cut into two logical devices, each with half of a batch: what distribution
costs, not what a second GPU would bring. Without a GPU it says so, and measures the CPU in its place. The last line
is a JSON object of the figures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import quick

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_LENGTH, _BLOCKS = 50, 2
# More than are ever trained: a measurement ends by the clock.
_EPOCHS = 1_000_000
_ITEMS, _BATCH, _WINDOWS, _SECONDS = 100_000, 512, 16_384, 10.0
_QUICK_ITEMS, _QUICK_BATCH, _QUICK_WINDOWS, _QUICK_SECONDS = 1_000, 32, 128, 0.5
# What each way changes of the settings of training, and the number of logical devices.
WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 1),
    "xla": ({"xla": True}, 1),
    "mixed precision": ({"mixed_precision": True}, 1),
    "xla, mixed precision": ({"xla": True, "mixed_precision": True}, 1),
    "two devices": ({}, 2),
}
_QUICK_WAYS = ("plain", "two devices")


def devices(count: int) -> tuple[list[str], str | None]:
    """The logical devices to train on, and the name of the GPU that they are of; None without one.

    A GPU is cut before TensorFlow has used it.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    kind, physical = ("GPU", gpus[0]) if gpus else ("CPU", tf.config.list_physical_devices("CPU")[0])
    if count > 1 and not tf.config.get_logical_device_configuration(physical):
        tf.config.set_logical_device_configuration(
            physical, _parts(physical, count) if gpus else _cores(count)
        )
    name = tf.config.experimental.get_device_details(physical).get("device_name", "GPU") if gpus else None
    return [f"{kind}:{number}" for number in range(count)], name


def _cores(count: int) -> list[Any]:
    import tensorflow as tf

    return [tf.config.LogicalDeviceConfiguration()] * count


def _parts(gpu: Any, count: int) -> list[Any]:
    """Equal parts of most of a GPU's memory."""
    import tensorflow as tf

    free = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "--id=0"],
        capture_output=True,
        text=True,
        check=True,
    )
    each = int(0.8 * int(free.stdout.split()[0])) // count
    return [tf.config.LogicalDeviceConfiguration(memory_limit=each)] * count


def measure(
    way: str, items: int, batch_size: int, windows: int, seconds: float, blocks: int = _BLOCKS
) -> dict[str, Any]:
    """One way of training, in this process.

    Args:
      way: of `WAYS`.
      items: of the catalogue.
      batch_size: windows of a step, over all devices.
      windows: of an epoch.
      seconds: of the loop, and at most as many of steps alone.
      blocks: of the model.

    Returns:
      `step_ms`, `step_alone_ms`, `stall_share`, `windows_per_s`; `gpu` and `peak_mb` where there is one.
    """
    changed, count = WAYS[way]
    names_of, gpu = devices(count)
    import tensorflow as tf

    if changed.get("mixed_precision"):
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if gpu else "mixed_bfloat16")
    try:
        with tempfile.TemporaryDirectory() as folder:
            loop = _loop(items, batch_size, windows, blocks, changed, names_of, folder)
            took, alone = _of_loop(loop, seconds), _alone(loop, seconds)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    found = {
        "step_ms": round(1000 * took, 3),
        "step_alone_ms": round(1000 * alone, 3),
        "stall_share": round(max(0.0, 1 - alone / took), 3),
        "windows_per_s": round(batch_size / took),
        "gpu": gpu,
    }
    if gpu:
        peak = sum(tf.config.experimental.get_memory_info(name)["peak"] for name in names_of)
        found["peak_mb"] = round(peak / 2**20)
    return found


def _loop(
    items: int,
    batch_size: int,
    windows: int,
    blocks: int,
    changed: dict[str, Any],
    names_of: Sequence[str],
    folder: str,
) -> Any:
    import numpy as np
    import tensorflow as tf

    import schemas  # noqa: F401  selects Keras 2
    from schemas import names
    from trainer import config, registry
    from trainer.loops import fit
    from trainer.losses import ranking as losses
    from trainer.models import ranking as ranking_models

    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return (items * rng.random(shape) ** 2).astype(np.int64) + names.FIRST_INDEX

    train = tf.data.Dataset.from_tensor_slices(
        {names.HISTORY_ITEM_INDEX: drawn(windows, _LENGTH), names.TARGET_ITEM_INDEX: drawn(windows)}
    ).batch(1024)
    settings = config.TrainerSettings.from_values(
        {
            "model": {"name": "sasrec", "dim": 64, "blocks": blocks, "heads": 2, "dropout": 0.2},
            "loss": {"name": "softmax"},
            "training": {"epochs": 1, "batch_size": batch_size, "length_buckets": 1, **changed},
        }
    )
    catalogue = ranking_models.Catalogue(np.ones(items, np.int64), _LENGTH)

    def build() -> ranking_models.SequenceModel:
        model = registry.load("sasrec")(settings.model, catalogue, seed=1)
        model.training_loss = losses.build(settings.loss)
        return model

    class Nothing:
        """An evaluation that is never asked."""

        objective = "none"

    strategy = tf.distribute.MirroredStrategy(list(names_of))
    return fit.Fit(build, settings.training, strategy, train, lambda model: Nothing(), folder)


def _of_loop(loop: Any, seconds: float) -> float:
    """Seconds of a step as the loop takes them, epoch after epoch, without the first steps, which compile."""
    import tensorflow as tf

    steps = loop._epoch_steps()
    batches = iter(loop._batches(range(_EPOCHS)))
    loop._steps(batches, tf.constant(min(2, steps))).numpy()
    done, start = 0, time.perf_counter()
    while not done or time.perf_counter() - start < seconds:
        loop._steps(batches, tf.constant(steps)).numpy()
        done += steps
    return (time.perf_counter() - start) / done


def _alone(loop: Any, seconds: float) -> float:
    """Seconds of a step whose batch is in the device's memory."""
    import tensorflow as tf

    batch = next(iter(loop._batches(range(1))))

    @tf.function
    def steps(count: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros([len(loop.sums)])
        for _ in tf.range(count):
            added = loop._strategy.run(loop._traced_step, args=(batch,))
            sums += loop._strategy.reduce(tf.distribute.ReduceOp.SUM, added, axis=None)
        return sums

    count = loop._epoch_steps()
    steps(tf.constant(1)).numpy()
    done, start = 0, time.perf_counter()
    while not done or time.perf_counter() - start < seconds:
        steps(tf.constant(count)).numpy()
        done += count
    return (time.perf_counter() - start) / done


def _process(way: str, *arguments: Any) -> dict[str, Any]:
    """A way in a process of its own: a GPU is cut once in a process, and its memory is kept until the end."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--measure", way, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(
        parser,
        "a small catalogue, two ways, in this process",
        items=_QUICK_ITEMS,
        batch_size=_QUICK_BATCH,
        windows=_QUICK_WINDOWS,
        seconds=_QUICK_SECONDS,
        blocks=_BLOCKS,
    )
    parser.add_argument("--items", type=int, default=_ITEMS)
    parser.add_argument("--batch-size", type=int, default=_BATCH)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each measurement")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, items, batch, windows, seconds = options.measure
        print(json.dumps(measure(way, int(items), int(batch), int(windows), float(seconds))))
        return
    if options.quick:
        # The most devices first: they are cut once in a process.
        devices(2)
        items, batch_size = options.quick["items"], options.quick["batch_size"]
        steps = {way: measure(way, **options.quick) for way in _QUICK_WAYS}
    else:
        items, batch_size = options.items, options.batch_size
        steps = {way: _process(way, items, batch_size, _WINDOWS, options.seconds) for way in WAYS}
    gpu = next(iter(steps.values()))["gpu"]
    print(f"GPU: {gpu}" if gpu else "There is no GPU that TensorFlow sees: all figures are of the CPU.")
    print(f"{'':22s} {'step ms':>9s} {'alone ms':>9s} {'stalls':>7s} {'windows/s':>10s}")
    for way, one in steps.items():
        print(
            f"{way:22s} {one['step_ms']:9.2f} {one['step_alone_ms']:9.2f} {one['stall_share']:7.1%} "
            f"{one['windows_per_s']:10,d}"
        )
    plain, two = steps["plain"]["step_ms"], steps["two devices"]["step_ms"]
    figures = {
        "gpu": gpu,
        "items": items,
        "batch_size": batch_size,
        "two_devices_share": round(plain / two, 3),
        "steps": steps,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
