"""How models of labels are trained: by how likely each one is for an example."""

import dataclasses
from collections.abc import Sequence

import tensorflow_transform as tft

from components.transform import fields as fields_lib
from components.transform import spec as transform_spec
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import labels as evaluation
from trainer.loops import logistic, rows
from trainer.loops import loop as loop_lib
from trainer.losses import labels as losses
from trainer.models import labels as models
from trainer.models import users
from trainer.objectives import objective

_LOOPS: dict[str, type[loop_lib.Loop]] = {
    "fit": rows.RowFit,
    "logistic_regression": logistic.LogisticFit,
}


class Labels(objective.Objective):
    """The labels of an exposure, as the steps of a chain."""

    def known(
        self,
        transform_output: tft.TFTransformOutput,
        settings: transform_spec.TransformSettings,
        train_files: Sequence[str],
    ) -> models.Exposures:
        """The fields, the labels and their base rates; reads the labels of the training examples once.

        Raises:
          errors.InputError: if a label is known of no training example.
        """
        # That it is one with labels is checked where the experiment is.
        window = settings.window
        fields = fields_lib.load_fields(transform_output, window, settings.features, settings.columns)
        labels = input_lib.read(train_files, transform_output, models.label_features(window.label_names))
        key = "window.labels" if window.has_period else "window.steps"
        rates = input_lib.base_rates(labels, window.label_names, key)
        behaviors = users.Behaviors.load(transform_output, settings) if window.has_period else None
        return models.Exposures(fields, window.label_names, rates, window.keep_negatives, behaviors)

    def prepare(self, settings: config.TrainerSettings, data: objective.Data) -> objective.Training:
        """See `Objective.prepare`.

        Raises:
          errors.InputError: if the loss names a step that there is not, or `label_share` leaves no label of a step.
        """
        known, share = data.known, settings.training.label_share
        files, transform_output = data.train_files, data.transform_output
        seed = settings.training.seed
        if share < 1:
            labels = input_lib.read(files, transform_output, models.label_features(known.steps), share, seed)
            rates = input_lib.base_rates(labels, known.steps, "training.label_share")
            known = dataclasses.replace(known, base_rates=rates)
        loss = losses.build(settings.loss, known.steps)

        def build() -> models.LabelModel:
            model = registry.load(settings.model.name)(settings.model, known, seed=settings.training.seed)
            model.training_loss = loss
            return model

        model_class = registry.load(settings.model.name)
        read = [*model_class.features_of(known), *models.label_features(known.steps)]
        train = input_lib.read(files, transform_output, read, share, seed)
        evaluated = input_lib.read(data.eval_files, transform_output, read)
        return objective.Training(
            build=build,
            loop=_LOOPS[settings.loop.name].of(settings.loop),
            settings=settings.training,
            batches=train,
            evaluation=lambda model: evaluation.StepMetrics(model, evaluated),
        )


LABELS = Labels()
