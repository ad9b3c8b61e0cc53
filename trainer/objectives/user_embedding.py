"""How networks of users are pretrained, and embeddings of users measured."""

from collections.abc import Sequence
from typing import Any

import tensorflow_transform as tft

from components.transform import spec as transform_spec
from components.transform import vocabulary
from schemas import names
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import users as evaluation
from trainer.loops import loop as loop_lib
from trainer.loops import teacher
from trainer.losses import future, ranking
from trainer.models import pretraining, users
from trainer.objectives import objective

# What makes a loss, by the objective that its settings name.
_LOSSES = {"user_embedding": future.build, "ranking": ranking.build}
_LOOPS: dict[str, type[loop_lib.Loop]] = {"fit": teacher.TeacherFit}


class UserEmbedding(objective.Objective):
    """An embedding of each user, learnt without labels."""

    def known(
        self,
        transform_output: tft.TFTransformOutput,
        settings: transform_spec.TransformSettings,
        train_files: Sequence[str],
    ) -> users.Behaviors:
        """The sizes of the vocabularies, and of the windows.

        Raises:
          errors.InputError: if `features.options` leave no item.
        """
        del train_files
        # That it is one with a period is checked where the experiment is.
        vocabulary.check_left(transform_output, settings.features)
        return users.Behaviors.load(transform_output, settings)

    def prepare(self, settings: config.TrainerSettings, data: objective.Data) -> objective.Training:
        """See `Objective.prepare`."""
        model_class = registry.load(settings.model.name)

        def build() -> pretraining.Pretraining:
            model = model_class(settings.model, data.known, seed=settings.training.seed)
            model.training_loss = _LOSSES[settings.loss.objective](settings.loss)
            return model

        read = [*data.known.inputs_read, *model_class.loss_features(data.known)]
        of_labels = [names.LABEL_PREFIX + label for label in data.known.labels]
        # What follows is what embeddings are compared by, whatever is predicted.
        measured = dict.fromkeys([*read, names.FUTURE_ITEM_INDEX, names.USER_HASH, *of_labels])
        evaluated = input_lib.read(data.eval_files, data.transform_output, list(measured))
        probed = None
        if of_labels:
            embedded = [*data.known.inputs_read, *of_labels]
            probed = input_lib.read(data.train_files, data.transform_output, embedded)
        return objective.Training(
            build=build,
            loop=_LOOPS[settings.loop.name].of(settings.loop),
            settings=settings.training,
            batches=input_lib.read(data.train_files, data.transform_output, read),
            evaluation=lambda model: evaluation.UserMetrics(
                model, evaluated, labels=data.known.labels, train=probed
            ),
            tell=lambda evaluation: _told(settings, evaluation),
        )


def _told(settings: config.TrainerSettings, evaluation: evaluation.UserMetrics) -> dict[str, Any]:
    """What is said of a trained network: of one that reads buckets, which of them it attends to."""
    buckets = getattr(settings.model, "encoder", None) == "buckets"
    return {"attention_by_age": evaluation.attention_by_age()} if buckets else {}


USER_EMBEDDING = UserEmbedding()
