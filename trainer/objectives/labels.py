"""What a training on exposures is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen import spec, windows
from components.transform import fields as fields_lib
from components.transform import spec as transform_spec
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import labels as evaluation
from trainer.losses import labels as losses
from trainer.models import labels as label_models


def load(
    transform_output: tft.TFTransformOutput, custom: Mapping[str, str], train_files: Sequence[str]
) -> label_models.Exposures:
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
    labels = input_lib.read(train_files, transform_output, label_models.label_names(window.steps))
    rates = input_lib.base_rates(labels, window.steps)
    return label_models.Exposures(fields, window.steps, rates, window.keep_negatives)


def prepare(
    settings: config.TrainerSettings,
    exposures: label_models.Exposures,
    transform_output: tft.TFTransformOutput,
    train_files: Sequence[str],
    eval_files: Sequence[str],
) -> tuple[Callable[[], label_models.LabelModel], tf.data.Dataset, Callable[[Any], Any]]:
    """What `loops.rows.RowFit` takes: `build`, `train` and `evaluate`.

    Raises:
      errors.InputError: if the loss names a step that there is not.
    """
    loss = losses.build(settings.loss, exposures.steps)

    def build() -> label_models.LabelModel:
        model_class = registry.load(settings.model.name)
        model = model_class(settings.model, exposures, seed=settings.training.seed)
        model.training_loss = loss
        return model

    read = [*label_models.inputs_read(exposures.fields), *label_models.label_names(exposures.steps)]
    train, evaluated = (input_lib.read(files, transform_output, read) for files in (train_files, eval_files))
    return build, train, lambda model: evaluation.StepMetrics(model, evaluated)
