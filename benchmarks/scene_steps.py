"""What a training step of each model of scenes costs, over candidate sets of several sizes.

    python -m benchmarks.scene_steps [--quick] [--items 1000 10000 100000] [--models A,B] [--rounds N]

Each model is trained by Footfall's own loop on drawn windows of a period (histories and futures of uneven length,
eight scenes), with a loss over the whole catalogue: every item is a candidate. CARCA has a second row with sampled
candidates, since it attends from each candidate to all of a history. A measurement is a process of its own, so that
its peak memory is its own; models take turns in each round. `step_ms` is the time of a step, adversary and batches
included, without the epoch that compiles it; `cpu_ms` the CPU that it used. The last line is a JSON object of the
figures, medians over the rounds.
"""

import argparse
import json
import os
import tempfile
import time
from typing import Any

from benchmarks import processes, quick

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ITEMS = (1_000, 10_000, 100_000)
_LENGTH, _FUTURE, _SCENES = 20, 20, 8
_BATCH, _STEPS = 128, 12
# Means of the geometric distributions that lengths are drawn from: about those of three days of a news portal.
_MEAN_HISTORY, _MEAN_FUTURE = 4.0, 3.0
_OF_SCENES = {"dim": 64, "scene_dim": 16, "blocks": 2, "heads": 2, "dropout": 0.2}
_OF_ITEMS = {name: value for name, value in _OF_SCENES.items() if name != "scene_dim"}
_SAMPLED = {"name": "sampled_softmax", "negatives": 256, "shared_negatives": True}
# Settings of the model, and of its loss.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sasrec": ({"name": "sasrec", **_OF_ITEMS}, {"name": "softmax"}),
    "bert4rec": ({"name": "bert4rec", **_OF_ITEMS}, {"name": "softmax"}),
    "msdp": ({"name": "msdp", **_OF_SCENES}, {"name": "period_softmax"}),
    "contrarec": ({"name": "contrarec", **_OF_SCENES}, {"name": "softmax"}),
    "scenectc": ({"name": "scenectc", **_OF_SCENES}, {"name": "softmax"}),
    "scenecontrarec": ({"name": "scenecontrarec", **_OF_SCENES}, {"name": "softmax"}),
    "dspnet-single": ({"name": "dspnet", "encoders": "single", **_OF_SCENES}, {"name": "period_bce"}),
    "dspnet": ({"name": "dspnet", **_OF_SCENES}, {"name": "period_bce"}),
    "carca": ({"name": "carca", **_OF_SCENES, "blocks": 3}, {"name": "softmax"}),
    "carca-sampled": ({"name": "carca", **_OF_SCENES, "blocks": 3}, _SAMPLED),
}
_QUICK_MODELS = ("scenecontrarec", "dspnet", "carca")


class NotMeasured:
    """In place of the metrics after each epoch."""

    objective = "none"

    def evaluate(self) -> dict[str, float]:
        """Nothing."""
        return {self.objective: 0.0}


def _windows(items: int, count: int) -> dict[str, Any]:
    """Drawn windows: frequent items are more frequent, the last event stands at the right."""
    import numpy as np

    from schemas import names

    rng = np.random.default_rng(0)

    def item(*shape: int) -> Any:
        return (items * rng.random(shape) ** 2).astype(np.int64) + names.FIRST_INDEX

    def scene(*shape: int) -> Any:
        return rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + _SCENES, shape)

    def there(mean: float, places: int) -> Any:
        number = np.minimum(places, rng.geometric(1 / mean, [count, 1]))
        return np.arange(places) < number

    past, future = there(_MEAN_HISTORY, _LENGTH)[:, ::-1], there(_MEAN_FUTURE, _FUTURE)
    history, following = (count, _LENGTH), (count, _FUTURE)
    seconds = np.sort(rng.random(following).astype(np.float32) * 43_200, axis=1)
    found = {
        names.HISTORY_ITEM_INDEX: np.where(past, item(*history), names.PADDING_INDEX),
        names.HISTORY_SCENE_INDEX: np.where(past, scene(*history), names.PADDING_INDEX),
        names.HISTORY_HOUR_INDEX: np.where(past, names.FIRST_INDEX + rng.integers(0, 24, history), 0),
        names.HISTORY_WEEKDAY_INDEX: np.where(past, names.FIRST_INDEX + rng.integers(0, 7, history), 0),
        names.FUTURE_ITEM_INDEX: np.where(future, item(*following), names.PADDING_INDEX),
        names.FUTURE_SCENE_INDEX: np.where(future, scene(*following), names.PADDING_INDEX),
        names.FUTURE_SECONDS: np.where(future, seconds, 0).astype(np.float32),
    }
    found[names.TARGET_ITEM_INDEX] = found[names.FUTURE_ITEM_INDEX][:, 0]
    found[names.TARGET_SCENE_INDEX] = found[names.FUTURE_SCENE_INDEX][:, 0]
    return found


