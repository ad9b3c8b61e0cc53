"""CASM: context-aware sequential model for multi-behaviour recommendation (Elsayed, Rashed and
Schmidt-Thieme, arXiv 2312.09684)."""

from typing import Any

import tensorflow as tf

from schemas import errors, names
from trainer.layers import attention, dropout, embedding, transformer
from trainer.models import ranking
from trainer.settings import casm as casm_settings

# Windows whose targets are looked at together; the first ones nearly always suffice.
_AT_ONCE = 1 << 14


class CASM(ranking.EmbeddingModel):
    """Causal self-attention over one sequence of all behaviours; each target weighs what its behaviour does.

    Section 4.1: an event is the embedding of its item beside that of its behaviour, plus its
    position. Section 4.2: multi-head self-attention and feed-forward layers, here the pre-norm
    blocks that SASRec has too. A score is a dot product with the item's embedding. The state
    is as wide as item and behaviour together, so a linear layer takes it to the item's width (at
    first, it is the item's part of the state: an item that comes again is soon found);
    that leaves the table of items as the only one, which the alternative (dot products with
    items that have a behaviour beside them) would not, and needs no behaviour to be assumed of
    an event that has not happened. Section 4.4.1: the loss of each target is multiplied by the
    weight alpha_b of its behaviour. Any loss of `trainer.losses` can be weighted; the paper's
    is `bce`.

    With `candidates: behaviors` the token of an event, W [item; behaviour] + b, is what is scored, too: of a candidate with
    the target's behaviour. A score is then q . item + o, with q what W makes of the state s, and o = s . (W behaviour + b),
    which all candidates of a target share.

    With `behavior_weights: learned` the loss of a target of behaviour b is
    exp(-s_b) loss + s_b with a trained s_b, 0 at first: homoscedastic uncertainty (Kendall, Gal
    and Cipolla, CVPR 2018) with s_b for log sigma_b^2, but s_b where they have s_b / 2, so that
    exp(s_b) settles at the mean loss of the behaviour.

    Args:
      settings: see `casm_settings.CASMSettings`.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no behaviours, or not those that the settings name, or if
        nothing would be trained.
    """

    inputs_read: tuple[str, ...] = (names.HISTORY_ITEM_INDEX, names.HISTORY_BEHAVIOR_INDEX)
    loss_inputs_read: tuple[str, ...] = (names.TARGET_BEHAVIOR_INDEX,)

    def __init__(self, settings: casm_settings.CASMSettings, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        self._learned = settings.behavior_weights == casm_settings.LEARNED
        self._weights = tf.constant(self._fixed_weights(), tf.float32)
        if self._learned:
            self._log_variances = self.add_weight(
                name="log_variances", shape=[catalogue.behaviors], dtype=tf.float32, initializer="zeros"
            )
        width = settings.dim
        self._behaviors: Any = None
        self._project: Any = None
        self._token: Any = None
        if settings.context:
            self._behaviors = embedding.ItemEmbedding(
                catalogue.behaviors, settings.behavior_dim, vocabulary=names.BEHAVIOR_VOCABULARY
            )
        if settings.candidates == "behaviors":
            self._token = tf.keras.layers.Dense(settings.dim)
            self._token.build([None, settings.dim + settings.behavior_dim])
        elif settings.context:
            width += settings.behavior_dim
            # The item's part of the state at first, which already scores items as the table does.
            self._project = tf.keras.layers.Dense(settings.dim, kernel_initializer="identity")
        self._width = width
        self._positions = self.add_weight(
            name="positions",
            shape=[catalogue.window_length, width],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        self._dropout = dropout.Dropout(settings.dropout, self.generator)
        self._blocks = [
            transformer.TransformerBlock(
                width,
                settings.heads,
                settings.ffn_ratio * width,
                settings.activation,
                settings.dropout,
                self.generator,
            )
            for _ in range(settings.blocks)
        ]
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8)

    def _fixed_weights(self) -> list[float]:
        """alpha_b of each index of a behaviour, the reserved ones first."""
        known, settings = self.catalogue.behavior_names, self.settings
        if not known:
            raise errors.InputError(
                "model casm needs a log with behaviours: name their column in log.columns.behavior"
            )
        weights = {} if self._learned else dict(settings.behavior_weights)
        targets = [] if settings.target_behavior is None else [settings.target_behavior]
        for key, named in (("behavior_weights", list(weights)), ("target_behavior", targets)):
            for name in named:
                if name not in known:
                    raise errors.InputError(
                        f"model.{key}: the training windows have no behaviour {name!r}; they have {', '.join(known)}"
                    )
        others = 0.0 if targets else 1.0
        weights.update((name, 1.0) for name in targets if name not in weights)
        values = [weights.get(name, others) for name in known]
        if not any(values):
            raise errors.InputError(f"model.behavior_weights: each behaviour ({', '.join(known)}) weighs 0")
        # A behaviour that training has not seen is none that anything was said of.
        return [others] * names.FIRST_INDEX + values

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """All but the weights of behaviours, which only the loss reads."""
        of_loss = [self._log_variances.ref()] if self._learned else []
        return [variable for variable in self.variables if variable.ref() not in of_loss]

    def encode_positions(self, features: ranking.Features, training: bool = False) -> tf.Tensor:
        """The state after each position, or what its token is scored with: `[B, L, D]`."""
        hidden = self._hidden(features, training)
        if self._token is not None:
            return self._split(hidden)[0]
        return self._project(hidden) if self._project is not None else hidden

    def _split(self, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What an item's part of a token is scored with, `[B, L, D]`, and a behaviour's, `[B, L, D_B]`, of states `[B, L, D]`."""
        of_item = self.settings.dim
        parts = tf.matmul(hidden, tf.cast(self._token.kernel, hidden.dtype), transpose_b=True)
        return parts[..., :of_item], parts[..., of_item:]

    def _hidden(self, features: ranking.Features, training: bool) -> tf.Tensor:
        """The states of the last block."""
        index = features[names.HISTORY_ITEM_INDEX]
        hidden = self._items(index)
        if self._behaviors is not None:
            hidden = tf.concat([hidden, self._behaviors(features[names.HISTORY_BEHAVIOR_INDEX])], axis=2)
        if self._token is not None:
            hidden = self._token(hidden)
        hidden = hidden * self._width**0.5 + embedding.last_positions(self._positions, hidden)
        hidden = self._dropout(hidden, training=training)
        bias = attention.causal_bias(index != names.PADDING_INDEX, hidden.dtype)
        for block in self._blocks:
            hidden = block(hidden, bias, training=training)
        return self._norm(hidden)

    def summed_loss(self, features: ranking.Features, training: bool = True) -> Any:
        """See `ranking.SequenceModel`."""
        if self._token is None:
            return super().summed_loss(features, training)
        hidden = self._hidden(features, training)
        query, other = self._split(hidden)
        behaviors = self._behaviors(self._target_behaviors(features))
        shared = tf.reduce_sum(other * behaviors, axis=2) + tf.linalg.matvec(
            hidden, tf.cast(self._token.bias, hidden.dtype)
        )
        return self._loss_of(tf.concat([query, shared[..., tf.newaxis]], axis=2), features)

    def _of_query(self, query: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What items are scored with, `[B, D]`, and what of a target's score its candidates share, `[B, 1]`; None: nothing."""
        of_item = self.settings.dim
        return (query, None) if query.shape[-1] == of_item else (query[:, :of_item], query[:, of_item:])

    def pair_scores(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `scoring.Scoring.pair_scores`."""
        query, shared = self._of_query(query)
        found = super().pair_scores(query, rows)
        return found if shared is None else found + (shared[:, 0] if rows.shape.rank == 1 else shared)

    def shared_scores(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `scoring.Scoring.shared_scores`."""
        query, shared = self._of_query(query)
        found = super().shared_scores(query, rows)
        return found if shared is None else found + shared

    def catalogue_losses(self, query: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """See `scoring.Scoring.catalogue_losses`: a softmax does not see what all candidates share."""
        return super().catalogue_losses(self._of_query(query)[0], rows)

    @property
    def weighs_positives(self) -> bool:
        """See `ranking.SequenceModel`."""
        return self.settings.weighted == "positives"

    def _target_behaviors(self, features: ranking.Features) -> tf.Tensor:
        """The index of the behaviour of each position's target, `[B, L]`."""
        target = tf.reshape(features[names.TARGET_BEHAVIOR_INDEX], [-1, 1])
        return tf.concat([features[names.HISTORY_BEHAVIOR_INDEX][:, 1:], target], axis=1)

    def _log_variance(self, features: ranking.Features) -> tf.Tensor:
        """s_b of each target, `[B, L]`; 0 for an unknown behaviour, whose weight is not learnt."""
        reserved = tf.zeros([names.FIRST_INDEX])
        return tf.gather(tf.concat([reserved, self._log_variances], axis=0), self._target_behaviors(features))

    def target_weights(self, features: ranking.Features) -> tf.Tensor:
        """alpha_b (or exp(-s_b)) of the behaviour of each target, `[B, L]`."""
        if self._learned:
            return tf.exp(-self._log_variance(features))
        return tf.gather(self._weights, self._target_behaviors(features))

    def check_targets(self, features: ranking.Features) -> None:
        """See `ranking.SequenceModel`: a behaviour that weighs something may be that of first events alone, of no target."""
        if self._learned:
            return
        read = (*self.inputs_read, *self.loss_inputs_read, names.TARGET_ITEM_INDEX)
        for begin in range(0, len(features[names.TARGET_ITEM_INDEX]), _AT_ONCE):
            block = {name: features[name][begin : begin + _AT_ONCE] for name in read}
            if tf.reduce_any(self.targets(block)[1] & (self.target_weights(block) > 0)):
                return
        known = zip(self.catalogue.behavior_names, self._weights.numpy()[names.FIRST_INDEX :])
        weighing = ", ".join(name for name, weight in known if weight > 0)
        raise errors.InputError(
            f"model.{'behavior_weights' if self.settings.target_behavior is None else 'target_behavior'}: no target of the "
            f"training windows has a behaviour that weighs more than 0 ({weighing}): there is nothing to learn"
        )

    def penalty(self, features: ranking.Features, counted: tf.Tensor) -> Any:
        """With learned weights, the sum of s_b over the targets."""
        if not self._learned:
            return 0.0
        return tf.reduce_sum(self._log_variance(features) * tf.cast(counted, tf.float32))
