"""What a training on exposures is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen import spec, windows
from components.transform import fields as fields_lib
from components.transform import spec as transform_spec
from trainer import config, conversion_eval, registry
from trainer import input as input_lib
from trainer.losses import conversion as losses
from trainer.models import conversion


def load(
    transform_output: tft.TFTransformOutput, custom: Mapping[str, str], train_files: Sequence[str]
) -> conversion.Exposures:
    """What models have to know of the data; reads the labels of the training exposures once.

    Args:
      transform_output: of TFX Transform.
      custom: JSON texts of the settings `window`, `features` and `columns`.
      train_files: patterns of transformed examples.

    Raises:
      errors.InputError: if a step is known of no exposure.
    """
    window = windows.read(custom["window"])
    fields = fields_lib.load_fields(
        transform_output,
        window,
        transform_spec.FeaturesSpec.from_json(custom["features"]),
        spec.Columns.from_json(custom["columns"]),
    )
    labels = input_lib.read(train_files, transform_output, conversion.label_names(window.steps))
    rates = input_lib.base_rates(labels, window.steps)
    return conversion.Exposures(fields, window.steps, rates, window.keep_negatives)


def prepare(
    settings: config.TrainerSettings,
    exposures: conversion.Exposures,
    transform_output: tft.TFTransformOutput,
    train_files: Sequence[str],
    eval_files: Sequence[str],
) -> tuple[Callable[[], conversion.ConversionModel], tf.data.Dataset, Callable[[Any], Any]]:
    """What `loops.exposures.ExposureFit` takes: `build`, `train` and `evaluate`.

    Raises:
      errors.InputError: if the loss names a step that there is not.
    """
    loss = losses.build(settings.loss, exposures.steps)

    def build() -> conversion.ConversionModel:
        model_class = registry.load(settings.model.name)
        model = model_class(settings.model, exposures, seed=settings.training.seed)
        model.training_loss = loss
        return model

    read = [*conversion.inputs_read(exposures.fields), *conversion.label_names(exposures.steps)]
    train, evaluated = (input_lib.read(files, transform_output, read) for files in (train_files, eval_files))
    return build, train, lambda model: conversion_eval.StepMetrics(model, evaluated)
