"""MMoE, PLE and AITM of torch-rechub, trained by its `MTLTrainer`.

Of three variants: `shipped` draws batches with the `DataLoader` that its `DataGenerator` makes;
`ready` gathers each batch from arrays in memory instead, which spares it the making of batches row
by row; `plain` is `ready` without the batch normalisation that each of its layers has.
"""

import functools
import time
from collections.abc import Iterator
from typing import Any

import conversions
import numpy as np
import protocol
import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import AITM, MMOE, PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

_NAME = "field_{}"


class _Arrays:
    """Endless batches gathered from arrays, in an order that is new in each epoch.

    Args:
      fields: `[N, F]`.
      labels: `[N, T]`.
      batch_size: rows of each batch.
    """

    def __init__(self, fields: np.ndarray, labels: np.ndarray, batch_size: int):
        self._fields = {_NAME.format(n): torch.tensor(column) for n, column in enumerate(fields.T)}
        self._labels, self._batch_size = torch.tensor(labels), batch_size

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        for chosen in torch.randperm(len(self._labels)).split(self._batch_size):
            yield {name: column[chosen] for name, column in self._fields.items()}, self._labels[chosen]


class _Training:
    """A model and its trainer.

    Args:
      model: its name.
      variant: see above.
      fields, labels, batch_size: see `_Arrays`.
    """

    def __init__(self, model: str, variant: str, fields: np.ndarray, labels: np.ndarray, batch_size: int):
        torch.manual_seed(1)
        if variant == "shipped":
            columns = {_NAME.format(n): column for n, column in enumerate(fields.T)}
            generator = DataGenerator(columns, labels)
            # What is only to be evaluated is never read.
            self._loader = generator.generate_dataloader(
                x_val=columns, y_val=labels, x_test=columns, y_test=labels, batch_size=batch_size
            )[0]
        else:
            self._loader = _Arrays(fields, labels, batch_size)
        built = _build(model)
        if variant == "plain":
            for module in list(built.modules()):
                for name, child in list(module.named_children()):
                    if isinstance(child, torch.nn.BatchNorm1d):
                        setattr(module, name, torch.nn.Identity())
        self._trainer = MTLTrainer(
            built,
            task_types=["classification"] * len(conversions.STEPS),
            optimizer_params={"lr": conversions.LEARNING_RATE, "weight_decay": 0.0},
        )
        self._batches = iter(self._loader)

    def burst(self, seconds: float) -> tuple[int, float]:
        """Trains for about so long: rows and seconds. The way into an epoch is kept for the next burst."""
        rows, start = 0, time.perf_counter()

        def paced() -> Iterator[Any]:
            nonlocal rows
            while not rows or time.perf_counter() - start < seconds:
                batch = next(self._batches, None)
                if batch is None:
                    self._batches = iter(self._loader)
                    continue
                rows += len(batch[1])
                yield batch

        self._trainer.train_one_epoch(paced())
        return rows, time.perf_counter() - start


def _build(model: str) -> torch.nn.Module:
    features = [
        SparseFeature(_NAME.format(n), vocab_size=int(size), embed_dim=conversions.DIM)
        for n, size in enumerate(conversions.sizes())
    ]
    tasks = ["classification"] * len(conversions.STEPS)
    experts = {"dims": list(conversions.EXPERT), "activation": "relu", "dropout": conversions.DROPOUT}
    tower = {"dims": list(conversions.TOWER), "activation": "relu", "dropout": conversions.DROPOUT}
    towers = [tower] * len(tasks)
    if model == conversions.MMOE:
        return MMOE(features, tasks, conversions.EXPERTS, experts, towers)
    if model == conversions.PLE:
        counts = conversions.LEVELS, conversions.STEP_EXPERTS, conversions.SHARED_EXPERTS
        return PLE(features, tasks, *counts, experts, towers)
    bottom = {**experts, "dims": list(conversions.AITM_TOWER)}
    return AITM(features, len(tasks), bottom, [{"dims": []}] * len(tasks))


def main() -> None:
    """Trains and answers as the benchmark commands."""
    worker = protocol.Worker()
    fields, labels = conversions.load(worker.arguments["data"])

    @functools.cache
    def training(model: str, variant: str) -> _Training:
        return _Training(model, variant, fields, labels, worker.arguments["batch_size"])

    worker.answer(ready=True)
    while True:
        command = worker.command()
        if command["do"] != "train":
            return
        rows, seconds = training(command["model"], command["variant"]).burst(command["seconds"])
        worker.answer(rows=rows, seconds=seconds)


if __name__ == "__main__":
    main()
