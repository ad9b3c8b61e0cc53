"""`run_fn` of TFX Trainer: trains the model of an experiment and exports it."""

import dataclasses
import functools
import hashlib
import json
import os
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

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
from trainer import search
from trainer.loops import fit
from trainer.loops import tp
from trainer.losses import next_item
from trainer.models import base

HISTORY = "history.json"


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX Trainer.

    `fn_args.custom_config` holds JSON texts of settings, `model`, `loss`, `loop`,
    `training`, `window`, `evaluation`, and `checkpoint_root`: a folder where a second run of the same
    training finds what an interrupted one has left. `fn_args.hyperparameters`, if any, are what a
    search has chosen: they take the place of those settings.

    Raises:
      fit.TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    custom = fn_args.custom_config
    settings = config.TrainerSettings.from_custom_config(custom)
    tuned = (fn_args.hyperparameters or {}).get("values", {})
    checkpoint_dir = os.path.join(custom["checkpoint_root"], fingerprint(fn_args, tuned))
    data = Data.of(fn_args)
    loop, history = train(
        search.merge(settings, tuned),
        data,
        checkpoint_dir,
        os.path.join(fn_args.model_run_dir, "tensorboard"),
    )
    if tuned:
        history["tuned"] = tuned
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, HISTORY), "w") as stream:
        stream.write(json.dumps(history, indent=1))
    export.export_model(
        loop.model, data.transform_output, fn_args.serving_model_dir, exclude_seen=data.exclude_seen
    )
    # Only now is the training over: a run that dies before finds its checkpoints.
    if tf.io.gfile.exists(checkpoint_dir):
        tf.io.gfile.rmtree(checkpoint_dir)


@dataclasses.dataclass(frozen=True)
class Data:
    """What trainings of different settings have in common.

    Attributes:
      transform_output: of TFX Transform.
      catalogue: of its vocabularies.
      train_files, eval_files: patterns of transformed examples.
      exclude_seen: see `evaluator.spec.EvaluationSpec`.
    """

    transform_output: tft.TFTransformOutput
    catalogue: base.Catalogue
    train_files: Sequence[str]
    eval_files: Sequence[str]
    exclude_seen: bool

    @classmethod
    def of(cls, fn_args: Any) -> "Data":
        """What TFX's arguments of a Trainer or a Tuner name."""
        custom = fn_args.custom_config
        transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
        known = vocabulary.Vocabulary.load(transform_output)
        catalogue = base.Catalogue(
            known.counts,
            spec.read_window(custom["window"]).length,
            behaviors=len(known.behaviors),
            scenes=len(known.scenes),
            behavior_names=tuple(name.decode("utf-8", "replace") for name in known.behaviors),
        )
        exclude_seen = evaluator_spec.EvaluationSpec.from_json(custom["evaluation"]).exclude_seen
        return cls(transform_output, catalogue, fn_args.train_files, fn_args.eval_files, exclude_seen)


def train(
    settings: config.TrainerSettings, data: Data, checkpoint_dir: str, log_dir: Optional[str] = None
) -> Tuple[fit.Loop, Dict[str, Any]]:
    """Trains a model, or goes on with what an interrupted training has left.

    Args:
      settings: all that decides it besides the data.
      data: see `Data`.
      checkpoint_dir: of this training alone.
      log_dir: of TensorBoard; None writes none.

    Returns:
      The loop with its model, which has its best weights, and what `fit.Loop.run` says of it.

    Raises:
      fit.TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    if not tf.keras.__name__.startswith("tf_keras"):
        raise RuntimeError(
            f"Footfall needs Keras 2, found {tf.keras.__name__}: set TF_USE_LEGACY_KERAS=1 in the image"
        )
    model_class = registry.load(settings.model.name)
    if settings.training.mixed_precision:
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if on_gpu else "mixed_bfloat16")

    def build() -> base.SequenceModel:
        model = model_class(settings.model, data.catalogue, seed=settings.training.seed)
        model.training_loss = next_item.build(settings.loss)
        return model

    reads = model_class.inputs_read
    trained_on = input_lib.training_features([*reads, *model_class.loss_inputs_read])
    kind, grouped = _loop(settings.loop)
    if grouped:
        trained_on += input_lib.user_features()
    # What is grouped is read once, and then kept in another form.
    blocks = input_lib.read(data.train_files, data.transform_output, trained_on, cache=not grouped)
    evaluated = input_lib.read(data.eval_files, data.transform_output, input_lib.evaluation_features(reads))
    try:
        loop = kind(
            build,
            settings.training,
            tf.distribute.MirroredStrategy(),
            blocks,
            lambda model: ranking.FullRanking(model, evaluated, data.exclude_seen),
            checkpoint_dir,
            log_dir,
        )
        return loop, loop.run()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _loop(settings: Any) -> Tuple[Callable[..., fit.Loop], bool]:
    """What makes the loop of its settings, and whether it reads the users of windows."""
    if isinstance(settings, config.TPSettings):
        return functools.partial(tp.TP, tp=settings), True
    return fit.Fit, False


def fingerprint(fn_args: Any, tuned: Mapping[str, Any]) -> str:
    """Tells trainings (or searches) apart: by their settings and by the artifacts they read.

    Args:
      fn_args: of TFX.
      tuned: what a search has chosen, by key.
    """
    inputs: Dict[str, Any] = {
        "custom_config": {k: v for k, v in sorted(fn_args.custom_config.items()) if k != "checkpoint_root"},
        "transform": fn_args.transform_graph_path,
        "train": list(fn_args.train_files),
        "eval": list(fn_args.eval_files),
        **({"tuned": dict(tuned)} if tuned else {}),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
