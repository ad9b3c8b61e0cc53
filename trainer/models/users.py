"""Embeddings of users from what they did: the encoder that BYB pretrains, and that models of labels are finetuned from."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

import schemas  # noqa: F401  selects Keras 2
from components.transform import event_fields
from components.transform import spec as transform_spec
from schemas import names
from serving import networks
from trainer import network
from trainer.layers import behavior_encoder, bucket_encoder, buckets, event_encoder
from trainer.settings import users as users_settings

Features = dict[str, tf.Tensor]
_CALENDAR = {names.HISTORY_HOUR_INDEX: 24, names.HISTORY_WEEKDAY_INDEX: 7}
# Ages with a position of their own.
_MOST_AGES = 1024


@dataclasses.dataclass(frozen=True)
class Behaviors:
    """What an encoder has to know of the data.

    Attributes:
      sizes: what a behaviour has, the item first, and how many known values (or buckets of a number) each has.
      window_length: L, the most events of a history.
      past_seconds, period_seconds: how far a history reaches back, and how long the period after it is.
      labels: of the windows, none of which an encoder reads.
      boundaries: of the buckets of those numbers of which a setting says them, by the name in an event.
    """

    sizes: dict[event_fields.EventField, int]
    window_length: int
    past_seconds: float
    period_seconds: float
    labels: tuple[str, ...] = ()
    boundaries: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(
        cls, transform_output: tft.TFTransformOutput, settings: transform_spec.TransformSettings
    ) -> "Behaviors":
        """Of a transform graph of windows of a period, and its settings."""
        window, features = settings.window, settings.features
        sizes = {
            field: features.of(field.event).number_of_buckets
            if field.numeric
            else transform_output.vocabulary_size_by_name(field.vocabulary)
            for field in event_fields.of_columns(settings.columns)
        }
        said = {field.event: features.of(field.event).boundaries for field in sizes if field.numeric}
        boundaries = {name: tuple(values) for name, values in said.items() if values is not None}
        return cls(sizes, window.length, window.past, window.future, window.label_names, boundaries)

    @property
    def rows(self) -> dict[str, int]:
        """`sizes` by the name of the vocabulary, as `BehaviorEncoder` wants it."""
        return {field.vocabulary: size for field, size in self.sizes.items()}

    @property
    def inputs_read(self) -> tuple[str, ...]:
        """The features after Transform that a user's embedding is made of."""
        attributes = (field.history for field in self.sizes)
        return (*attributes, *_CALENDAR, names.HISTORY_SECONDS, names.SECONDS_SINCE_LAST)

    @property
    def sources(self) -> tuple[str, ...]:
        """The raw features that those are computed from."""
        return (*(field.source for field in self.sizes), names.HISTORY_TIMESTAMP, names.MOMENT)


class UserEncoder(tf.keras.layers.Layer):
    """The embedding of a user, of the behaviours before a moment (BYB, sections 4.1 and 4.2).

    A behaviour is the weighted sum of the embeddings of its attributes (`behavior_encoder`), with the calendar (hour and
    weekday of each event, added to it, a guess). Behaviours are pooled by their distance from the moment (`buckets`), a
    bucket's age is its position, and there is what `settings.activity` tells; a Transformer makes the user's embedding of
    them. Other encoders, for comparison, read the events one by one (`event_encoder`).

    Args:
      settings: of the encoder.
      known: of the data.
      generator: of the dropout.
    """

    def __init__(
        self, settings: users_settings.UserEncoderSettings, known: Behaviors, generator: tf.random.Generator
    ):
        # Seconds must not become bfloat16.
        super().__init__(autocast=False, name="users")
        self._settings, self.known = settings, known
        # With XLA shapes must be known.
        self.static_shapes = False
        dim = settings.dim
        self.behaviors = behavior_encoder.BehaviorEncoder(known.rows, dim)
        self.calendar = [
            tf.keras.layers.Embedding(size + names.FIRST_INDEX, dim, name=feature)
            for feature, size in _CALENDAR.items()
        ]
        shape = (settings.blocks, settings.heads, settings.ffn_ratio * dim, settings.dropout, generator)
        if settings.encoder == "buckets":
            unit = settings.bucket_seconds or buckets.DAY
            ages = min(_MOST_AGES, math.ceil(known.past_seconds / unit))
            self.blocks = bucket_encoder.BucketEncoder(ages, dim, *shape, settings.activity)
        else:
            self.blocks = event_encoder.EventEncoder(settings.encoder, known.window_length, dim, *shape)

    @property
    def described(self) -> dict[str, Any]:
        """What it is of, see `networks.described`."""
        known = self.known
        numbers = {field.event: size for field, size in known.sizes.items() if field.numeric}
        return networks.described(
            [field.event for field in known.sizes],
            {name: networks.buckets(size, known.boundaries.get(name)) for name, size in numbers.items()},
            known.past_seconds,
            network.length(self._settings, known.window_length),
        )

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """The embedding of each user, `[B, D]`.

        Args:
          features: `Behaviors.inputs_read`; without SECONDS_SINCE_LAST, the moment is that of the last event.
          training: whether dropout is on.
        """
        if self._settings.encoder != "buckets":
            return self.states(features, training)[:, -1]
        return self.blocks(*self._pooled(features), training=training)

    def states(self, features: Features, training: bool = False) -> tf.Tensor:
        """The states after each event and, last, at the moment: `[B, W + 1, D]`; of encoders that read events one by one."""
        vectors, present, seconds, since = self._events(features)
        return self.blocks(vectors, present, seconds, since, training=training)

    def attention(self, features: Features) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """How much of a user's attention is on each bucket, how old it is, and which there are: `[B, K]` each."""
        pooled, found, since = self._pooled(features)
        return self.blocks.attention(pooled, found, since), found.age, found.present

    def _pooled(self, features: Features) -> tuple[tf.Tensor, buckets.Buckets, tf.Tensor]:
        """The mean behaviour of each bucket, `[B, K, D]`, the buckets, and seconds since the last event, `[B]`."""
        # The latest first: of events at one time these count.
        vectors, present, seconds, since = self._events(features)
        settings = self._settings
        found = buckets.assign(
            seconds[:, ::-1],
            present[:, ::-1],
            settings.bucket_seconds,
            self.known.window_length if settings.bucket_seconds is None else settings.max_buckets,
            settings.max_bucket_events,
            static=self.static_shapes,
        )
        return found.mean(vectors[:, ::-1]), found, since

    def _events(self, features: Features) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Vectors of the events, `[B, W, D]`, which there are, seconds of each before the moment, and of the last, `[B]`."""
        vectors = self.behaviors([features[field.history] for field in self.known.sizes])
        for feature, table in zip(_CALENDAR, self.calendar):
            vectors += table(features[feature])
        seconds = features[names.HISTORY_SECONDS]
        since = tf.zeros(tf.shape(seconds)[:1])
        if names.SECONDS_SINCE_LAST in features:
            since = tf.reshape(features[names.SECONDS_SINCE_LAST], [-1])
            seconds += since[:, tf.newaxis]
        return vectors, features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, seconds, since
