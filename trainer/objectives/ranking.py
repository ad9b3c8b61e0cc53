"""How models of next items are trained: ranked by what comes next."""

from collections.abc import Sequence

import tensorflow_transform as tft

from components.transform import spec as transform_spec
from components.transform import vocabulary
from schemas import names
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import ranking as evaluation
from trainer.loops import fit, tp
from trainer.loops import loop as loop_lib
from trainer.losses import ranking as losses
from trainer.models import ranking as models
from trainer.objectives import objective

_LOOPS: dict[str, type[loop_lib.Loop]] = {"fit": fit.Fit, "tp": tp.TP}


class Ranking(objective.Objective):
    """The next item of each position of a history, against all others."""

    def known(
        self,
        transform_output: tft.TFTransformOutput,
        settings: transform_spec.TransformSettings,
        train_files: Sequence[str],
    ) -> models.Catalogue:
        """The vocabularies, and how often training has each item as its target.

        Raises:
          errors.InputError: if `features.options` leave no item or scene.
        """
        del train_files
        # That it is one with a history is checked where the experiment is.
        window = settings.window
        vocabulary.check_left(transform_output, settings.features)
        known = vocabulary.Vocabulary.load(transform_output)
        return models.Catalogue(
            known.counts,
            window.length,
            behaviors=len(known.behaviors),
            scenes=len(known.scenes),
            behavior_names=tuple(name.decode("utf-8", "replace") for name in known.behaviors),
            period_seconds=window.future if window.has_period else None,
        )

    def prepare(self, settings: config.TrainerSettings, data: objective.Data) -> objective.Training:
        """See `Objective.prepare`."""
        model_class = registry.load(settings.model.name)

        def build() -> models.SequenceModel:
            model = model_class(settings.model, data.known, seed=settings.training.seed)
            model.training_loss = losses.build(settings.loss)
            return model

        loop, reads = _LOOPS[settings.loop.name], model_class.inputs_read
        trained_on = input_lib.training_features([*reads, *model_class.loss_features(settings.loss.targets)])
        blocks = input_lib.read(data.train_files, data.transform_output, [*trained_on, *loop.features_read])
        period = data.known.period_seconds is not None
        asked = input_lib.evaluation_features([*reads, *([names.FUTURE_ITEM_INDEX] if period else [])])
        evaluated = input_lib.read(data.eval_files, data.transform_output, asked)
        training = settings.training
        if training.length_buckets is None and config.in_batch(settings.model, settings.loss):
            # Negatives of a loss are corrected by how often items are targets at all, not in windows of a length; and
            # windows of any length are others than those of one.
            training = training.model_copy(update={"length_buckets": 1})
        return objective.Training(
            build=build,
            loop=loop.of(settings.loop),
            settings=training,
            batches=blocks,
            evaluation=lambda model: evaluation.FullRanking(
                model,
                evaluated,
                data.exclude_seen,
                period=period,
                # Who learns all that follows in a period is not to be stopped by the first of it alone.
                stop_by_period=settings.loss.targets == "period",
            ),
        )


RANKING = Ranking()
