"""What the modules that are exported have in common: how they hold a model."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import training_times as counted_days
from schemas import names
from serving import training_times


class _Held:
    """Keeps an object out of what a module that has it saves."""

    def __init__(self, value: Any):
        self.value = value


class HeldModel(tf.Module):
    """Holds a model by its variables, so that a SavedModel has the graphs of its signatures and no others.

    A Keras model that is found by `tf.saved_model.save` has every layer's call traced and saved, several
    times over, which no signature needs.

    Args:
      model: names what is exported, `serving_variables`; what training alone reads is not.
    """

    def __init__(self, model: Any):
        super().__init__()
        self._held = _Held(model)
        self._weights = list(model.serving_variables)

    @property
    def model(self) -> Any:
        """The model, as it was given."""
        return self._held.value


class ModelModule(HeldModel):
    """Holds a model, and knows the times of its training.

    Args:
      model: see `HeldModel`.
      transform_output: of TFX Transform.
    """

    def __init__(self, model: Any, transform_output: tft.TFTransformOutput):
        super().__init__(model)
        self._trained = counted_days.load(transform_output)

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
