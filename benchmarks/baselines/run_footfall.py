"""Footfall's models under the protocol of the benchmark: its own training loop and evaluation."""

import os
import tempfile
from typing import Any

import schemas  # noqa: F401  selects Keras 2, before TensorFlow is imported

# isort: split
from schemas import collector

with collector.importing():
    import numpy as np
    import tensorflow as tf

    from benchmarks.baselines import protocol
    from schemas import names
    from trainer import config, registry
    from trainer.evaluation import ranking
    from trainer.loops import fit, tp
    from trainer.loops import loop as loop_lib
    from trainer.losses import ranking as losses
    from trainer.models import ranking as ranking_models

_ENDLESS = 1_000_000
_BLOCK = 1024


class _Finished(Exception):
    """The benchmark wants no more training."""


class _Paced(loop_lib.Loop):
    """Stops at the ends of epochs, when the benchmark says so."""

    worker: protocol.Worker

    def _report(self, record: dict[str, float]) -> None:
        super()._report(record)
        targets = round(record["targets_per_s"] * record["seconds"])
        if not self.worker.piece(targets, record["seconds"]):
            raise _Finished


class _PacedFit(_Paced, fit.Fit):
    """Plain training."""


class _PacedTP(_Paced, tp.TP):
    """Training by TP."""


def _model(name: str) -> dict[str, Any]:
    """The settings of a model, as large as those of the other systems."""
    own: dict[str, Any] = {"blocks": protocol.BLOCKS, "heads": protocol.HEADS}
    if name == protocol.GRU4REC:
        own = {"hidden": protocol.HIDDEN}
    elif name == protocol.CASER:
        own = {"markov": protocol.MARKOV, "horizontal": protocol.HORIZONTAL, "vertical": protocol.VERTICAL}
        own["tied"] = True
    elif name == protocol.BERT4REC:
        own["mask_ratio"] = protocol.MASK_RATIO
    return {"name": name, "dim": protocol.DIM, "dropout": protocol.DROPOUT, **own}


def _padded(sequences: list[np.ndarray], length: int) -> np.ndarray:
    padded = np.full([len(sequences), length], names.PADDING_INDEX, np.int64)
    for row, items in zip(padded, sequences):
        kept = items[-length:]
        row[len(row) - len(kept) :] = kept + names.FIRST_INDEX
    return padded


def _behaviors(index: np.ndarray) -> np.ndarray:
    """One of two behaviours for each event: the logs have none, and speed does not depend on which."""
    return np.where(index == names.PADDING_INDEX, names.PADDING_INDEX, names.FIRST_INDEX + index % 2)


def _gaps(index: np.ndarray) -> np.ndarray:
    """Events a second apart, as rows of the tables are; of the first, nothing is known."""
    known = index != names.PADDING_INDEX
    first = known & ~np.pad(known, [(0, 0), (1, 0)])[:, :-1]
    return np.where(known & ~first, np.log(2.0), 0.0).astype(np.float32)


def _training(worker: protocol.Worker, with_users: bool) -> tf.data.Dataset:
    sequences = worker.sequences(protocol.TRAIN)
    features = {
        names.HISTORY_ITEM_INDEX: _padded([items[:-1] for items in sequences], worker.meta["length"]),
        names.TARGET_ITEM_INDEX: np.array([items[-1] + names.FIRST_INDEX for items in sequences], np.int64),
    }
    if worker.model == protocol.CASM:
        features[names.HISTORY_BEHAVIOR_INDEX] = _behaviors(features[names.HISTORY_ITEM_INDEX])
        features[names.TARGET_BEHAVIOR_INDEX] = _behaviors(features[names.TARGET_ITEM_INDEX])
    if worker.model == protocol.HSTU:
        features[names.HISTORY_LOG_GAP] = _gaps(features[names.HISTORY_ITEM_INDEX])
    if with_users:
        shortest_first = np.argsort([len(items) for items in sequences], kind="stable")
        head = shortest_first[-round(protocol.HEAD_SHARE * len(sequences)) :]
        features[names.USER_HASH] = np.arange(len(sequences))
        features[names.USER_HEAD] = np.isin(np.arange(len(sequences)), head).astype(np.int64)
    return tf.data.Dataset.from_tensor_slices(features).batch(_BLOCK).cache()


def _evaluation(worker: protocol.Worker, histories: np.ndarray) -> tf.data.Dataset:
    users, items = worker.table(protocol.HISTORY)
    # The distinct items of each user, as Transform's seen items are.
    users, items = np.unique(np.stack([users, items]), axis=1)
    first = np.searchsorted(users, users)
    seen = tf.SparseTensor(
        np.stack([users, np.arange(len(users)) - first], axis=1),
        items + names.FIRST_INDEX,
        [worker.meta["users"], int(np.bincount(users).max())],
    )
    # An item outside of the catalogue is out of vocabulary.
    held_out = [names.OOV_INDEX if item < 0 else item + names.FIRST_INDEX for item in worker.meta["held_out"]]
    features = {
        names.HISTORY_ITEM_INDEX: histories,
        names.HISTORY_BEHAVIOR_INDEX: _behaviors(histories),
        names.HISTORY_LOG_GAP: _gaps(histories),
        names.TARGET_ITEM_INDEX: np.array(held_out, np.int64),
        names.SEEN_ITEM_INDEX: seen,
    }
    return tf.data.Dataset.from_tensor_slices(features).batch(_BLOCK).cache()


def main() -> None:
    """Trains and answers as the benchmark commands."""
    worker = protocol.Worker()
    loop_settings = worker.arguments.get("loop", {"name": "fit"})
    aligned = loop_settings["name"] == "tp"
    settings = config.TrainerSettings.from_values(
        {
            "model": _model(worker.model),
            "loss": {"name": "softmax"},
            "loop": loop_settings,
            "training": {
                "epochs": _ENDLESS,
                "evaluate_every": _ENDLESS,
                "patience": _ENDLESS,
                **({} if aligned else {"batch_size": protocol.BATCH_SIZE}),
                "learning_rate": protocol.LEARNING_RATE,
                "seed": worker.arguments["seed"],
                **worker.arguments.get("training", {}),
            },
        }
    )
    catalogue = ranking_models.Catalogue(
        np.array(worker.meta["counts"], np.int64),
        worker.meta["length"],
        behaviors=2,
        behavior_names=("view", "buy"),
    )

    def build() -> ranking_models.SequenceModel:
        model = registry.load(settings.model.name)(settings.model, catalogue, seed=settings.training.seed)
        model.training_loss = losses.build(settings.loss)
        return model

    histories = _padded(worker.sequences(protocol.HISTORY), worker.meta["length"])
    evaluated = _evaluation(worker, histories)
    with tempfile.TemporaryDirectory() as folder:
        _Paced.worker = worker
        loop_class = (_PacedTP if aligned else _PacedFit).of(settings.loop)
        loop = loop_class(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(),
            _training(worker, with_users=aligned),
            lambda model: ranking.FullRanking(model, evaluated, exclude_seen=True),
            os.path.join(folder, "checkpoints"),
        )
        try:
            if worker.start():
                loop.run()
        except _Finished:
            pass
    read = {
        names.HISTORY_ITEM_INDEX: tf.constant(histories),
        names.HISTORY_BEHAVIOR_INDEX: tf.constant(_behaviors(histories)),
        names.HISTORY_LOG_GAP: tf.constant(_gaps(histories)),
    }

    def scores() -> np.ndarray:
        return loop.model.scores(loop.model.encode(read)).numpy()

    worker.serve(scores)


if __name__ == "__main__":
    main()
