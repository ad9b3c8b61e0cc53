"""How models of users' embeddings are pretrained: by an embedding of what each user does next."""

from collections.abc import Sequence

import tensorflow_transform as tft

from components.transform import spec as transform_spec
from schemas import names
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import users as evaluation
from trainer.loops import loop as loop_lib
from trainer.loops import teacher
from trainer.losses import future as losses
from trainer.models import byb as models
from trainer.models import users
from trainer.objectives import objective

_LOOPS: dict[str, type[loop_lib.Loop]] = {"fit": teacher.TeacherFit}


class UserEmbedding(objective.Objective):
    """An embedding of all that follows in a period."""

    def known(
        self,
        transform_output: tft.TFTransformOutput,
        settings: transform_spec.TransformSettings,
        train_files: Sequence[str],
    ) -> users.Behaviors:
        """The sizes of the vocabularies, and of the windows."""
        del train_files
        # That it is one with a period is checked where the experiment is.
        return users.Behaviors.load(transform_output, settings)

    def prepare(self, settings: config.TrainerSettings, data: objective.Data) -> objective.Training:
        """See `Objective.prepare`."""
        model_class = registry.load(settings.model.name)

        def build() -> models.BYB:
            model = model_class(settings.model, data.known, seed=settings.training.seed)
            model.training_loss = losses.build(settings.loss)
            return model

        read = [*data.known.inputs_read, *models.loss_inputs_read(data.known)]
        of_labels = [names.LABEL_PREFIX + label for label in data.known.labels]
        evaluated = input_lib.read(
            data.eval_files, data.transform_output, [*read, names.USER_HASH, *of_labels]
        )
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
            tell=lambda evaluation: {"attention_by_age": evaluation.attention_by_age()},
        )


USER_EMBEDDING = UserEmbedding()
