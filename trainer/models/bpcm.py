"""BPCM: multi-task learning with features based on behavioural pattern conversion (Tang et al.)."""

import tensorflow as tf

from trainer.layers import dropout, feature_tower, fields, towers
from trainer.losses import labels as losses
from trainer.models import labels
from trainer.settings import bpcm as bpcm_settings


class Message(tf.keras.layers.Layer):
    """Eq. (8), msg(): what a step tells the next one.

    Of msg() section 3.4 says that it is dropout; of the passing, that it combines layer norm and dropout. With layer norm what
    is told is of one size, at the start some twenty times the size of what the next step has itself.

    Args:
      rate: of the dropout.
      generator: of the dropout.
      norm: whether there is layer norm before it.
    """

    def __init__(self, rate: float, generator: tf.random.Generator, norm: bool = True):
        super().__init__()
        self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-6) if norm else None
        self._dropout = dropout.Dropout(rate, generator)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Z_t, `[B, I, d]`, to h_t, `[B, I, d]`."""
        told = inputs if self._norm is None else self._norm(inputs)
        return self._dropout(told, training=training)


class Conversion(tf.keras.layers.Layer):
    """Eq. (9), BPC: Attention(q_{t+1}, h_t) + q_{t+1}.

    The module is to weigh "the passed information and the original information of the current task":
    queries are of q_{t+1}, keys and values of q_{t+1} and h_t together. With those of h_t alone, as eq. (9)
    is printed, the weights sum to 1 over what is passed, however little of it is of use.

    Args:
      dim: d.
      own: whether keys and values are of q_{t+1}, too.
    """

    def __init__(self, dim: int, own: bool = True):
        super().__init__()
        self._attention, self._own = feature_tower.FieldAttention(dim), own

    def call(self, own: tf.Tensor, passed: tf.Tensor) -> tf.Tensor:
        """q_{t+1} and h_t, each `[B, I, d]`, to Z_{t+1}, `[B, I, d]`."""
        return self._attention(own, tf.concat([own, passed], axis=1) if self._own else passed) + own


class BPCM(labels.LabelModel):
    """A feature tower for each step, and messages from step to step.

    E_F has a token for each field of the exposure, eq. (1): user, item, their features and the user's
    history. All of q_t, h_t and Z_t are tokens (`[B, I, d]`), although section 3.4 has Z_t in R^I: eq. (9)
    adds q_t in R^(I x d). How Z_t goes into the head is not said; here its tokens stand beside each other,
    as the features of all other models do, so that the head can tell fields apart. The head is a
    perceptron and a logit, eq. (10). Loss: eq. (11) plus alpha times the calibrator, eq. (12)-(13), see
    `losses.labels.order_violation`.

    Args:
      settings: see `bpcm_settings.BPCMSettings`.
      exposures, seed: see `labels.LabelModel`.
    """

    def __init__(self, settings: bpcm_settings.BPCMSettings, exposures: labels.Exposures, seed: int = 0):
        super().__init__(settings, exposures, seed)
        self._embedding = fields.FieldEmbedding(exposures.fields, settings.dim, settings.embedding_stddev)
        self._features = [
            feature_tower.FeatureTower(
                len(exposures.fields),
                settings.dim,
                settings.hidden,
                settings.attention,
                settings.aggregation,
                settings.gate,
            )
            for _ in exposures.steps
        ]
        passed_on = exposures.steps[1:] if settings.conversion else ()
        self._messages = [Message(settings.dropout, self.generator, settings.message_norm) for _ in passed_on]
        self._conversions = [Conversion(settings.dim, settings.conversion_reads == "both") for _ in passed_on]
        self._towers = [
            towers.Tower(settings.tower, settings.dropout, self.generator) for _ in exposures.steps
        ]
        self._heads = self.heads()

    def logits(self, features: labels.Features, training: bool = False) -> tf.Tensor:
        """The logit of each step, `[B, T]` float32."""
        tokens = self._embedding(features)
        states = [tower(tokens) for tower in self._features]
        for step, (message, convert) in enumerate(zip(self._messages, self._conversions)):
            states[step + 1] = convert(states[step + 1], message(states[step], training=training))
        return tf.stack(
            [
                head(tower(labels.flat(state), training=training))
                for state, tower, head in zip(states, self._towers, self._heads)
            ],
            axis=1,
        )

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        """alpha times the calibrator: `[B]` float32."""
        return self.settings.calibrator * losses.order_violation(logits)
