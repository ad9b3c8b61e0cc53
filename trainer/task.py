"""`run_fn` of TFX Trainer: trains the model of an experiment and exports it."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

import schemas  # noqa: F401  selects Keras 2
from components.behavior_example_gen import windows
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.next import NextWindow
from components.evaluator import spec as evaluator_spec
from components.transform import vocabulary
from serving import export
from trainer import config, devices, registry, search
from trainer import input as input_lib
from trainer.evaluation import ranking
from trainer.loops import fit, rows, tp
from trainer.loops import loop as loop_lib
from trainer.losses import ranking as losses
from trainer.models import labels as label_models
from trainer.models import ranking as ranking_models
from trainer.objectives import labels
from trainer.settings import loops as loop_settings
from trainer.settings import losses as loss_settings
from trainer.settings import training as training_settings

HISTORY = "history.json"


def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX Trainer.

    `fn_args.custom_config` holds JSON texts of settings, `model`, `loss`, `loop`,
    `training`, `window`, `evaluation`, and `checkpoint_root`: a folder where a second run of the same
    training finds what an interrupted one has left. `fn_args.hyperparameters`, if any, are what a
    search has chosen: they take the place of those settings. With a window of exposures, `custom_config`
    has `features` and `columns`, too.

    Raises:
      TrainingError: if the loss is not a number.
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
      known: what models have to know of the data, by the kind of window.
      train_files, eval_files: patterns of transformed examples.
      exclude_seen: see `evaluator.spec.EvaluationSpec`.
    """

    transform_output: tft.TFTransformOutput
    known: ranking_models.Catalogue | label_models.Exposures
    train_files: Sequence[str]
    eval_files: Sequence[str]
    exclude_seen: bool

    @classmethod
    def of(cls, fn_args: Any) -> "Data":
        """What TFX's arguments of a Trainer or a Tuner name."""
        custom = fn_args.custom_config
        transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
        window = windows.read(custom["window"])
        known: ranking_models.Catalogue | label_models.Exposures
        if isinstance(window, ExposureWindow):
            known = labels.load(transform_output, custom, fn_args.train_files)
        else:
            known = _catalogue(transform_output, window)
        exclude_seen = evaluator_spec.EvaluationSpec.from_json(custom["evaluation"]).exclude_seen
        return cls(transform_output, known, fn_args.train_files, fn_args.eval_files, exclude_seen)


def _catalogue(transform_output: tft.TFTransformOutput, window: NextWindow) -> ranking_models.Catalogue:
    known = vocabulary.Vocabulary.load(transform_output)
    return ranking_models.Catalogue(
        known.counts,
        window.length,
        behaviors=len(known.behaviors),
        scenes=len(known.scenes),
        behavior_names=tuple(name.decode("utf-8", "replace") for name in known.behaviors),
    )


def train(
    settings: config.TrainerSettings, data: Data, checkpoint_dir: str, log_dir: str | None = None
) -> tuple[loop_lib.Loop, dict[str, Any]]:
    """Trains a model, or goes on with what an interrupted training has left.

    Args:
      settings: all that decides it besides the data.
      data: see `Data`.
      checkpoint_dir: of this training alone.
      log_dir: of TensorBoard; None writes none.

    Returns:
      The loop with its model, which has its best weights, and what `Loop.run` says of it.

    Raises:
      TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    if not tf.keras.__name__.startswith("tf_keras"):
        raise RuntimeError(
            f"Footfall needs Keras 2, found {tf.keras.__name__}: set TF_USE_LEGACY_KERAS=1 in the image"
        )
    if settings.training.mixed_precision:
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if on_gpu else "mixed_bfloat16")
    of_exposures = isinstance(data.known, label_models.Exposures)
    try:
        kind, build, blocks, evaluate = (_of_exposures if of_exposures else _of_next_items)(settings, data)
        loop = kind(
            build,
            _with_fitting_batches(settings),
            devices.strategy(),
            blocks,
            evaluate,
            checkpoint_dir,
            log_dir,
        )
        history = loop.run()
        if settings.training.calibration == "platt":
            history["calibration"] = loop.evaluation.calibrate()
        return loop, history
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _with_fitting_batches(settings: config.TrainerSettings) -> training_settings.TrainingSettings:
    """Negatives of the batch are corrected by how often items are targets at all, not in windows of a length."""
    if getattr(settings.loss, "negative_sampling", None) == loss_settings.IN_BATCH:
        return settings.training.model_copy(update={"length_buckets": 1})
    return settings.training


# What makes the loop; what makes the model; what it is trained on; what makes its evaluation.
_Parts = tuple[Callable[..., loop_lib.Loop], Callable[[], Any], tf.data.Dataset, Callable[[Any], Any]]


def _of_exposures(settings: config.TrainerSettings, data: Data) -> _Parts:
    build, blocks, evaluate = labels.prepare(
        settings, data.known, data.transform_output, data.train_files, data.eval_files
    )
    return rows.RowFit, build, blocks, evaluate


def _of_next_items(settings: config.TrainerSettings, data: Data) -> _Parts:
    model_class = registry.load(settings.model.name)

    def build() -> ranking_models.SequenceModel:
        model = model_class(settings.model, data.known, seed=settings.training.seed)
        model.training_loss = losses.build(settings.loss)
        return model

    reads = model_class.inputs_read
    trained_on = input_lib.training_features([*reads, *model_class.loss_inputs_read])
    kind, grouped = _loop(settings.loop)
    if grouped:
        trained_on += input_lib.user_features()
    blocks = input_lib.read(data.train_files, data.transform_output, trained_on)
    evaluated = input_lib.read(data.eval_files, data.transform_output, input_lib.evaluation_features(reads))
    return kind, build, blocks, lambda model: ranking.FullRanking(model, evaluated, data.exclude_seen)


def _loop(settings: Any) -> tuple[Callable[..., loop_lib.Loop], bool]:
    """What makes the loop of its settings, and whether it reads the users of windows."""
    if isinstance(settings, loop_settings.TPSettings):
        return functools.partial(tp.TP, tp=settings), True
    return fit.Fit, False


def _states(pattern: str) -> list[tuple[str, int, int]]:
    """Name, size and time (ns) of the files that match a pattern."""
    found = []
    for path in sorted(tf.io.gfile.glob(pattern)):
        if "://" in path:
            stat = tf.io.gfile.stat(path)
            found.append((os.path.basename(path), stat.length, stat.mtime_nsec))
        else:
            # Of which TensorFlow tells whole seconds.
            local = os.stat(path)
            found.append((os.path.basename(path), local.st_size, local.st_mtime_ns))
    return found


def fingerprint(fn_args: Any, tuned: Mapping[str, Any]) -> str:
    """Tells trainings (or searches) apart: by their settings and by the artifacts they read.

    Args:
      fn_args: of TFX.
      tuned: what a search has chosen, by key.
    """
    inputs: dict[str, Any] = {
        "custom_config": {k: v for k, v in sorted(fn_args.custom_config.items()) if k != "checkpoint_root"},
        "transform": fn_args.transform_graph_path,
        "train": list(fn_args.train_files),
        "eval": list(fn_args.eval_files),
        # A metadata store that was lost counts anew, so that other artifacts have the same paths.
        "files": [_states(path) for path in (*fn_args.train_files, *fn_args.eval_files)],
        **({"tuned": dict(tuned)} if tuned else {}),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
