"""`run_fn` of TFX Trainer: trains the model of an experiment and exports it."""

import datetime
import functools
import json
import logging
import os
import posixpath
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

import schemas  # noqa: F401  selects Keras 2
from components.trainer import workers
from components.transform import training_times, vocabulary
from schemas import errors, names
from serving import export, networks
from serving import retrieval as retrieval_settings
from trainer import (
    arguments,
    config,
    devices,
    fingerprint,
    learnt,
    objectives,
    reasons,
    retrieval,
    search,
    warm_start,
)
from trainer import pretrained as pretrained_lib
from trainer import started as started_lib
from trainer.loops import gradients, replicas
from trainer.loops import loop as loop_lib
from trainer.objectives import objective

HISTORY = "history.json"
_PROGRESS = logging.getLogger("footfall.progress")


@gradients.released()
def run_fn(fn_args: Any) -> None:
    """Trains and exports; called by TFX Trainer.

    `fn_args.custom_config` is what `arguments.Arguments.pack` gave. `fn_args.hyperparameters`, if any, are
    what a search has chosen: they take the place of those settings.

    Raises:
      errors.InputError: if TFX names a base model: what a training starts from is `training.warm_start`'s; or if one
        of these models has learnt from what this one is tested on.
      TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    given = arguments.Arguments.unpack(fn_args.custom_config)
    starts = {"model.base_model": given.pretrained, "training.warm_start": given.base_model}
    before = {name: networks.told(saved) for name, saved in starts.items() if saved}
    for name, of_model in before.items():
        learnt.check(name, starts[name] or "", of_model, given.split, given.tested_from)
    if getattr(fn_args, "base_model", None):
        raise errors.InputError(
            "a training starts from another model by training.warm_start: leave TFX's base_model out, found "
            f"{fn_args.base_model}"
        )
    tuned = (fn_args.hyperparameters or {}).get("values", {})
    place, worker = given.place(fingerprint.of(fn_args, tuned)), workers.this()
    if worker.count > 1:
        config.check_workers(search.merge(given.trainer, tuned))
        # Before anything is computed, see there.
        devices.strategy()
    if worker.chief:
        place.claim()
    if worker.count > 1:
        # What the chief has put there, the others read.
        replicas.Replicas(devices.strategy()).of_chief({"claimed": 1.0})
    parts, kept_at = fingerprint.parts(fn_args, tuned), posixpath.dirname(given.checkpoint_root)
    reason = reasons.since(kept_at, parts) if kept_at else reasons.FIRST
    _PROGRESS.info("training: %s", reason)
    data = load(fn_args)
    loop, history = train(
        search.merge(given.trainer, tuned),
        data,
        place.folder,
        os.path.join(fn_args.model_run_dir, "tensorboard"),
        given.base_model,
        given.pretrained,
    )
    history["reason"] = reason
    if given.pretrained:
        day = learnt.last_day(before["model.base_model"])
        history["base_model"].update(digest=given.pretrained_digest, last_day=day)
    if tuned:
        history["tuned"] = tuned
    index = None
    if given.retrieval.name != retrieval_settings.EXACT.name:
        index, history["retrieval"] = retrieval.choose(
            loop.model, loop.evaluation.queries(), given.retrieval, given.training.seed
        )
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, HISTORY), "w") as stream:
        stream.write(json.dumps(history, indent=1))
    export.export_model(
        loop.model,
        data.transform_output,
        fn_args.serving_model_dir,
        objective=given.model.objective,
        exclude_seen=data.exclude_seen,
        index=index,
    )
    if worker.chief:
        trained = training_times.load(data.transform_output)
        told = learnt.told(trained, given.split, before.values())
        pretrained_lib.note(loop.model, fn_args.serving_model_dir, told)
    if worker.chief and kept_at:
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        reasons.keep(kept_at, parts, at=at, reason=reason, model=fn_args.serving_model_dir)
    # Only now is the training over: a run that dies before finds its checkpoints.
    if worker.chief:
        place.leave()


def load(fn_args: Any) -> objective.Data:
    """What TFX's arguments of a Trainer or a Tuner name."""
    given = arguments.Arguments.unpack(fn_args.custom_config)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    known = objectives.get(given.model.objective).known(transform_output, given, fn_args.train_files)
    return objective.Data(
        transform_output, known, fn_args.train_files, fn_args.eval_files, given.exclude_seen
    )


