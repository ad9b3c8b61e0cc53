"""Models of before and of now are asked for the same windows."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from components.evaluator import loading
from schemas import names
from tests import fixtures

WINDOWS = [fixtures.window(items, "i1") for items in (["a", "b", "c"], ["a"], ["a", "b"])]
EXAMPLES = tf.constant([fixtures.serialize(window) for window in WINDOWS])


class _Counting(tf.Module):
    """Gives the length of a history as the rank, and the hours between its first and last event."""

    def __init__(self, prefix):
        super().__init__()
        self._item, self._time = prefix + names.ITEM_ID, prefix + names.TIMESTAMP

    def evaluate(self, examples):
        spec = {self._item: tf.io.VarLenFeature(tf.string), self._time: tf.io.VarLenFeature(tf.int64)}
        parsed = {
            name: tf.RaggedTensor.from_sparse(v) for name, v in tf.io.parse_example(examples, spec).items()
        }
        times = parsed[self._time]
        span = tf.reduce_max(times, axis=1) - tf.reduce_min(times, axis=1)
        return {names.RANK: parsed[self._item].row_lengths(), "hours": span // 3_600_000}

    def save(self, folder):
        embed = tf.function(lambda **inputs: {"embedding": inputs[self._item]}).get_concrete_function(
            **{self._item: tf.TensorSpec([None, None], tf.string, name=self._item)}
        )
        evaluate = tf.function(self.evaluate).get_concrete_function(
            tf.TensorSpec([None], tf.string, name="examples")
        )
        tf.saved_model.save(self, folder, {"embed": embed, "evaluate": evaluate})
        return folder


def load(folder):
    config = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="evaluate", model_type=tfma.TF_GENERIC)]
    )
    shared = loading.custom_eval_shared_model(
        eval_saved_model_path=folder, model_name="", eval_config=config, add_metrics_callbacks=None
    )
    return shared.model_loader.load()


@pytest.mark.parametrize("prefix", ["", names.HISTORY_PREFIX])
def test_a_history_is_found_by_models_of_either_time(tmp_path, prefix):
    folder = _Counting(prefix).save(str(tmp_path / "model"))
    assert loading.has_old_names(folder) == (prefix == "")
    signature = load(folder).signatures["evaluate"]
    found = signature(examples=EXAMPLES)
    assert found[names.RANK].numpy().tolist() == [3, 1, 2] and found["hours"].numpy().tolist() == [2, 0, 1]
    # What TFMA asks for.
    assert list(signature.structured_input_signature[1]) == ["examples"]


def test_other_features_of_an_example_stay():
    before = tf.train.Example.FromString(EXAMPLES[0].numpy()).features.feature
    after = tf.train.Example.FromString(loading.with_old_names(EXAMPLES[0].numpy())).features.feature
    assert set(after) == {*before, names.ITEM_ID, names.TIMESTAMP}
    assert all(after[name] == before[name] for name in before)
    np.testing.assert_array_equal(after[names.ITEM_ID].bytes_list.value, [b"a", b"b", b"c"])
