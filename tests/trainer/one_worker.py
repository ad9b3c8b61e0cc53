"""A worker of `test_workers`, a process of its own: trains, and writes its weights.

python -m tests.trainer.one_worker CHECKPOINTS WEIGHTS
"""

import json
import os
import pathlib
import sys

import schemas  # noqa: F401  selects Keras 2
from trainer import devices

# isort: split
import numpy as np

TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}
MODEL = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
LOSS = {"name": "softmax"}


def main() -> None:
    """Trains with all workers."""
    # As `task.run_fn` does: first of all.
    strategy = devices.strategy()
    from tests.trainer.loops import test_fit

    checkpoints, written = sys.argv[1:]
    one = test_fit.loop(pathlib.Path(checkpoints), TRAINING, LOSS, MODEL, strategy=strategy)
    history = one.run()
    np.savez(written, *test_fit.weights(one))
    print(json.dumps({"replicas": history["replicas"], "wrote": one._checkpoints.written_to}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