def train(
    settings: config.TrainerSettings,
    data: objective.Data,
    checkpoint_dir: str,
    log_dir: str | None = None,
    base_model: str | None = None,
    pretrained: str | None = None,
) -> tuple[loop_lib.Loop, dict[str, Any]]:
    """Trains a model, or goes on with what an interrupted training has left.

    Args:
      settings: all that decides it besides the data.
      data: of `load`.
      checkpoint_dir: of this training alone.
      log_dir: of TensorBoard; None writes none.
      base_model: the SavedModel whose weights it starts from, as far as they fit; None starts anew.
      pretrained: the SavedModel whose network of users it starts from, see `pretrained`; what fits of `base_model` comes
        after it.

    Returns:
      The loop with its model, which has its best weights, and what `Loop.run` says of it.

    Raises:
      errors.InputError: if the pretrained network is another one than the model's.
      TrainingError: if the loss is not a number.
      RuntimeError: if TensorFlow was started with Keras 3.
    """
    if not tf.keras.__name__.startswith("tf_keras"):
        raise RuntimeError(
            f"Footfall needs Keras 2, found {tf.keras.__name__}: set TF_USE_LEGACY_KERAS=1 in the image"
        )
    # Keras numbers the layers of a process on, and TensorFlow adds up by their names: a second training would differ from the
    # same one elsewhere. And what one before has left would only take memory.
    tf.keras.backend.clear_session()
    if settings.training.mixed_precision:
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if on_gpu else "mixed_bfloat16")
    try:
        training = objectives.get(settings.model.objective).prepare(settings, data)
        loop = training.loop(
            training.build,
            training.settings,
            devices.strategy(),
            training.batches,
            training.evaluation,
            checkpoint_dir,
            log_dir,
        )
        network = None
        if pretrained:
            counts = {names.ITEM_VOCABULARY: vocabulary.item_counts(data.transform_output)}
            how = functools.partial(pretrained_lib.start, counts=counts)
            network = _start(how, loop.model, pretrained, data)
            doubtful = started_lib.warning(network)
            if doubtful is not None:
                _PROGRESS.warning(doubtful)
        warm = None
        if base_model:
            told = networks.told(base_model)
            warm = _start(functools.partial(warm_start.start, told=told), loop.model, base_model, data)
            # A model may be no better for being trained on.
            loop.start_counts = bool(warm["weights"])
        history = loop.run()
        if settings.training.mixed_precision:
            tf.keras.mixed_precision.set_global_policy("float32")
            loop.as_float32()
        history.update(training.tell(loop.evaluation))
        if network:
            history["base_model"] = network
        if warm:
            history["warm_start"] = warm
        if settings.training.calibration == "platt":
            history["calibration"] = loop.evaluation.calibrate()
        return loop, history
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _start(
    how: Callable[..., dict[str, Any]], model: Any, base_model: str, data: objective.Data
) -> dict[str, Any]:
    """Gives a model the weights that it starts from; an interrupted training then takes those of its checkpoint."""
    vocabularies = {
        table.vocabulary: list(data.transform_output.vocabulary_by_name(table.vocabulary))
        for table in warm_start.tables(model)
        if data.transform_output.vocabulary_file_by_name(table.vocabulary)
    }
    started = how(model, base_model, vocabularies)
    say = _PROGRESS.info if started["weights"] else _PROGRESS.warning
    say("starts from %s: %s", base_model, started_lib.words(started))
    return started
