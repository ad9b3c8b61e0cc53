"""MMoE, PLE and AITM of Footfall, trained by the step of its own loop, and where that step's time goes."""

import functools
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import schemas  # noqa: F401  selects Keras 2, before TensorFlow is imported

# isort: split
from schemas import collector

with collector.importing():
    import numpy as np
    import tensorflow as tf

    from benchmarks.baselines import conversions, protocol
    from components.transform import fields as fields_lib
    from schemas import names
    from trainer import config, registry
    from trainer.evaluation import labels as evaluation
    from trainer.loops import rows as rows_lib
    from trainer.losses import labels as losses
    from trainer.models import labels as label_models

_STEPS_PER_CALL = 64
_BLOCK = 4096
_EVALUATED = 4096
# More than are ever trained: a burst ends by the clock.
_EPOCHS = 1_000_000

_SETTINGS: dict[str, dict[str, Any]] = {
    conversions.MMOE: {
        "experts": conversions.EXPERTS,
        "expert": conversions.EXPERT,
        "tower": conversions.TOWER,
    },
    conversions.PLE: {
        "levels": conversions.LEVELS,
        "step_experts": conversions.STEP_EXPERTS,
        "shared_experts": conversions.SHARED_EXPERTS,
        "expert": conversions.EXPERT,
        "tower": conversions.TOWER,
    },
    conversions.AITM: {"tower": conversions.AITM_TOWER},
}


class _Bursts(rows_lib.RowFit):
    """Takes the loop's own steps, for a time rather than for epochs."""

    def burst(self, seconds: float) -> tuple[int, float]:
        """Trains for about so long: rows and seconds. The way into an epoch is kept for the next burst."""
        steps = tf.constant(min(_STEPS_PER_CALL, self._epoch_steps()))
        rows, start = 0, time.perf_counter()
        while not rows or time.perf_counter() - start < seconds:
            if self._iterator is None:
                self._iterator = iter(self._batches(range(_EPOCHS)))
            rows += int(self._steps(self._iterator, steps).numpy()[1])
        return rows, time.perf_counter() - start

    def parts(self, seconds: float) -> dict[str, float]:
        """Seconds on cores that the parts of a step take, by `conversions.PARTS`.

        Each is measured alone: getting a batch; the embedding of the fields and the whole model, with
        their gradients; and a step as training takes it, which gets batches meanwhile.
        """
        model, batch_size = self.model, self._settings.batch_size

        def embedding(batch: dict[str, tf.Tensor]) -> Any:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(model._embedding(batch) ** 2)
            return tape.gradient(total, model._embedding.trainable_variables)

        def gradients(batch: dict[str, tf.Tensor]) -> Any:
            with tf.GradientTape() as tape:
                total, _ = model.summed_loss(batch, training=True)
            return tape.gradient(total, model.trainable_variables)

        held = next(iter(self._batches(range(1))))
        an_epoch = _timed(lambda: [None for _ in self._batches(range(1, 2))], seconds)
        found = {"batches": an_epoch / self._epoch_steps()}
        found["embedding"] = self._repeated(embedding, held, seconds)
        found["gradients"] = self._repeated(gradients, held, seconds)
        used = time.process_time()
        rows, _ = self.burst(seconds)
        found["step"] = (time.process_time() - used) / rows * batch_size
        return found

    def _repeated(self, part: Callable[[Any], Any], held: dict[str, tf.Tensor], seconds: float) -> float:
        """Seconds on cores of one call of a compiled part."""
        # AutoGraph would read the source of the model, to find nothing that it can turn into a graph.
        part = tf.autograph.experimental.do_not_convert(part)

        @tf.function
        def several() -> tf.Tensor:
            total = tf.constant(0.0)
            for _ in tf.range(_STEPS_PER_CALL):
                # One element of each result, so that none is left out of the graph.
                found = [g.values if isinstance(g, tf.IndexedSlices) else g for g in part(held)]
                total += tf.add_n([tf.reshape(value, [-1])[0] for value in found])
            return total

        return _timed(several, seconds) / _STEPS_PER_CALL


def _timed(call: Callable[[], Any], seconds: float) -> float:
    """Seconds on cores of a call, after one that warms up."""
    call()
    calls, start, used = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - start < seconds:
        call()
        calls += 1
    return (time.process_time() - used) / calls


def _training(model: str, worker: protocol.Worker, folder: str) -> _Bursts:
    fields, labels = conversions.load(worker.arguments["data"])
    described = tuple(
        fields_lib.Field(
            f"field_{n}", f"field_{n}_index", "index", int(size) + names.FIRST_INDEX, f"field_{n}"
        )
        for n, size in enumerate(conversions.sizes())
    )
    features = {
        field.key: column.astype(np.int64) + names.FIRST_INDEX for field, column in zip(described, fields.T)
    }
    features.update(zip(label_models.label_features(conversions.STEPS), labels.T.astype(np.int64)))
    settings = config.TrainerSettings.from_values(
        {
            "model": {
                "name": model,
                "dim": conversions.DIM,
                "dropout": conversions.DROPOUT,
                **_SETTINGS[model],
            },
            "training": {
                "batch_size": worker.arguments["batch_size"],
                "learning_rate": conversions.LEARNING_RATE,
                **worker.arguments.get("training", {}),
            },
        }
    )
    known = label_models.Exposures(described, conversions.STEPS, tuple(worker.meta["base_rates"]))

    def build() -> label_models.LabelModel:
        built = registry.load(model)(settings.model, known, seed=settings.training.seed)
        built.training_loss = losses.build(settings.loss, conversions.STEPS)
        return built

    train = tf.data.Dataset.from_tensor_slices(features).batch(_BLOCK)
    few = tf.data.Dataset.from_tensor_slices({name: value[:_EVALUATED] for name, value in features.items()})
    return _Bursts(
        build,
        settings.training,
        tf.distribute.MirroredStrategy(),
        train,
        lambda made: evaluation.StepMetrics(made, few.batch(_BLOCK)),
        os.path.join(folder, model),
    )


def main() -> None:
    """Trains and answers as the benchmark commands."""
    worker = protocol.Worker()
    with tempfile.TemporaryDirectory() as folder:

        @functools.cache
        def training(model: str) -> _Bursts:
            return _training(model, worker, folder)

        worker.answer(ready=True)
        while True:
            command = worker.command()
            if command["do"] == "train":
                rows, seconds = training(command["model"]).burst(command["seconds"])
                worker.answer(rows=rows, seconds=seconds)
            elif command["do"] == "parts":
                worker.answer(**training(command["model"]).parts(command["seconds"]))
            else:
                return


if __name__ == "__main__":
    main()
