"""What the modules that are exported have in common: how they hold a model."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import training_times as counted_days
from schemas import names
from serving import training_times


class Held:
    """Keeps an object out of what a module that has it saves."""

    def __init__(self, value: Any):
        self.value = value


def shared(function: Callable[..., Any]) -> Held:
    """A function of tensors that signatures have in common: for all of them its graph is made, saved and loaded once.

    Held, or the module that has it would save it as a function of its own, too.
    """
    # Without AutoGraph, which would take longer to read the source than TensorFlow to trace it.
    return Held(tf.function(function, autograph=False))


class HeldModel(tf.Module):
    """Holds a model by its variables, so that a SavedModel has the graphs of its signatures and no others.

    A Keras model that is found by `tf.saved_model.save` has every layer's call traced and saved, several
    times over, which no signature needs.

    Args:
      model: names what is exported, `serving_variables`; what training alone reads is not.
    """

    def __init__(self, model: Any):
        super().__init__()
        self._held = Held(model)
        self._weights = list(model.serving_variables)
        if not self._weights:
            raise ValueError(f"{type(model).__name__} has no variables yet: build it, by asking it once")

    @property
    def model(self) -> Any:
        """The model, as it was given."""
        return self._held.value


class HeldTransform(tf.Module):
    """Holds the transform graph by its tables, for the same reason: TFT gives it as a Keras model.

    Args:
      transform_output: of TFX Transform.
    """

    def __init__(self, transform_output: tft.TFTransformOutput):
        super().__init__()
        layer = transform_output.transform_features_layer()
        self._graph = shared(lambda raw: layer(raw))
        self._tables = dict(tf.train.TrackableView.children(layer))

    def __call__(self, raw: dict[str, Any]) -> dict[str, tf.Tensor]:
        """The features after Transform that can be made of these raw ones."""
        # The graph is called as a function, and TensorFlow's optimiser, which forgets what shapes come of that, would say so
        # in warnings of a server.
        return {name: _with_shape(value) for name, value in self._graph.value(raw).items()}

    def names(self, raw: dict[str, Any]) -> list[str]:
        """The names of the features that can be made of raw ones of which these are the specs."""
        return sorted(self._graph.value.get_concrete_function(raw).structured_outputs)


def _with_shape(value: Any) -> Any:
    return value if isinstance(value, tf.SparseTensor) else tf.ensure_shape(value, value.shape)


def example(raw_spec: Mapping[str, Any], known: Mapping[str, Sequence[Any]]) -> tf.Tensor:
    """A serialized tf.Example, `[1]`, with all features that have to be there.

    Args:
      raw_spec: how examples are parsed.
      known: the values of some features; the others are blank, and those of any length have none.
    """
    made = tf.train.Example()
    for name, feature in raw_spec.items():
        values = known.get(name)
        if values is None and isinstance(feature, tf.io.FixedLenFeature):
            values = [b"" if feature.dtype == tf.string else 0] * math.prod(feature.shape)
        kind = {tf.string: "bytes_list", tf.float32: "float_list", tf.int64: "int64_list"}[feature.dtype]
        getattr(made.features.feature[name], kind).value.extend(values or ())
    return tf.constant([made.SerializeToString()])


class ModelModule(HeldModel):
    """Holds a model, and knows the times of its training.

    Args:
      model: see `HeldModel`.
      transform_output: of TFX Transform.
    """

    def __init__(self, model: Any, transform_output: tft.TFTransformOutput):
        super().__init__(model)
        self._trained = counted_days.load(transform_output)

    def ask_training_times(self) -> dict[str, dict[str, tf.Tensor]]:
        """A small request by the signature's name; none without it."""
        if self._trained is None:
            return {}
        return {training_times.SIGNATURE: {names.TIMESTAMP: tf.zeros([1], tf.int64)}}

    def training_times(self) -> dict[str, Any]:
        """The signature that tells between which times the model was trained; none if that is not known.

        It takes `timestamp` `[B]`, of which only the number of rows counts, since servers join requests by
        rows, and gives `first` and `last`, `[B]` int64, ms since the epoch.
        """
        if self._trained is None:
            return {}
        first, last = self._trained

        def tell(timestamp: tf.Tensor) -> dict[str, tf.Tensor]:
            shape = tf.shape(timestamp)
            return {
                training_times.FIRST: tf.fill(shape, tf.constant(first, tf.int64)),
                training_times.LAST: tf.fill(shape, tf.constant(last, tf.int64)),
            }

        spec = tf.TensorSpec([None], tf.int64, name=names.TIMESTAMP)
        return {
            training_times.SIGNATURE: tf.function(tell, autograph=False).get_concrete_function(timestamp=spec)
        }
