"""SASRec, BERT4Rec, eSASRec and HSTU of RecTools under the protocol of the benchmark."""

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import protocol
import pytorch_lightning
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel
from rectools.models.nn.transformers import ligr

_ENDLESS = 1_000_000


class _Paced(pytorch_lightning.Callback):
    """Stops at the ends of epochs, when the benchmark says so."""

    def __init__(self, worker: protocol.Worker):
        self._worker = worker
        self._targets = 0
        self._epochs = 0
        self._start = 0.0

    def __deepcopy__(self, memo: Any) -> "_Paced":
        # RecTools copies its trainer, but there is one pipe.
        return self

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not self._worker.start():
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._start = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # All epochs have the same targets (or, drawn, about as many): counting costs time only in
        # the one that warms up.
        if not self._epochs:
            self._targets += int((batch["y"] != 0).sum())

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._epochs += 1
        if not self._worker.piece(self._targets, time.perf_counter() - self._start):
            trainer.should_stop = True


def _dataset(worker: protocol.Worker, name: str) -> Dataset:
    users, items = worker.table(name)
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: users,
                Columns.Item: items,
                Columns.Weight: 1.0,
                # The rows are in time order; equal times of the source must not be sorted anew.
                Columns.Datetime: pd.to_datetime(np.arange(len(users)), unit="s"),
            }
        )
    )


def _second_after(worker: protocol.Worker) -> pd.DataFrame:
    """When to recommend to each user: a second after the last event of theirs, as all events are apart."""
    last = pd.Series(worker.table(protocol.HISTORY)[0]).drop_duplicates(keep="last")
    return pd.DataFrame(
        {
            Columns.User: last.to_numpy(),
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(last.index.to_numpy() + 1, unit="s"),
        }
    )


def main() -> None:
    """Trains and answers as the benchmark commands."""
    warnings.simplefilter("ignore")
    worker = protocol.Worker()
    pytorch_lightning.seed_everything(worker.arguments["seed"])

    def trainer() -> pytorch_lightning.Trainer:
        # RecTools' own default, but for the number of epochs and the callback.
        return pytorch_lightning.Trainer(
            max_epochs=_ENDLESS,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            devices=1,
            callbacks=[_Paced(worker)],
        )

    own: dict[str, Any] = {}
    if worker.model == protocol.BERT4REC:
        own["mask_prob"] = protocol.MASK_RATIO
    elif worker.model == protocol.ESASREC:
        # These layers do not clear what is padded, as those of SASRec do: their authors mask it.
        own.update(transformer_layers_type=ligr.LiGRLayers, use_key_padding_mask=True)
    elif worker.model == protocol.HSTU:
        # Its scores are cosines; RecTools' own tutorial divides them by this.
        own["lightning_module_kwargs"] = {"logits_t": 0.05}
    kinds = {protocol.BERT4REC: BERT4RecModel, protocol.HSTU: HSTUModel}
    model = kinds.get(worker.model, SASRecModel)(
        n_blocks=protocol.BLOCKS,
        n_heads=protocol.HEADS,
        n_factors=protocol.DIM,
        dropout_rate=protocol.DROPOUT,
        session_max_len=worker.meta["length"],
        loss="softmax",
        lr=protocol.LEARNING_RATE,
        batch_size=protocol.BATCH_SIZE,
        get_trainer_func=trainer,
        **own,
    )
    model.fit(_dataset(worker, protocol.TRAIN))
    history = _dataset(worker, protocol.HISTORY)
    users = np.arange(worker.meta["users"])
    # HSTU asks when it is.
    when = {"context": _second_after(worker)} if worker.model == protocol.HSTU else {}

    def scores() -> np.ndarray:
        items = len(worker.meta["counts"])
        every = model.recommend(users, history, k=items, filter_viewed=False, **when)
        table = np.full([len(users), items], -np.inf, np.float32)
        table[every[Columns.User], every[Columns.Item]] = every[Columns.Score]
        return table

    worker.serve(scores)


if __name__ == "__main__":
    main()
