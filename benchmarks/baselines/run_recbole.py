"""Models of RecBole under the protocol of the benchmark."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import protocol
import torch
from recbole.config import Config
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

_NAME = "events"
_MASKS = "MASK_INDEX"
_ROWS = 256
# It has no CASM: SASRec is nearest, without behaviours.
_MODELS = {
    protocol.SASREC: "SASRec",
    protocol.GRU4REC: "GRU4Rec",
    protocol.CASER: "Caser",
    protocol.BERT4REC: "BERT4Rec",
    protocol.CASM: "SASRec",
}


class _Finished(Exception):
    """The benchmark wants no more training."""


class _Paced:
    """The batches of an epoch. An epoch is long, so a piece of training is a batch."""

    def __init__(self, batches: TrainDataLoader, worker: protocol.Worker):
        self._batches, self._worker = batches, worker

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            yield batch
            # A row has one target, or as many as it has masks.
            targets = len(batch) if _MASKS not in batch else int((batch[_MASKS] > 0).sum())
            if not self._worker.piece(targets):
                raise _Finished


def _write(worker: protocol.Worker, folder: str) -> None:
    users, items = worker.table(protocol.TRAIN)
    os.makedirs(os.path.join(folder, _NAME))
    with open(os.path.join(folder, _NAME, f"{_NAME}.inter"), "w", encoding="ascii") as stream:
        stream.write("user_id:token\titem_id:token\ttimestamp:float\n")
        # The rows are in time order; equal times of the source must not be sorted anew.
        stream.writelines(f"{user}\t{item}\t{time}\n" for time, (user, item) in enumerate(zip(users, items)))


def _rows_of_masks(worker: protocol.Worker) -> int:
    """How many rows have as many masks as `BATCH_SIZE` sequences: a row is the beginning of one, each a row."""

    def masks(lengths: np.ndarray) -> float:
        drawn = np.maximum(1.0, protocol.MASK_RATIO * lengths)
        return float(np.mean(protocol.LAST_ALONE + (1 - protocol.LAST_ALONE) * drawn))

    whole = [len(sequence) for sequence in worker.sequences(protocol.TRAIN)]
    rows = np.concatenate([np.arange(2, length + 1) for length in whole])
    return round(protocol.BATCH_SIZE * masks(np.array(whole)) / masks(rows))


def _config(worker: protocol.Worker, folder: str) -> Config:
    model = worker.model
    length, rows = worker.meta["length"], worker.arguments["batch_targets"]
    own: dict[str, Any] = {
        "n_layers": protocol.BLOCKS,
        "n_heads": protocol.HEADS,
        "hidden_size": protocol.DIM,
        "inner_size": protocol.DIM,
        "hidden_act": "relu",
        "hidden_dropout_prob": protocol.DROPOUT,
        "attn_dropout_prob": protocol.DROPOUT,
    }
    if model == protocol.BERT4REC:
        rows = _rows_of_masks(worker)
        own.update({"inner_size": 4 * protocol.DIM, "hidden_act": "gelu", "mask_ratio": protocol.MASK_RATIO})
        own["ft_ratio"] = protocol.LAST_ALONE
    elif model == protocol.GRU4REC:
        own = {"hidden_size": protocol.HIDDEN, "num_layers": 1}
    elif model == protocol.CASER:
        # Its M is the length of the sequences.
        length = protocol.MARKOV
        own = {"nh": protocol.HORIZONTAL, "nv": protocol.VERTICAL, "reg_weight": 0.0}
    values = {
        "data_path": folder,
        "checkpoint_dir": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": length,
        # The held-out events are not in the file, so all of it is for training.
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "group_by": "user", "mode": "full"},
        "embedding_size": protocol.DIM,
        "dropout_prob": protocol.DROPOUT,
        **own,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "learning_rate": protocol.LEARNING_RATE,
        "train_batch_size": rows,
        "use_gpu": False,
        "show_progress": False,
        "seed": worker.arguments["seed"],
    }
    return Config(model=_MODELS[model], dataset=_NAME, config_dict=values)


def _scores(worker: protocol.Worker, dataset: SequentialDataset, model: Any) -> np.ndarray:
    sequences = worker.sequences(protocol.HISTORY)
    items = len(worker.meta["counts"])
    ids = dataset.token2id("item_id", [str(item) for item in range(items)])
    longest = worker.meta["length"]
    histories = np.zeros([len(sequences), longest], np.int64)
    lengths = np.array([min(len(sequence), longest) for sequence in sequences])
    for row, length, sequence in zip(histories, lengths, sequences):
        row[:length] = ids[sequence[-length:]]
    model.eval()
    scores = []
    with torch.no_grad():
        for start in range(0, len(sequences), _ROWS):
            rows = slice(start, start + _ROWS)
            batch = Interaction({"item_id_list": histories[rows], "item_length": lengths[rows]})
            scores.append(model.full_sort_predict(batch).numpy()[:, ids])
    return np.concatenate(scores)


def main() -> None:
    """Trains and answers as the benchmark commands."""
    worker = protocol.Worker()
    # RecBole reads the command line for settings.
    del sys.argv[1:]
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        _write(worker, folder)
        # It leaves a folder of logs where it runs.
        os.chdir(folder)
        config = _config(worker, folder)
        init_seed(config["seed"], config["reproducibility"])
        dataset = SequentialDataset(config)
        train = TrainDataLoader(config, dataset.build()[0], None, shuffle=True)
        model = get_model(config["model"])(config, train.dataset).to(config["device"])
        trainer = Trainer(config, model)
        batches = _Paced(train, worker)
        try:
            epoch = 0
            training = worker.start()
            while training:
                trainer._train_epoch(batches, epoch)
                epoch += 1
        except _Finished:
            pass
        worker.serve(lambda: _scores(worker, dataset, model))
        os.chdir(os.path.dirname(folder))


if __name__ == "__main__":
    main()
