"""A worker of `test_workers`, a process of its own: trains, and writes its weights.

python -m tests.trainer.one_worker CHECKPOINTS WEIGHTS [dies]

A worker that dies is killed at the start of the second epoch, while the others wait for its share.
"""

import json
import os
import pathlib
import signal
import sys

import schemas  # noqa: F401  selects Keras 2

# isort: split
from schemas import collector

with collector.importing():
    import numpy as np

    from trainer import devices

TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}
MODEL = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
LOSS = {"name": "softmax"}


def main() -> None:
    """Trains with all workers."""
    # As `task.run_fn` does: first of all.
    strategy = devices.strategy()
    from tests.trainer.loops import test_fit

    checkpoints, written, *dies = sys.argv[1:]
    one = test_fit.loop(pathlib.Path(checkpoints), TRAINING, LOSS, MODEL, strategy=strategy)
    if dies:
        steps = one._steps

        def until_the_second(*given):
            if int(one._epoch):
                os.kill(os.getpid(), signal.SIGKILL)
            return steps(*given)

        one._steps = until_the_second
    history = one.run()
    np.savez(written, *test_fit.weights(one))
    known = {name: history[name] for name in ("replicas", "resumed_from_epoch")}
    print(json.dumps({**known, "wrote": one._checkpoints.written_to}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