def measure(model: str, items: int, batch_size: int, steps: int) -> dict[str, float]:
    """Trains a model in this process; gives `step_ms`, `cpu_ms` and `peak_mb`."""
    import numpy as np
    import tensorflow as tf

    import schemas  # noqa: F401  selects Keras 2
    from trainer import config, registry
    from trainer.loops import fit
    from trainer.losses import ranking as losses
    from trainer.models import ranking as ranking_models

    values, loss = MODELS[model]
    training = {"epochs": 2, "batch_size": batch_size, "learning_rate": 0.001, "length_buckets": 1}
    settings = config.TrainerSettings.from_values({"model": values, "loss": loss, "training": training})
    catalogue = ranking_models.Catalogue(
        np.arange(items, 0, -1), _LENGTH, scenes=_SCENES, period_seconds=43_200.0
    )

    def build() -> ranking_models.SequenceModel:
        found = registry.load(settings.model.name)(settings.model, catalogue, seed=1)
        found.training_loss = losses.build(settings.loss)
        return found

    class Loop(fit.Fit):
        """That notes the CPU that was used before and after each of its checkpoints."""

        cpu: tuple[float, ...] = ()

        def _save(self) -> None:
            reached = time.process_time()
            super()._save()
            self.cpu = (*self.cpu, reached, time.process_time())

    windows = tf.data.Dataset.from_tensor_slices(_windows(items, batch_size * steps)).batch(1024)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(["CPU:0"]),
            windows,
            lambda _: NotMeasured(),
            os.path.join(folder, "checkpoints"),
        )
        last = loop.run()["epochs"][-1]
    *_, before, after, _ = loop.cpu
    return {
        "step_ms": round(1000 * last["seconds"] / steps, 1),
        "cpu_ms": round(1000 * (after - before) / steps, 1),
        "peak_mb": round(processes.peak_mb()),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one small catalogue, few models, one round", items=1_000, batch=16, steps=2, models=3)
    parser.add_argument("--items", type=int, nargs="+", help="sizes of the catalogue")
    parser.add_argument("--models", help="with commas; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        model, *sizes = options.measure
        print(json.dumps(measure(model, *map(int, sizes))))
        return
    small = options.quick
    chosen = (
        options.models.split(",")
        if options.models
        else list(_QUICK_MODELS[: small["models"]] if small else MODELS)
    )
    unknown = [name for name in chosen if name not in MODELS]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    sizes = options.items or ([small["items"]] if small else list(_ITEMS))
    batch, steps, rounds = (small["batch"], small["steps"], 1) if small else (_BATCH, _STEPS, options.rounds)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for items in sizes:
        found[str(items)] = processes.in_turns(
            "benchmarks.scene_steps", chosen, (items, batch, steps), rounds, digits=1
        )
        print(f"{items:,} candidates, batches of {batch}")
        for name, figures in found[str(items)].items():
            print(
                f"  {name:16s} {figures['step_ms']:10,.1f} ms a step, {figures['cpu_ms']:10,.1f} of CPU, "
                f"peak {figures['peak_mb']:6,.0f} MB",
                flush=True,
            )
    ratios = {
        items: round(models["dspnet"]["cpu_ms"] / models["scenecontrarec"]["cpu_ms"], 2)
        for items, models in found.items()
        if {"dspnet", "scenecontrarec"} <= set(models)
    }
    print(json.dumps({"dspnet_to_scenecontrarec": ratios, "candidates": found}))


if __name__ == "__main__":
    main()
