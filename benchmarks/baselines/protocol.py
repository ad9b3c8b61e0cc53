"""What the benchmark and its workers say to each other: a line of JSON each, command and answer.

A worker is a process of one system. It trains only between a `train` command and its
answer, so that workers can wait in memory while another one is measured.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

LENGTH = 50
DIM = 64
BLOCKS = 2
HEADS = 2
DROPOUT = 0.2
LEARNING_RATE = 1e-3
BATCH_SIZE = 64
# Share of the users, those with most events, that TP takes for the head.
HEAD_SHARE = 0.2
# Share of the items that are masked where a model learns from masks.
MASK_RATIO = 0.2
# Share of the windows, or batches, of which the last item alone is masked.
LAST_ALONE = 0.1
# Of GRU4Rec, and of Caser: items looked at, and filters of each height and over the items.
HIDDEN = 128
MARKOV = 5
HORIZONTAL = 16
VERTICAL = 4
TOP = 10
SASREC, GRU4REC, CASER, BERT4REC, CASM = "sasrec", "gru4rec", "caser", "bert4rec", "casm"
ESASREC, HSTU = "esasrec", "hstu"
# Of the prepared data; both hold `users`, `items`, in time order within a user.
TRAIN = "train.npz"
HISTORY = "history.npz"
META = "meta.json"


class Worker:
    """A worker's end. Whatever the system prints goes to standard error.

    Attributes:
      arguments: `data` (a folder), `seed`, `batch_targets` and, unless it is SASRec, `model`; of Footfall
        also `training` and `loop`, settings of these parts.
      meta: see `training.prepare`.
      model: the name of the model.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.arguments = json.loads(sys.argv[1])
        with open(os.path.join(self.arguments["data"], META), encoding="utf-8") as stream:
            self.meta: dict[str, Any] = json.load(stream)
        self.model = self.arguments.get("model", SASREC)
        self._pieces: list[tuple[int, float, float]] = []
        self._left = 0.0
        self._resumed = 0.0

    def table(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The users and items of a table of the prepared data."""
        with np.load(os.path.join(self.arguments["data"], name)) as arrays:
            return arrays["users"], arrays["items"]

    def sequences(self, name: str) -> list[np.ndarray]:
        """The items of each user of a table, oldest first."""
        users, items = self.table(name)
        return np.split(items, np.searchsorted(users, np.arange(1, self.meta["users"])))

    def answer(self, **values: Any) -> None:
        """Answers a command."""
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()

    def command(self) -> dict[str, Any]:
        """Waits for the next command; the end of the input means `exit`."""
        line = sys.stdin.readline()
        return json.loads(line) if line else {"do": "exit"}

    def start(self) -> bool:
        """Says that training can start, and waits for it.

        Returns:
          Whether to train at all.
        """
        self.answer(ready=True)
        return self._wait()

    def piece(self, targets: int, stepping: float | None = None) -> bool:
        """Counts a piece of training that has just ended; waits when the time given is over.

        Args:
          targets: learnt in it.
          stepping: the seconds of it that were spent in steps and in getting their batches; all
            if not given.

        Returns:
          Whether to train on.
        """
        seconds = time.perf_counter() - self._resumed
        self._resumed += seconds
        self._pieces.append((int(targets), seconds if stepping is None else stepping, seconds))
        self._left -= seconds
        # As near to the time given as whole pieces allow; a first piece says little of the next.
        if self._left > (seconds / 2 if len(self._pieces) > 1 else 0):
            return True
        self.answer(pieces=self._pieces)
        return self._wait()

    def _wait(self) -> bool:
        command = self.command()
        if command["do"] != "train":
            self.answer(finished=True)
            return False
        self._pieces, self._left, self._resumed = [], command["seconds"], time.perf_counter()
        return True

    def serve(self, scores: Callable[[], np.ndarray]) -> None:
        """Answers what is asked after the training.

        Args:
          scores: returns `[users, items]`; called once.
        """
        while (command := self.command())["do"] == "scores":
            np.save(command["path"], np.asarray(scores(), np.float32))
            self.answer(saved=True)
