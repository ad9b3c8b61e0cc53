"""A `run_fn` that trains nothing: all workers add up a number by the strategy, and each writes where it is told to."""

import json
import logging
import os

import tensorflow as tf

from components.trainer import workers
from trainer import devices

RUN_FN = "tests.components.trainer.stub_training.run_fn"


def run_fn(fn_args):
    """Adds up what each worker brings, 1 for the chief, 2 for the next one and so on."""
    strategy = devices.strategy()
    index = workers.this().index
    total = strategy.run(
        lambda: tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, tf.constant(index + 1)
        )
    )
    logging.getLogger("footfall.progress").info("added up by %d", index)
    told = {
        "worker": index,
        "total": int(strategy.experimental_local_results(total)[0]),
        "files": list(fn_args.train_files),
        "config": fn_args.custom_config,
    }
    for folder in (fn_args.serving_model_dir, fn_args.model_run_dir):
        os.makedirs(folder)
        with open(os.path.join(folder, f"worker-{index}.json"), "w", encoding="utf-8") as stream:
            json.dump(told, stream)
