"""What a GRU costs on a CPU: Footfall's, unrolled and as a loop, and Keras'.

    python -m benchmarks.recurrent [--quick] [--lengths 20 50 128 200 400] [--rounds N]

One layer of 64 units over 128 windows: the states after each position, and the gradients of the sum of their squares by
inputs and weights. One thread; systems take turns in each round. Times are CPU milliseconds, medians over the rounds,
without the first call, which builds the graph. Above 128 positions Footfall's is a loop anyway. The last line is a JSON
object of the figures; `ratio` is Keras' time over Footfall's.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import quick

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SYSTEMS = ("unrolled", "loop", "keras")
_LENGTHS = (20, 50, 128, 200, 400)
_BATCH, _UNITS = 128, 64


def layer(system: str, units: int) -> Callable[[Any, Any], Any]:
    """States `[B, L, H]` of inputs `[B, L, H]` and of which there are, `[B, L]`, by a system."""
    import tensorflow as tf

    from trainer.layers import recurrent

    if system == "keras":
        keras = tf.keras.layers.GRU(units, return_sequences=True)
        return lambda inputs, present: keras(inputs, mask=present)
    own = recurrent.GRU(units, units)
    return lambda inputs, present: own(inputs, present, unroll=system == "unrolled")


def step(system: str, batch: int, length: int, units: int) -> Callable[[], float]:
    """A pass through a layer and back, which gives its CPU seconds."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)
    of = layer(system, units)
    inputs = tf.random.normal([batch, length, units])
    # Left-padded: a window has half of its places or more.
    present = tf.range(length)[tf.newaxis] >= tf.random.uniform([batch, 1], 0, length // 2 + 1, tf.int32)

    @tf.function(autograph=False)
    def there_and_back() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.square(of(inputs, present)))
        return tape.gradient(loss, [inputs, *tape.watched_variables()])

    def timed() -> float:
        start = time.process_time()
        there_and_back()[0].numpy()
        return time.process_time() - start

    return timed


def measure(length: int, batch: int, units: int, rounds: int) -> dict[str, float]:
    """CPU milliseconds of each system."""
    from trainer.layers import recurrent

    systems = [name for name in SYSTEMS if name != "unrolled" or length <= recurrent.UNROLLED]
    steps = {name: step(name, batch, length, units) for name in systems}
    for one in steps.values():
        one()
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, one in steps.items():
            found[name].append(1000 * one())
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "two lengths, three rounds", short=20, long=200, batch=_BATCH)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=list(_LENGTHS), help="positions of a window"
    )
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    import tensorflow as tf

    import schemas  # noqa: F401  selects Keras 2

    # In a process where TensorFlow is at work already its threads stay.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    small = options.quick
    lengths = [small["short"], small["long"]] if small else options.lengths
    found = {}
    for length in lengths:
        times = measure(length, small["batch"] if small else _BATCH, _UNITS, 3 if small else options.rounds)
        found[str(length)] = times
        print(
            f"{length:4d} positions: " + ", ".join(f"{name} {ms:,.1f} ms" for name, ms in times.items()),
            flush=True,
        )
    ratios = {
        length: round(times["keras"] / times.get("unrolled", times["loop"]), 2)
        for length, times in found.items()
    }
    print(json.dumps({"ratio": ratios, "cpu_ms": found}))


if __name__ == "__main__":
    main()
