"""What all next-item models have in common."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from trainer.layers import embedding
from trainer.models import learner, scoring

Features = learner.Features


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What a model has to know of the data.

    Attributes:
      counts: `[N]` int64, training targets of each item, in the order of the vocabulary.
      window_length: L.
      behaviors, scenes: how many known values, without the reserved ids; 0 for none.
      behavior_names: the known behaviours, in the order of the vocabulary.
      period_seconds: how long the period of a window is; None: windows have no period.
    """

    counts: np.ndarray
    window_length: int
    behaviors: int = 0
    scenes: int = 0
    behavior_names: tuple[str, ...] = ()
    period_seconds: float | None = None

    @property
    def size(self) -> int:
        """N, the number of real items."""
        return len(self.counts)


def windows_for(loss: Any, features: Features) -> tf.Tensor | None:
    """What a loss that `reads_windows` takes (see `losses.ranking`); None for the others.

    Returns:
      The catalogue rows of the items of windows, their target among them: `[B, L + 1]`, negative where there is none.
    """
    if not loss.reads_windows:
        return None
    target = tf.reshape(features[names.TARGET_ITEM_INDEX], [-1, 1])
    return tf.concat([features[names.HISTORY_ITEM_INDEX], target], axis=1) - names.FIRST_INDEX


