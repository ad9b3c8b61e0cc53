"""The workers of `test_workers`, each a process of its own: it trains by each kind of loop, and writes the weights.

python -m tests.trainer.one_worker CHECKPOINTS WEIGHTS ROUNDS

ROUNDS is JSON: of each round a list with the environment of each worker. Those of a round train together; the next one
begins when all have ended. All are forks of this process, which has imported TensorFlow, but has not begun to use it.
A worker writes its weights to `WEIGHTS/<index>-<name>.npz`. One with DIES in its environment is killed at the start of
the second epoch of the first training, while the others wait for its share. Prints JSON: of each round and each worker
the exit code, what it printed, and its errors.
"""

import json
import os
import pathlib
import signal
import sys
import tempfile
import time
import traceback

import schemas  # noqa: F401  selects Keras 2

# isort: split
from schemas import collector

with collector.importing():
    import numpy as np
    import tensorflow as tf

    from components.trainer import workers
    from tests.trainer.loops import test_adversary, test_fit, test_rows, test_teacher, test_tp
    from tests.trainer.models import test_dspnet
    from trainer import devices, optimizers
    from trainer.layers import augmentation
    from trainer.losses import adversary

DIES = "FOOTFALL_TESTS_DIES"
FIT, STOPPED = "fit", "stopped"
_TRAINING = {"epochs": 2, "learning_rate": 0.01}
_MODEL = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
_SOFTMAX = {"name": "softmax"}


def _fit(folder, strategy):
    return test_fit.loop(folder, {**_TRAINING, "batch_size": 16}, _SOFTMAX, _MODEL, strategy=strategy)


def _contrast(folder, strategy):
    """Histories are compared with those of all workers, and an adversary ascends."""
    return test_adversary.loop(folder, _TRAINING, rows=9, strategy=strategy)


def _rows(folder, strategy):
    training = {**_TRAINING, "batch_size": 23}
    return test_rows.loop(folder, training, {"dropout": 0.0}, strategy=strategy)


def _tp(folder, strategy):
    settings = {"adversary_events": None, "user_batch": 5}
    return test_tp.real_loop(folder, _TRAINING, settings, _MODEL, _SOFTMAX, strategy=strategy)


def _teacher(folder, strategy):
    return test_teacher.loop(folder, _TRAINING, rows=9, strategy=strategy)


# For each share another number is drawn, and other ones, so that nobody gets its weights alone.
DRAWN = (STOPPED,)


class _Apart:
    """Measures what no other worker does: of the chief it falls, so that the second epoch does not pay."""

    objective = "ndcg@10"

    def __init__(self, model):
        del model
        self._measured = 0

    def evaluate(self):
        self._measured += 1
        if workers.this().chief:
            # Long enough that its clock says to stop.
            time.sleep(0.2)
            return {"ndcg@10": 1 / self._measured}
        return {"ndcg@10": self._measured / 7}


def _stopped(folder, strategy):
    training = {**_TRAINING, "epochs": 9, "batch_size": 16, "max_seconds": 1e-9}
    loss = {"name": "bce", "negatives": 2}
    return test_fit.loop(folder, training, loss, _MODEL, strategy=strategy, evaluate=_Apart)


# What makes a training in a folder; without a strategy, that of a worker alone.
LOOPS = {
    FIT: _fit,
    "contrast": _contrast,
    "rows": _rows,
    "tp": _tp,
    "teacher": _teacher,
    STOPPED: _stopped,
}


def prepare(name, setattr):
    """Makes a training one that several workers get the same weights by as one alone.

    Args:
      name: of `LOOPS`.
      setattr: as the built-in one.
    """
    if name == FIT:
        return
    # Adam makes large steps of what is left of a gradient of 0, which is another rest on each number of devices.
    setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(0.1))
    # What is drawn for a share depends on the replica.
    setattr(augmentation, "draw", test_dspnet.fixed_view)
    setattr(adversary, "PRIORS", {"normal": test_dspnet.fixed_prior})


def main() -> None:
    """Starts the workers of each round, and waits for them."""
    checkpoints, written, rounds = sys.argv[1:]
    ended = []
    for environments in json.loads(rounds):
        started = [_start(environment, checkpoints, written) for environment in environments]
        ended.append([_end(*one) for one in started])
    print(json.dumps(ended))


def _start(environment, checkpoints, written):
    """A worker's process, and the files of what it prints and of its errors."""
    files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    sys.stdout.flush()
    process = os.fork()
    if not process:
        try:
            for number, file in enumerate(files, 1):
                os.dup2(file.fileno(), number)
            os.environ.update(environment)
            _train(checkpoints, written, DIES in environment)
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    return process, files


def _end(process, files):
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    for file in files:
        file.seek(0)
    return code, *(file.read().decode("utf-8", "replace") for file in files)


def _train(checkpoints, written, dies):
    """Trains with all workers."""
    # As `task.run_fn` does: first of all.
    strategy = devices.strategy()
    told = {"histories": {}}
    for name, make in LOOPS.items():
        prepare(name, setattr)
        one = make(pathlib.Path(checkpoints) / name, strategy)
        if dies:
            _die_in_the_second_epoch(one)
        history = one.run()
        weights = (each.numpy() for each in one.model.trainable_variables)
        np.savez(f"{written}/{workers.this().index}-{name}.npz", *weights)
        told["histories"][name] = {
            "epochs": len(history["epochs"]),
            "best_epoch": history["best_epoch"],
            "stopped": history["stopped"],
            # A checkpoint, which the chief writes, has one place in the stream of draws for all.
            "drawn": int(one.model.generator.state.numpy()[0]),
            "measured": [epoch[history["objective"]] for epoch in history["epochs"]],
        }
        if name == FIT:
            told.update({key: history[key] for key in ("replicas", "resumed_from_epoch")})
            told["wrote"] = test_fit.written_to(one)
    print(json.dumps(told))


def _die_in_the_second_epoch(one):
    steps = one._steps

    def until_the_second(*given):
        if int(one._epoch):
            os.kill(os.getpid(), signal.SIGKILL)
        return steps(*given)

    one._steps = until_the_second


if __name__ == "__main__":
    main()
