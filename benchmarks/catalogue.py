"""Large catalogues: memory and speed of training, full-ranking evaluation and checkpoints.

    python -m benchmarks.catalogue [--quick] [--items 100000 1000000] [--losses bce gbce ...]

Trains a SASRec (64 wide, 2 blocks, 2 heads, 50 events, batches of 128 windows) for two epochs by the
training loop, with each loss that draws negatives, and ranks the targets of windows among all items
after each epoch, 200 seen items left out. Then it asks for ranks and recommendations of batches of
several sizes, as the signatures do. Windows are random, item counts have a long tail. Each
measurement is a process of its own; its peak memory is told by phase, since the kernel's mark can be
reset. The last line is a JSON object of the figures.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import quick

# Before TensorFlow is imported in a measuring process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

_LENGTH = 50
_BATCH = 128
_SEEN = 200
_LOSSES: dict[str, dict[str, Any]] = {
    "sampled_softmax": {"name": "sampled_softmax", "negatives": 256},
    "sampled_softmax, shared": {"name": "sampled_softmax", "negatives": 256, "shared_negatives": True},
    "sampled_softmax, popularity": {
        "name": "sampled_softmax",
        "negatives": 256,
        "negative_sampling": "popularity",
    },
    "sampled_softmax, in batch": {
        "name": "sampled_softmax",
        "negatives": 256,
        "negative_sampling": "in_batch",
    },
    "bce": {"name": "bce", "negatives": 1},
    "gbce": {"name": "gbce", "negatives": 256},
}
# Trained by `optimizer: lazy_adam`.
_LAZY = " by lazy_adam"
_LOSSES |= {name + _LAZY: _LOSSES[name] for name in ("sampled_softmax, shared", "bce")}
_LIMIT_MB = 12_000
# Rows of a request: one, a full batch of the client, a large one of TFMA.
_REQUESTS = (1, 128, 1000)


def _status(field: str) -> float:
    with open("/proc/self/status", encoding="utf-8") as stream:
        (line,) = (line for line in stream if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


class _Phases:
    """The largest resident memory of this process in each part of its work, in MB.

    Attributes:
      peak_mb: by phase.
      above_mb: how far that is above what was resident when the phase began.
    """

    def __init__(self) -> None:
        self.peak_mb: dict[str, int] = {}
        self.above_mb: dict[str, int] = {}
        self._begun = 0.0

    def ends(self, name: str) -> None:
        """Notes the peak since the last phase's end, and resets the kernel's mark."""
        peak = _status("VmHWM")
        self.peak_mb[name] = max(self.peak_mb.get(name, 0), round(peak))
        self.above_mb[name] = max(self.above_mb.get(name, 0), round(peak - self._begun))
        # What is free should not count as resident, or the next phase would seem to need nothing.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        with open("/proc/self/clear_refs", "w", encoding="utf-8") as stream:
            stream.write("5")
        self._begun = _status("VmRSS")


def measure(items: int, loss: str, batches: int, windows: int) -> dict[str, Any]:
    """Trains and ranks in this process."""
    import numpy as np
    import tensorflow as tf

    from schemas import names
    from serving import catalogue as kernel
    from trainer import config, registry
    from trainer.evaluation import ranking
    from trainer.loops import fit
    from trainer.losses import ranking as losses
    from trainer.models import ranking as ranking_models

    phases = _Phases()
    phases.ends("imports")
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return (items * rng.random(shape) ** 2).astype(np.int64)

    def blocks(count: int, evaluation: bool = False) -> tf.data.Dataset:
        features: dict[str, Any] = {
            names.HISTORY_ITEM_INDEX: drawn(count, _LENGTH) + names.FIRST_INDEX,
            names.TARGET_ITEM_INDEX: drawn(count) + names.FIRST_INDEX,
        }
        if evaluation:
            features[names.SEEN_ITEM_INDEX] = tf.sparse.from_dense(drawn(count, _SEEN) + names.FIRST_INDEX)
        return tf.data.Dataset.from_tensor_slices(features).batch(1024)

    settings = config.TrainerSettings.from_values(
        {
            "model": {"name": "sasrec", "dim": 64, "blocks": 2, "heads": 2, "dropout": 0.2},
            "loss": _LOSSES[loss],
            "training": {
                "epochs": 2,
                "batch_size": _BATCH,
                "optimizer": "lazy_adam" if loss.endswith(_LAZY) else "adam",
            },
        }
    )
    counts = np.bincount(drawn(10 * items), minlength=items)

    def build() -> ranking_models.SequenceModel:
        model = registry.load("sasrec")(settings.model, ranking_models.Catalogue(counts, _LENGTH), seed=1)
        model.training_loss = losses.build(settings.loss)
        return model

    class Evaluation(ranking.FullRanking):
        """Whose memory is told apart from that of the training before it."""

        def evaluate(self) -> dict[str, float]:
            phases.ends("training")
            found = super().evaluate()
            phases.ends("evaluation")
            return found

    class Loop(fit.Fit):
        """Whose checkpoints are told apart, too."""

        def _save(self) -> None:
            super()._save()
            phases.ends("checkpoints")

    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(["CPU:0"]),
            blocks(batches * _BATCH).cache(),
            lambda model: Evaluation(model, blocks(windows, evaluation=True), exclude_seen=True),
            os.path.join(folder, "checkpoints"),
        )
        phases.ends("variables")
        last = loop.run()["epochs"][-1]
        phases.ends("best weights")
    found: dict[str, Any] = {
        "targets_per_s": round(last["targets_per_s"]),
        "users_ranked_per_s": round(windows / last["evaluation_seconds"]),
    }
    model = loop.model
    for rows in _REQUESTS:
        embedding = tf.constant(rng.normal(size=[rows, 64]).astype(np.float32))
        target, seen = tf.constant(drawn(rows)), tf.constant(drawn(rows, _SEEN))
        calls = {
            "rank": tf.function(lambda e, t, s: kernel.full_rank(model, e, items, t, s)),
            "recommend": tf.function(lambda e, t, s: kernel.best(model, e, items, tf.constant(10), s)),
        }
        for name, call in calls.items():
            call(embedding, target, seen)
            start = time.perf_counter()
            call(embedding, target, seen)
            found[f"{name} {rows}, s"] = round(time.perf_counter() - start, 4)
            phases.ends(f"{name} {rows}")
    return {**found, "peak_mb": phases.peak_mb, "above_mb": phases.above_mb}


def _process(items: int, loss: str, batches: int, windows: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.catalogue", "--measure"]
    command += [str(items), loss, str(batches), str(windows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one small catalogue, one loss", items=20_000, batches=2, windows=128)
    parser.add_argument("--items", type=int, nargs="+", help="sizes of the catalogue")
    parser.add_argument("--losses", nargs="+", choices=list(_LOSSES), help="all of them by default")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        items, loss, batches, windows = options.measure
        print(json.dumps(measure(int(items), loss, int(batches), int(windows))))
        return
    sizes = options.items or ([options.quick["items"]] if options.quick else [100_000, 1_000_000])
    losses = options.losses or (["bce"] if options.quick else list(_LOSSES))
    batches, windows = (options.quick["batches"], options.quick["windows"]) if options.quick else (8, 1024)
    found: dict[str, dict[str, Any]] = {}
    for items in sizes:
        # The first loss with each size, the others with the largest.
        for loss in (
            losses if items == max(sizes) else losses[:1] + [one for one in losses if one.endswith(_LAZY)]
        ):
            figures = _process(items, loss, batches, windows)
            found[f"{items} items, {loss}"] = figures
            _print(f"{items:,} items, {loss}", figures)
    small, large = (found[f"{items} items, {losses[0]}"] for items in (min(sizes), max(sizes)))
    peak = max(max(figures["peak_mb"].values()) for figures in found.values())
    result = {
        "largest": max(sizes),
        "peak_mb": peak,
        "within_limit": peak <= _LIMIT_MB,
        # What ranking needs besides tables and optimiser should not grow with the catalogue.
        "ranking_above_mb": {str(s): _ranking(f) for s, f in ((min(sizes), small), (max(sizes), large))},
        "measurements": found,
    }
    print(json.dumps(result))


def _ranking(figures: dict[str, Any]) -> dict[str, int]:
    phases = figures["above_mb"].items()
    return {name: value for name, value in phases if name.split()[0] in ("evaluation", "rank", "recommend")}


def _print(title: str, figures: dict[str, Any]) -> None:
    print(
        f"{title}: {figures['targets_per_s']:,} targets/s, {figures['users_ranked_per_s']:,} users ranked/s"
    )
    for name, peak in figures["peak_mb"].items():
        seconds = figures.get(f"{name}, s")
        took = "" if seconds is None else f"{1000 * seconds:10,.1f} ms"
        print(f"  {name:16s} peak {peak:6,d} MB, {figures['above_mb'][name]:6,d} above its start {took}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