def random_generator(seed: int) -> tf.random.Generator:
    """A generator whose stream shares nothing with that of another seed.

    `Generator.from_seed` counts the seed on within one stream: the numbers of seed 2 are those
    of seed 1, four later, and runs that are meant to be independent are not.
    """
    digest = hashlib.sha256(str(seed).encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    return tf.random.Generator.from_key_counter(key=key, counter=[0, 0], alg="philox")


class SequenceModel(scoring.Scoring, learner.Learner):
    """A model that embeds a history and scores items.

    A subclass implements `encode_positions`, and how items are scored (`scoring.DotProduct` is one way);
    features are those after Transform. Training computes a loss at every position in one pass: position t
    predicts the item at t + 1.

    Args:
      settings: of the model; see `trainer.settings`.
      catalogue: of the data.
      seed: of everything random in training.
    """

    # The features that `encode` reads.
    inputs_read: tuple[str, ...] = (names.HISTORY_ITEM_INDEX,)
    # What the loss reads besides those and the target item; see `loss_features`.
    loss_inputs_read: tuple[str, ...] = ()

    def __init__(self, settings: Any, catalogue: Catalogue, seed: int = 0):
        # Mixed precision is of the layers; times among the features stay as they are.
        super().__init__(autocast=False)
        self.settings = settings
        self.catalogue = catalogue
        self.generator = random_generator(seed)
        # A loss of `trainer.losses.ranking`; needed for training alone.
        self.training_loss: Any = None

    @classmethod
    def loss_features(cls, targets: str) -> tuple[str, ...]:
        """`loss_inputs_read` with a loss that wants these targets, see `trainer.settings.losses.LossSettings`."""
        return cls.loss_inputs_read

    def encode_positions(self, features: Features, training: bool = False) -> tf.Tensor:
        """The state after each position: `[B, L, D]`, from this position and earlier ones only."""
        raise NotImplementedError

    def encode(self, features: Features, training: bool = False) -> tf.Tensor:
        """The embedding of each history: `[B, D]`, the state after its last event."""
        return self.encode_positions(features, training=training)[:, -1]

    def query(self, features: Features, training: bool = False) -> scoring.Query:
        """What items are scored with for each history, see `scoring.Scoring`."""
        return self.encode(features, training=training)

    @property
    def scenes(self) -> scoring.Scoring | None:
        """What scores scenes for `scene_query`; None: the model ranks items alone."""
        return None

    def scene_query(self, features: Features, training: bool = False) -> scoring.Query:
        """What `scenes` are scored with for each history."""
        raise NotImplementedError

    def queries(self, features: Features, training: bool = False) -> tuple[scoring.Query, scoring.Query]:
        """`query` and `scene_query`; one pass where a model has both."""
        return self.query(features, training), self.scene_query(features, training)

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """What is exported; a model leaves out what training alone reads, as a teacher."""
        return list(self.variables)

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """As `encode`."""
        return self.encode(features, training=training)

    def targets(self, features: Features) -> tuple[tf.Tensor, tf.Tensor]:
        """The item that follows each position.

        Returns:
          Catalogue rows `[B, L]` (negative where the item is not in the catalogue), and which
          of them count, `[B, L]` bool: those of real positions, with a known item.
        """
        history = features[names.HISTORY_ITEM_INDEX]
        target = tf.reshape(features[names.TARGET_ITEM_INDEX], [-1, 1])
        labels = tf.concat([history[:, 1:], target], axis=1) - names.FIRST_INDEX
        return labels, (history != names.PADDING_INDEX) & (labels >= 0)

    def expected_targets(self, lengths: tf.Tensor) -> tf.Tensor:
        """How many targets windows of so many events have on average, `[B]` float32 to `[B]`."""
        return lengths

    def target_weights(self, features: Features) -> tf.Tensor | None:
        """What the loss of each target is multiplied by, `[B, L]` float32; None: all weigh 1."""
        return None

    @property
    def weighs_positives(self) -> bool:
        """Whether weights are of the target's own term alone, and those of its negatives weigh 1 (`losses.ranking.BCE`)."""
        return False

    def summed_loss(self, features: Features, training: bool = True) -> Any:
        """The sum of the (weighted) loss over all targets of a batch, and their number, both scalars.

        Targets that are padding or out of vocabulary do not count; see `sum_losses`.
        """
        return self._loss_of(self.encode_positions(features, training=training), features)

    def monitored_loss(
        self, features: Features, training: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `summed_loss`, and the sums over the same targets of what `monitors` names, `[monitors]` float32."""
        total, count = self.summed_loss(features, training)
        return total, count, tf.zeros([len(self.monitors)])

    def loss_and_embedding(
        self, features: Features, training: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `summed_loss`, and as `encode`, `[B, D]`: in one pass where neither is a subclass's own."""
        own = type(self).summed_loss is not SequenceModel.summed_loss
        if own or type(self).encode is not SequenceModel.encode:
            return (*self.summed_loss(features, training), self.encode(features, training=training))
        states = self.encode_positions(features, training=training)
        return (*self._loss_of(states, features), states[:, -1])

    def penalty(self, features: Features, counted: tf.Tensor) -> Any:
        """What a model adds to the summed loss of a batch with these targets (`[B, L]` bool), a scalar."""
        del features, counted
        return 0.0

    def _loss_of(self, states: tf.Tensor, features: Features) -> tuple[tf.Tensor, tf.Tensor]:
        labels, counted = self.targets(features)
        windows = windows_for(self.training_loss, features)
        total, count = self.sum_losses(states, labels, counted, self.target_weights(features), windows)
        return total + self.penalty(features, counted), count

    def sum_losses(
        self,
        states: tf.Tensor,
        labels: tf.Tensor,
        counted: tf.Tensor,
        weights: tf.Tensor | None = None,
        windows: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of `training_loss` times the weights, and the number of targets, both float32 scalars.

        The number does not depend on the weights: the loss is a sum of weighted terms, as
        papers write it, and a mean over it stays one when the weights are trained.

        Args:
          states: `[B, L, D]`.
          labels: catalogue rows `[B, L]`.
          counted: which of them count, `[B, L]` bool; the others' labels may be anything.
          weights: `[B, L]` float32, or None.
          windows: of `windows_for`.
        """
        if self.static_shapes:
            states = tf.reshape(states, [-1, states.shape[-1]])
            labels, real = tf.reshape(labels, [-1]), tf.reshape(counted, [-1])
            of_target = None if weights is None else tf.reshape(weights, [-1])
            of_windows: tuple[Any, ...] = (
                () if windows is None else (tf.repeat(windows, tf.shape(counted)[1], axis=0),)
            )
            losses = self._weighted_losses(of_target, states, tf.where(real, labels, 0), real, *of_windows)
            # Chosen, not multiplied by 0: what padding gives may be no number at all.
            losses = tf.where(real, losses, 0.0)
            return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(real, tf.float32))
        where = tf.where(counted)
        of_target = None if weights is None else tf.gather_nd(weights, where)
        of_windows = () if windows is None else (None, tf.gather(windows, where[:, 0]))
        losses = self._weighted_losses(
            of_target, tf.gather_nd(states, where), tf.gather_nd(labels, where), *of_windows
        )
        return tf.reduce_sum(losses), tf.cast(tf.shape(where)[0], tf.float32)

    def _weighted_losses(self, weights: tf.Tensor | None, *given: tf.Tensor | None) -> tf.Tensor:
        """The loss of each target, `[T]`, times its weight; see `weighs_positives`."""
        if weights is None:
            return self.training_loss(self, *given)
        if self.weighs_positives:
            positive, negative = self.training_loss.parts(self, *given)
            return positive * weights + negative
        return self.training_loss(self, *given) * weights

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """The mean loss, for `compile` and `fit` of Keras."""
        total, count = self.summed_loss(inputs, training)
        return tf.math.divide_no_nan(total, count)


class EmbeddingModel(scoring.DotProduct, SequenceModel):
    """A sequence model with a table of item embeddings, and the same or a second one to score with.

    Args:
      settings, catalogue, seed: see `SequenceModel`; `settings.dim` is D.
      tied: whether the input's table is the output's too.
    """

    def __init__(self, settings: Any, catalogue: Catalogue, seed: int = 0, tied: bool = True):
        super().__init__(settings, catalogue, seed)
        self._items = embedding.ItemEmbedding(catalogue.size, settings.dim)
        self._outputs = self._items if tied else embedding.ItemEmbedding(catalogue.size, settings.dim)

    def item_table(self) -> tf.Tensor:
        """The vectors that are scored with, `[N, D]`."""
        return self._outputs.items()

    def item_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """Those of catalogue rows `[...]`: `[..., D]`; other rows are not touched."""
        return self._outputs.vectors(rows)

    def scores(self, query: tf.Tensor, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        """See `scoring.Scoring.scores`."""
        return self._outputs.scores(query, first, count)
