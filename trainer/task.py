"""`run_fn` of TFX Trainer: trains the model of an experiment and exports it."""

import functools
import hashlib
import json
import os
from typing import Any, Callable, Dict, Tuple

import tensorflow as tf
import tensorflow_transform as tft

import schemas  # noqa: F401  selects Keras 2
from components.behavior_example_gen import spec
from components.evaluator import spec as evaluator_spec
from components.transform import vocabulary
from serving import export
from trainer import config
from trainer import input as input_lib
from trainer import ranking
from trainer import registry
from trainer.loops import fit
from trainer.loops import tp
from trainer.losses import next_item
from trainer.models import base

HISTORY = "history.json"


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX Trainer.

    `fn_args.custom_config` holds JSON texts of settings, `model`, `loss`, `loop`,
    `training`, `window`, `evaluation`, and `checkpoint_root`: a folder where a second run of the same
    training finds what an interrupted one has left.

    Raises:
      fit.TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    if not tf.keras.__name__.startswith("tf_keras"):
        raise RuntimeError(
            f"Footfall needs Keras 2, found {tf.keras.__name__}: set TF_USE_LEGACY_KERAS=1 in the image"
        )
    custom = fn_args.custom_config
    settings = config.TrainerSettings.from_custom_config(custom)
    window = spec.WindowSpec.from_json(custom["window"])
    exclude_seen = evaluator_spec.EvaluationSpec.from_json(custom["evaluation"]).exclude_seen

    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    known = vocabulary.Vocabulary.load(transform_output)
    catalogue = base.Catalogue(
        known.counts,
        window.length,
        behaviors=len(known.behaviors),
        scenes=len(known.scenes),
        behavior_names=tuple(name.decode("utf-8", "replace") for name in known.behaviors),
    )
    model_class = registry.load(settings.model.name)
    if settings.training.mixed_precision:
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if on_gpu else "mixed_bfloat16")

    def build() -> base.SequenceModel:
        model = model_class(settings.model, catalogue, seed=settings.training.seed)
        model.training_loss = next_item.build(settings.loss)
        return model

    reads = model_class.inputs_read
    trained_on = input_lib.training_features([*reads, *model_class.loss_inputs_read])
    kind, grouped = _loop(settings.loop)
    if grouped:
        trained_on += input_lib.user_features()
    train = input_lib.read(fn_args.train_files, transform_output, trained_on)
    evaluated = input_lib.read(fn_args.eval_files, transform_output, input_lib.evaluation_features(reads))
    checkpoint_dir = os.path.join(custom["checkpoint_root"], _fingerprint(fn_args))
    try:
        loop = kind(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(),
            train,
            lambda model: ranking.FullRanking(model, evaluated, exclude_seen),
            checkpoint_dir,
            os.path.join(fn_args.model_run_dir, "tensorboard"),
        )
        history = loop.run()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, HISTORY), "w") as stream:
        stream.write(json.dumps(history, indent=1))
    export.export_model(loop.model, transform_output, fn_args.serving_model_dir, exclude_seen=exclude_seen)
    # Only now is the training over: a run that dies before finds its checkpoints.
    if tf.io.gfile.exists(checkpoint_dir):
        tf.io.gfile.rmtree(checkpoint_dir)


def _loop(settings: Any) -> Tuple[Callable[..., fit.Loop], bool]:
    """What makes the loop of its settings, and whether it reads the users of windows."""
    if isinstance(settings, config.TPSettings):
        return functools.partial(tp.TP, tp=settings), True
    return fit.Fit, False


def _fingerprint(fn_args: Any) -> str:
    """Tells trainings apart: by their settings and by the artifacts they read."""
    inputs: Dict[str, Any] = {
        "custom_config": {k: v for k, v in sorted(fn_args.custom_config.items()) if k != "checkpoint_root"},
        "transform": fn_args.transform_graph_path,
        "train": list(fn_args.train_files),
        "eval": list(fn_args.eval_files),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
