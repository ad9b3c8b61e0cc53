"""MSDP: representation of user behaviour by multi-scale stochastic distribution prediction (Fu et al., CIKM 2023)."""

from typing import Any

import tensorflow as tf

from schemas import errors, names
from trainer.layers import history_encoder
from trainer.losses import consistency, scales
from trainer.models import ranking, scenes
from trainer.settings import msdp as msdp_settings

# Which of the scales a window is trained with, `[B]` int64, beside its features.
_SCALE = "scale"


class MSDP(scenes.SceneModel):
    """Predicts the distribution over items of what follows in (T, T + W], with W drawn for each training window.

    W is a share of the period, by chance one of `scales`; where no known item follows within it, the smallest larger one
    that has some takes its place. The model is told W by a prompt, a vector that stands behind the history as an event
    does; its state stands for the history and, through a linear layer each, scores items and scenes. The target is how
    often each item follows within W (Kullback-Leibler divergence but for the entropy of what follows, which no model
    changes: `period_softmax`). Served is the longest W.

    So that the representation does not hang on single events, that of a history with some events masked is to be like that
    of the whole one: negative cosines as in SimSiam (Chen and He, CVPR 2021, eq. 2), with a predictor on one side and no
    gradient on the other. They are counted from -1, so that none is negative.

    Args:
      settings: see `msdp_settings.MSDPSettings`.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no scenes, or its windows no period.
    """

    inputs_read = (names.HISTORY_ITEM_INDEX,)

    def __init__(self, settings: msdp_settings.MSDPSettings, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        if catalogue.period_seconds is None:
            raise errors.InputError("model msdp needs window: {kind: period}, found windows without a period")
        dim = settings.dim
        self._ends = [scale * catalogue.period_seconds for scale in settings.scales]
        self._prompts = self.add_weight(
            name="prompts",
            shape=[len(settings.scales), dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        self._encoder = history_encoder.HistoryEncoder(
            catalogue.window_length + 1,
            dim,
            settings.blocks,
            settings.heads,
            settings.ffn_ratio * dim,
            settings.dropout,
            self.generator,
            masks=True,
        )
        self._of_items = tf.keras.layers.Dense(dim)
        self._of_scenes = tf.keras.layers.Dense(settings.scene_dim)
        self._predictor = tf.keras.Sequential(
            [tf.keras.layers.Dense(dim, activation="relu"), tf.keras.layers.Dense(dim)]
        )
        # No answer needs it, so that no call of the model would make its variables.
        self._predictor.build([None, dim])

    @classmethod
    def loss_features(cls, targets: str) -> tuple[str, ...]:
        """See `ranking.SequenceModel.loss_features`."""
        return (*super().loss_features(targets), names.FUTURE_SECONDS)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """All but the predictor and the vector of masked events."""
        of_training = [*self._predictor.variables, *self._encoder.training_variables]
        left_out = {variable.ref() for variable in of_training}
        return [variable for variable in self.variables if variable.ref() not in left_out]

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """See `scenes.SceneModel.queries`."""
        state = self._encode(features, None, training)
        return self._of_items(state), self._of_scenes(state)

    def _encode(self, features: ranking.Features, masked: tf.Tensor | None, training: bool) -> tf.Tensor:
        """The state of the prompt behind each history, `[B, D]`; `masked` events, `[B, W]` bool, are not looked at."""
        index = features[names.HISTORY_ITEM_INDEX]
        last = tf.fill(tf.shape(index)[:1], tf.constant(len(self.settings.scales) - 1, tf.int64))
        events = self._items(index)
        prompt = tf.cast(tf.gather(self._prompts, features.get(_SCALE, last)), events.dtype)
        hidden = tf.concat([events, prompt[:, tf.newaxis]], axis=1)
        present = tf.pad(index != names.PADDING_INDEX, [[0, 0], [0, 1]], constant_values=True)
        if masked is not None:
            masked = tf.pad(masked, [[0, 0], [0, 1]], constant_values=False)
        return self._encoder(hidden, present, masked, training=training)[:, -1]

    def summed_loss(self, features: ranking.Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """See `scenes.SceneModel.summed_loss`; without `training`, W is the longest for each window."""
        rows = tf.shape(features[names.FUTURE_ITEM_INDEX])[0]
        drawn = scales.drawn(self.generator, rows, len(self.settings.scales), training)
        return super().summed_loss({**features, **self.within(features, drawn)}, training)

    def within(self, features: ranking.Features, drawn: tf.Tensor) -> ranking.Features:
        """What follows within W, as features that take the place of those of the whole period; and which W it is.

        Args:
          features: of the batch.
          drawn: the places of the scales that were drawn, `[B]` int64.
        """
        items = features[names.FUTURE_ITEM_INDEX]
        kept, chosen = scales.within(items, features[names.FUTURE_SECONDS], self._ends, drawn)
        nothing = tf.constant(names.PADDING_INDEX, items.dtype)
        found = {
            name: tf.where(kept, features[name], nothing)
            for name in (names.FUTURE_ITEM_INDEX, names.FUTURE_SCENE_INDEX)
        }
        return {**found, _SCALE: chosen}

    def extra_losses(
        self,
        features: ranking.Features,
        queries: tuple[tf.Tensor, tf.Tensor],
        counted: tf.Tensor,
        training: bool,
    ) -> Any:
        """How unlike histories and masked ones are; without `training` nothing is masked."""
        if not self.settings.consistency:
            return 0.0
        whole = other = queries[0]
        if training:
            index = features[names.HISTORY_ITEM_INDEX]
            masked = self.generator.uniform(tf.shape(index)) < self.settings.mask_ratio
            masked &= index != names.PADDING_INDEX
            other = self._of_items(self._encode(features, masked, training))
        unlike = consistency.unlike(self._predictor, whole, other)
        return self.settings.consistency * tf.reduce_sum(tf.where(counted, unlike, 0.0))
