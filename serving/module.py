"""What the modules that are exported have in common: how they hold a model."""

from typing import Any

import tensorflow as tf


class _Held:
    """Keeps an object out of what a module that has it saves."""

    def __init__(self, value: Any):
        self.value = value


class ModelModule(tf.Module):
    """Holds a model by its variables, so that a SavedModel has the graphs of its signatures and no others.

    A Keras model that is found by `tf.saved_model.save` has every layer's call traced and saved, several
    times over, which no signature needs.

    Args:
      model: has `variables`.
    """

    def __init__(self, model: Any):
        super().__init__()
        self._held = _Held(model)
        self._weights = list(model.variables)

    @property
    def model(self) -> Any:
        """The model, as it was given."""
        return self._held.value
