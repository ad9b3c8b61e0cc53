"""CARCA: context and attribute-aware sequential recommendation via cross-attention (Rashed et al., RecSys 2022)."""

from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import attention, cross_attention, dropout, embedding, transformer
from trainer.models import ranking, scenes, scoring
from trainer.settings import carca as carca_settings

_HOURS, _WEEKDAYS = 24, 7


class CARCA(scenes.SceneRanker):
    """Self-attention over the history, and from each candidate to all of it: a score is no dot product of two vectors.

    An event is a linear layer of its item's embedding beside its context, which is a linear layer of the scene's
    embedding and of hour and weekday (one-hot); the log has no attributes of items here. There are no positions: order
    shows in the causal mask and in the context alone. A candidate is made in the same way; of an event that has not
    happened no context is known, so that a trained vector takes its place, the same for all. (The authors give the
    candidates the context of the true next event.) The candidate attends to the states of all events; a linear layer on
    what it gets, times the candidate where `residual`, is the score. It has no bias, which would change no ranking.
    Query, key and value have the leaky ReLU of the authors' code; blocks are the pre-norm ones that SASRec has here.

    The attention of the authors' code is not causal, and training predicts each event from states that have seen it. Here
    a state sees only earlier events, and training predicts what follows the history (the "rolling window" that the
    authors advise where there are no attributes).

    A query is keys and values of the events, `[B, L, D]` each, and which places have one, `[B, L]` as 1 or 0.

    Args:
      settings: see `carca_settings.CARCASettings`.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no scenes.
    """

    inputs_read = (
        names.HISTORY_ITEM_INDEX,
        names.HISTORY_SCENE_INDEX,
        names.HISTORY_HOUR_INDEX,
        names.HISTORY_WEEKDAY_INDEX,
    )

    def __init__(self, settings: carca_settings.CARCASettings, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        dim, leaky = settings.dim, tf.nn.leaky_relu
        self._items = embedding.ItemEmbedding(catalogue.size, dim)
        self._of_scene = tf.keras.layers.Dense(settings.context_dim)
        self._hours, self._weekdays = (
            self._contexts(name, names.FIRST_INDEX + number)
            for name, number in (("hours", _HOURS), ("weekdays", _WEEKDAYS))
        )
        self._unknown = self._contexts("unknown_context", 1)
        self._token = tf.keras.layers.Dense(dim)
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._blocks = [
            transformer.TransformerBlock(
                dim, settings.heads, settings.ffn_ratio * dim, "leaky_relu", settings.dropout, self.generator
            )
            for _ in range(settings.blocks)
        ]
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)
        self._keys, self._values, self._asked = (
            tf.keras.layers.Dense(dim, activation=leaky) for _ in range(3)
        )
        self._scene_head = tf.keras.layers.Dense(settings.scene_dim)
        # The embedding of a history needs none of these, so that no call of the model would make their variables.
        for layer in (self._keys, self._values, self._asked, self._scene_head):
            layer.build([None, dim])
        self._score = self.add_weight(name="score", shape=[dim, 1], initializer="glorot_uniform")

    def _contexts(self, name: str, rows: int) -> tf.Variable:
        initial = tf.keras.initializers.RandomNormal(stddev=0.02)
        return self.add_weight(name=name, shape=[rows, self.settings.context_dim], initializer=initial)

    def _tokens(self, items: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        """Vectors of items `[..., D]` beside contexts `[..., D_C]` to `[..., D]`; scaled as in the authors' code."""
        return self._token(
            tf.concat([items * self.settings.dim**0.5, tf.cast(context, items.dtype)], axis=-1)
        )

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state of each event, `[B, L, D]`, from this one and earlier ones: the profile."""
        index, scenes_, hours, weekdays = (features[name] for name in self.inputs_read)
        present = index != names.PADDING_INDEX
        context = self._of_scene(self._scene_table(scenes_))
        for table, values in ((self._hours, hours), (self._weekdays, weekdays)):
            context += tf.cast(tf.gather(table, values), context.dtype)
        hidden = self._dropout(self._tokens(self._items(index), context), training=training)
        bias = attention.causal_bias(present, hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        return self._norm(hidden)

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[scoring.Query, tf.Tensor]:
        """See `scenes.SceneRanker.queries`; scenes are scored with a linear layer of the last state."""
        profile = self.encode_positions(features, training=training)
        present = tf.cast(features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, profile.dtype)
        return (self._keys(profile), self._values(profile), present), self._scene_head(profile[:, -1])

    def _heads(self, values: tf.Tensor) -> tf.Tensor:
        """`[B, L, D]` to `[B, H, L, d]`."""
        rows, length, heads = tf.shape(values)[0], tf.shape(values)[1], self.settings.heads
        divided = tf.reshape(values, [rows, length, heads, self.settings.dim // heads])
        return tf.transpose(divided, [0, 2, 1, 3])

    def _scores_of(self, query: scoring.Query, rows: tf.Tensor) -> tf.Tensor:
        """The scores of catalogue rows `[B, C]`, or `[1, C]` for all histories: `[B, C]` float32."""
        keys, values, present = query
        items = tf.cast(self._items.vectors(rows), self.compute_dtype)
        unknown = tf.broadcast_to(self._unknown, [*tf.unstack(tf.shape(rows)), self.settings.context_dim])
        candidates = self._tokens(items, unknown)
        weights = tf.cast(self._score[:, 0], keys.dtype)
        if self.settings.residual:
            weights *= tf.cast(candidates, keys.dtype)
        else:
            weights = tf.broadcast_to(weights, tf.shape(candidates))
        asked = tf.cast(self._asked(candidates), keys.dtype)
        return cross_attention.attended_scores(
            self._heads(keys), self._heads(values), present, self._heads(asked), self._heads(weights)
        )

    def scores(self, query: scoring.Query, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """See `scoring.Scoring.scores`."""
        return self.shared_scores(query, first + tf.range(self.catalogue.size if count is None else count))

    def pair_scores(self, query: scoring.Query, rows: tf.Tensor) -> tf.Tensor:
        """See `scoring.Scoring.pair_scores`."""
        if rows.shape.rank == 1:
            return self._scores_of(query, rows[:, tf.newaxis])[:, 0]
        return self._scores_of(query, rows)

    def shared_scores(self, query: scoring.Query, rows: tf.Tensor) -> tf.Tensor:
        """See `scoring.Scoring.shared_scores`."""
        return self._scores_of(query, rows[tf.newaxis])
