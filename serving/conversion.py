"""The signatures of an exported model of labels: what comes of showing an item to a user, or what a user will do.

As in `serving.signatures`, the transform graph is inside and only core TensorFlow operations are used.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import events, module, moments, requests, signatures

_WARMUP_CANDIDATES = 2


class ConversionModule(module.ModelModule):
    """A model with its transform graph.

    Args:
      model: has `serving_variables`, `probabilities(features) -> [B, T]`, `inputs_read` (the transformed features
        that it takes), `raw_inputs` (what these are computed from) and `exposures.steps` (the names of the T steps).
      transform_output: of TFX Transform with `components.transform.windows.exposure`, or `period` of windows with labels.
    """

    def __init__(self, model: Any, transform_output: tft.TFTransformOutput):
        super().__init__(model, transform_output)
        self._transform = module.HeldTransform(transform_output)
        self._probabilities = module.shared(
            lambda read: tf.cast(model.probabilities(read, training=False), tf.float32)
        )
        raw, transformed = transform_output.raw_feature_spec(), transform_output.transformed_feature_spec()
        self._raw_spec = {name: raw[name] for name in model.raw_inputs}
        self._lists = {
            name
            for name in self._raw_spec
            if requests.is_of_history(name) or _is_list(transformed.get(name + names.INDEX_SUFFIX))
        }

    @property
    def of_item(self) -> list[str]:
        """The inputs that belong to the item; the others are of the user and the occasion."""
        return [name for name in self._raw_spec if requests.is_of_item(name)]

    def signatures(self) -> dict[str, Any]:
        """All signatures as concrete functions, by name; no `predict_candidates` without inputs of the item."""
        functions = {
            "serving_default": signatures.of_examples(self.predict_examples),
            "evaluate": signatures.of_examples(self.predict_examples),
            "transform_features": signatures.of_examples(self.transform_features),
            requests.PREDICT: signatures.of_inputs(self.predict, self._specs(())),
            **self.training_times(),
        }
        if self.of_item:
            functions[requests.PREDICT_CANDIDATES] = signatures.of_inputs(
                self.predict_candidates, self._specs(self.of_item)
            )
        return functions

    def predict(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """How likely each step is after each exposure, or each label of each user.

        Args:
          inputs: raw features, a row an exposure or a user: `[B]` of one value, `[B, V]` of several, the history
            `[B, N]`, oldest first. Empty texts and NaN are missing values; empty texts among several
            values, and events with an empty item id, are padding and stand anywhere. Of a user, `moment`: see `moments`.

        Returns:
          Probabilities `[B]` by the name of the step.
        """
        return self._answer(self.features(inputs))

    def features(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The features after Transform of the inputs of `predict`."""
        return self._transform(self._raw(inputs))

    def predict_candidates(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As `predict` for every candidate item of each row.

        Args:
          inputs: those of `predict`, but with one more dimension for those of the item: `[B, C]` of
            one value, `[B, C, V]` of several.

        Returns:
          Probabilities `[B, C]` by the name of the step.
        """
        shape = tf.shape(inputs[self.of_item[0]])[:2]
        rows = {}
        for name, value in inputs.items():
            if requests.is_of_item(name):
                rows[name] = tf.reshape(
                    value, tf.concat([[shape[0] * shape[1]], tf.shape(value)[2:]], axis=0)
                )
            else:
                rows[name] = tf.repeat(value, shape[1], axis=0)
        return {step: tf.reshape(value, shape) for step, value in self.predict(rows).items()}

    def predict_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `predict`, for serialized tf.Examples `[B]`; only item and time have to be there."""
        return self._answer(self.transform_features(examples))

    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The features after Transform of serialized tf.Examples `[B]`."""
        parsed = tf.io.parse_example(examples, self._parsing_spec())
        return self._transform(self._with_moment(events.checked(parsed)))

    def warm_up(self) -> dict[str, dict[str, tf.Tensor]]:
        """A small request for each signature."""
        shown = {requests.PREDICT: self._specs(())}
        if self.of_item:
            shown[requests.PREDICT_CANDIDATES] = self._specs(self.of_item)
        raw = {
            signature: {
                name: tf.zeros([1, _WARMUP_CANDIDATES, 1][: spec.shape.rank], spec.dtype)
                for name, spec in specs.items()
            }
            for signature, specs in shown.items()
        }
        examples = {signatures.EXAMPLES: module.example(self._raw_spec, {})}
        by_examples = dict.fromkeys(("serving_default", "evaluate", "transform_features"), examples)
        return {**raw, **by_examples, **self.ask_training_times()}

    def _specs(self, with_candidates: Any) -> dict[str, tf.TensorSpec]:
        return {
            name: tf.TensorSpec(
                [None] * (1 + (name in self._lists) + (name in with_candidates)), feature.dtype, name=name
            )
            for name, feature in self._raw_spec.items()
        }

    def _parsing_spec(self) -> dict[str, Any]:
        """The features of an example, of which most may be left out."""
        return {
            name: tf.io.FixedLenFeature(feature.shape, feature.dtype, requests.BLANKS[feature.dtype.name])
            if isinstance(feature, tf.io.FixedLenFeature) and name not in requests.REQUIRED
            else feature
            for name, feature in self._raw_spec.items()
        }

    def _raw(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Dense inputs as the transform graph takes them."""
        checks = [
            tf.debugging.assert_equal(
                tf.shape(inputs[name]),
                tf.shape(inputs[names.HISTORY_ITEM_ID]),
                message=f"{name} has another shape than {names.HISTORY_ITEM_ID}",
            )
            for name in inputs
            if requests.is_of_history(name)
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            raw = {}
            for name, feature in self._raw_spec.items():
                value = tf.identity(inputs[name])
                if isinstance(feature, tf.io.FixedLenFeature):
                    raw[name] = tf.reshape(value, [-1, *feature.shape])
                else:
                    value = value if name in self._lists else value[:, tf.newaxis]
                    raw[name] = tf.RaggedTensor.from_tensor(value).to_sparse()
        return self._with_moment(raw)

    def _with_moment(self, raw: dict[str, Any]) -> dict[str, Any]:
        """With the moment of a history, of windows that have one, where it is not told."""
        if names.MOMENT not in raw:
            return raw
        return {**raw, names.MOMENT: moments.told(raw[names.MOMENT], raw[names.HISTORY_TIMESTAMP])}

    def _answer(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        read = {name: features[name] for name in self.model.inputs_read}
        found = self._probabilities.value(read)
        return {step: found[:, place] for place, step in enumerate(self.model.exposures.steps)}


def _is_list(feature: Any) -> bool:
    return feature is not None and len(feature.shape) > 0
