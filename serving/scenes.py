"""What a model that ranks scenes answers of them: the next ones, and where the target's scene stands among all."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import catalogue, module, recent, values


class SceneAnswers(tf.Module):
    """The second catalogue of a model: its scenes, all of which are always ranked.

    Args:
      scorer: `scenes` of the model.
      transform_output: of TFX Transform.
    """

    def __init__(self, scorer: Any, transform_output: tft.TFTransformOutput):
        super().__init__()
        self._scorer = module.Held(scorer)
        self._values = values.Values(transform_output, names.SCENE_VOCABULARY)
        self.size = self._values.size
        self._recent = recent.RecentPlaces(transform_output, names.RECENT_SCENES_VOCABULARY, self._values)

    def best(self, query: Any, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The scenes with the highest scores for each query.

        Args:
          query: of the model's `scene_query`.
          k: `[B]`, how many for each.

        Returns:
          Scenes and scores `[B, min(max(k), S)]`; beyond a query's own k the scene is empty and the score the lowest
          float.
        """
        most = tf.clip_by_value(tf.reduce_max(k), 0, self.size)
        nothing = tf.zeros([tf.shape(k)[0], 0], tf.int64)
        scores, rows = catalogue.best(self._scorer.value, query, self.size, most, nothing)
        wanted = tf.range(tf.shape(scores)[1])[tf.newaxis, :] < k[:, tf.newaxis]
        return tf.where(wanted, self._values.of(rows), ""), tf.where(wanted, scores, scores.dtype.min)

    def evaluate(self, query: Any, features: dict[str, tf.Tensor], own: bool) -> dict[str, tf.Tensor]:
        """Where the scene of each target stands, by the names of `names.of_scene`, each `[B]` int64.

        Args:
          query: of the model's `scene_query`.
          features: after Transform.
          own: whether the floors of the user's own history are wanted.
        """
        target = tf.maximum(features[names.TARGET_SCENE_INDEX] - names.FIRST_INDEX, -1)
        found = {
            names.RANK: catalogue.full_rank(self._scorer.value, query, self.size, target),
            names.POPULARITY_RANK: catalogue.popularity_rank(self.size, target),
            names.RECENT_POPULARITY_RANK: self._recent.rank(target),
            names.CATALOGUE_SIZE: tf.fill(tf.shape(target), tf.constant(self.size, tf.int64)),
        }
        if own:
            history = features[names.HISTORY_SCENE_INDEX] - names.FIRST_INDEX
            found[names.OWN_FREQUENT_RANK], found[names.OWN_RECENT_RANK] = catalogue.own_ranks(
                self.size, target, history
            )
        return {names.of_scene(name): rank for name, rank in found.items()}
