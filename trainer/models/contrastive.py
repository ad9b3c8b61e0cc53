"""What SceneCTC, ContraRec and SceneContraRec are made of: they differ in what is read, and in the contrast."""

from typing import Any, ClassVar

import tensorflow as tf

from schemas import names
from trainer.layers import augmentation, history_encoder
from trainer.losses import supervised_contrast
from trainer.models import ranking, scenes


class ContrastiveModel(scenes.SceneModel):
    """A bidirectional encoder whose last state, through a linear layer each, scores items and scenes.

    Where scenes are read, an event is its item's embedding beside its scene's, through a linear layer to the item's width.
    Context-target contrast is `training_loss`, by default the softmax over all items, of which ContraRec's is one over
    sampled ones. Context-context contrast is `supervised_contrast` of what items are scored with, from two other views of
    each history, see `augmentation.draw`: histories with the same next item are alike. An item out of the catalogue is no
    other's.

    Args:
      settings: see `trainer.settings.contrastive.ContrastSettings`, or `SceneSettings` without the contrast.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no scenes.
    """

    reads_scenes: ClassVar[bool]
    contrasts: ClassVar[bool]

    def __init__(self, settings: Any, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        dim = settings.dim
        self._input = tf.keras.layers.Dense(dim) if self.reads_scenes else None
        self._encoder = history_encoder.HistoryEncoder(
            catalogue.window_length,
            dim,
            settings.blocks,
            settings.heads,
            settings.ffn_ratio * dim,
            settings.dropout,
            self.generator,
            masks=self.contrasts,
        )
        self._of_items = tf.keras.layers.Dense(dim)
        self._of_scenes = tf.keras.layers.Dense(settings.scene_dim)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """All but the vector of masked events."""
        left_out = {variable.ref() for variable in self._encoder.training_variables}
        return [variable for variable in self.variables if variable.ref() not in left_out]

    @property
    def meets_replicas(self) -> bool:
        """The windows of all are compared."""
        return self.contrasts and self.settings.contrast > 0

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """See `scenes.SceneModel.queries`."""
        index = [features[name] for name in self.inputs_read]
        state = self._encode(index, index[0] != names.PADDING_INDEX, None, training)
        return self._of_items(state), self._of_scenes(state)

    def _encode(
        self, index: list[tf.Tensor], present: tf.Tensor, masked: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Histories as indices `[B, W]`, of items and of scenes if they are read, to `[B, D]`."""
        hidden = self._items(index[0])
        if self._input is not None:
            hidden = self._input(tf.concat([hidden, self._scene_table(index[1])], axis=2))
        return self._encoder(hidden, present, masked, training=training)[:, -1]

    def extra_losses(
        self,
        features: ranking.Features,
        queries: tuple[tf.Tensor, tf.Tensor],
        counted: tf.Tensor,
        training: bool,
    ) -> Any:
        """The contrast, see `scenes.SceneModel.extra_losses`; without `training` both views are the history itself."""
        if not self.meets_replicas:
            return 0.0
        first, second = self._views(features, training) if training else (queries[0], queries[0])
        target = features[names.TARGET_ITEM_INDEX] - names.FIRST_INDEX
        losses = supervised_contrast.supervised_contrast(
            tf.stack([first, second], axis=1),
            tf.reshape(target, [-1]),
            counted,
            self.settings.temperature,
        )
        return self.settings.contrast * tf.reduce_sum(tf.where(counted, losses, 0.0))

    def _views(self, features: ranking.Features, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """What items are scored with in two views of each history, `[B, D]` each."""
        twice = [tf.concat([features[name]] * 2, axis=0) for name in self.inputs_read]
        present = twice[0] != names.PADDING_INDEX
        view = augmentation.draw(present, self.generator)
        state = self._encode([view.of(index) for index in twice], present, view.masked, training)
        first, second = tf.split(self._of_items(state), 2)
        return first, second
