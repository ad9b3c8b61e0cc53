"""What each process of the Trainer's custom job starts: the Trainer's executor, given what the step was given.

Vertex AI tells each process which of the workers it is by TF_CONFIG.

    python -m pipeline.runners.job_worker --handover gs://bucket/root/of-the-step/custom_job
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import schemas  # noqa: F401  selects Keras 2, before TFX imports TensorFlow

# isort: split
from schemas import collector

with collector.importing():
    from components.trainer import executor, handover, workers
    from pipeline.runners import failures


def run(folder: str) -> None:
    """Trains, and leaves word in the folder of the handover if that fails.

    Raises:
      Exception: what the executor raises.
    """
    worker = workers.this()
    execution = handover.read(folder)
    try:
        executor.Executor().Do(execution.inputs, execution.outputs, execution.properties)
    except Exception as error:
        known = failures.input_error(error)
        handover.fail(
            folder, handover.Failure(worker.index, failures.root_cause(error), is_input=known is not None)
        )
        raise


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker, and ends the process: 0 done, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--handover", required=True, help="the folder of what the step hands over")
    given = parser.parse_args(arguments)
    logging.basicConfig()
    # Not of the root: libraries have set its level by now, and say much below it.
    logging.getLogger("footfall").setLevel(logging.INFO)
    code = 0
    try:
        run(given.handover)
    except Exception:
        logging.getLogger("footfall").exception("the worker failed")
        code = 1
    # As in the steps: Arrow's and TensorFlow's threads complain about an interpreter that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
