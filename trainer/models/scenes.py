"""What models of scenes and items have in common: two catalogues, and targets that are one event or a period's."""

from typing import Any

import tensorflow as tf

from schemas import errors, names
from trainer.layers import embedding
from trainer.losses import ranking as losses
from trainer.models import ranking, scoring


class SceneRanker(ranking.SequenceModel):
    """A model that ranks items and scenes, from the histories of both; items in any way, see `scoring.Scoring`.

    A subclass implements `queries`, and `extra_losses` if it has others than those of the targets. The loss of a
    window is that of its items plus `scene_weight` times that of its scenes: of the first event that follows, or of all
    in the period, as `training_loss` wants it; of scenes always over all of them.

    Args:
      settings: see `trainer.settings.scenes.SceneSettings`.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no scenes.
    """

    inputs_read: tuple[str, ...] = (names.HISTORY_ITEM_INDEX, names.HISTORY_SCENE_INDEX)

    def __init__(self, settings: Any, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        if not catalogue.scenes:
            raise errors.InputError(
                f"model {settings.name} needs a log with scenes: name their column in log.columns.scene; found none "
                "in the training windows"
            )
        self._scene_table = embedding.ItemEmbedding(
            catalogue.scenes, settings.scene_dim, vocabulary=names.SCENE_VOCABULARY
        )
        self._scenes = scoring.Rows(self._scene_table, self.generator)

    @classmethod
    def loss_features(cls, targets: str) -> tuple[str, ...]:
        """See `ranking.SequenceModel.loss_features`."""
        if targets == "period":
            return (*cls.loss_inputs_read, names.FUTURE_ITEM_INDEX, names.FUTURE_SCENE_INDEX)
        return (*cls.loss_inputs_read, names.TARGET_SCENE_INDEX)

    @property
    def scenes(self) -> scoring.Scoring:
        """See `ranking.SequenceModel.scenes`."""
        return self._scenes

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[scoring.Query, tf.Tensor]:
        """What items and scenes are scored with: a query of items, and `[B, D_S]`."""
        raise NotImplementedError

    def query(self, features: ranking.Features, training: bool = False) -> scoring.Query:
        """See `ranking.SequenceModel.query`."""
        return self.queries(features, training)[0]

    def scene_query(self, features: ranking.Features, training: bool = False) -> scoring.Query:
        """See `ranking.SequenceModel.scene_query`."""
        return self.queries(features, training)[1]

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """A window is one target, however long."""
        return tf.ones_like(lengths)

    def extra_losses(
        self,
        features: ranking.Features,
        queries: tuple[scoring.Query, tf.Tensor],
        counted: tf.Tensor,
        training: bool,
    ) -> Any:
        """What the summed loss of a batch has besides that of targets, a scalar.

        Args:
          features: of the batch.
          queries: of `queries`.
          counted: which windows have a known target, `[B]` bool; others, as those that fill a batch up, are none.
          training: whether what is random is drawn.
        """
        del features, queries, counted, training
        return 0.0

    def summed_loss(self, features: ranking.Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the loss over the windows of a batch that have a known target, and their number."""
        queries = self.queries(features, training)
        of_items, counted = self.target_losses(features, queries)
        total = tf.reduce_sum(tf.where(counted, of_items, 0.0))
        total += self.extra_losses(features, queries, counted, training)
        return total, tf.reduce_sum(tf.cast(counted, tf.float32))

    def target_losses(
        self, features: ranking.Features, queries: tuple[scoring.Query, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each window's items and scenes, `[B]` float32, and which windows have a known item, `[B]` bool."""
        item_query, scene_query = queries
        items, scenes = self._targets_of(features)
        counted, with_scene = (tf.reduce_any(rows >= 0, axis=1) for rows in (items, scenes))
        windows = ranking.windows_for(self.training_loss, features)
        found = self._loss_of_rows(self, item_query, items, counted, self.training_loss, windows)
        if self.settings.scene_weight:
            loss = _over_all(self.training_loss)
            of_scenes = self._loss_of_rows(self._scenes, scene_query, scenes, with_scene, loss)
            found += self.settings.scene_weight * tf.where(with_scene, of_scenes, 0.0)
        return found, counted

    def _targets_of(self, features: ranking.Features) -> tuple[tf.Tensor, tf.Tensor]:
        """Catalogue rows of the items and the scenes to be predicted, `[B, M]` each, -1 for none."""
        if _wants_period(self.training_loss):
            indices = features[names.FUTURE_ITEM_INDEX], features[names.FUTURE_SCENE_INDEX]
        else:
            indices = tuple(
                tf.reshape(features[name], [-1, 1])
                for name in (names.TARGET_ITEM_INDEX, names.TARGET_SCENE_INDEX)
            )
        items, scenes = (tf.maximum(index - names.FIRST_INDEX, -1) for index in indices)
        # What fills a batch up has no history.
        real = features[names.HISTORY_ITEM_INDEX][:, -1:] != names.PADDING_INDEX
        return tuple(tf.where(real, rows, -1) for rows in (items, scenes))

    def _loss_of_rows(
        self,
        scorer: Any,
        query: scoring.Query,
        rows: tf.Tensor,
        counted: tf.Tensor,
        loss: Any,
        windows: tf.Tensor | None = None,
    ) -> tf.Tensor:
        if _wants_period(loss):
            return loss(scorer, query, rows)
        of_windows = () if windows is None else (windows,)
        return loss(scorer, query, tf.maximum(rows[:, 0], 0), counted, *of_windows)


class SceneModel(SceneRanker, ranking.EmbeddingModel):
    """A `SceneRanker` whose scores are dot products with the items' embeddings.

    Args:
      settings, catalogue, seed: see `SceneRanker`.
    """

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """What items `[B, D]` and scenes `[B, D_S]` are scored with."""
        raise NotImplementedError

    def encode(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The embedding of each history: `[B, D]`, what items are scored with."""
        return self.query(features, training)


def _wants_period(loss: Any) -> bool:
    return bool(loss.targets == "period")


def _over_all(loss: Any) -> Any:
    """The loss of scenes: of the same kind as that of items, over all of them."""
    return type(loss)() if _wants_period(loss) else losses.Softmax()
