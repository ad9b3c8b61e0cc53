"""What of the live model's inputs the windows have."""

import pytest
import tensorflow as tf

from components.evaluator import live
from schemas import names

PRICE, COLOR = "history_context_price", "item_color"


@pytest.fixture
def saved(tmp_path):
    """A function from the inputs of a model to its folder."""

    def save(name, *inputs):
        specs = {each: tf.TensorSpec([None], tf.string, name=each) for each in inputs}
        answer = tf.function(lambda **given: {"answer": tf.stack(list(given.values()))})
        examples = tf.function(
            lambda examples: {"answer": examples},
            input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
        )
        signatures = {"predict": answer.get_concrete_function(**specs), "evaluate": examples}
        module = tf.Module()
        module.answer, module.examples = answer, examples
        tf.saved_model.save(module, str(tmp_path / name), signatures=signatures)
        return str(tmp_path / name)

    return save


def test_inputs_that_are_gone_are_named(saved):
    candidate = saved("candidate", names.HISTORY_ITEM_ID, PRICE)
    assert live.unread(saved("same", names.HISTORY_ITEM_ID, PRICE), candidate) == []
    assert live.unread(saved("less", names.HISTORY_ITEM_ID), candidate) == []
    # A model that was exported when the features of a history had no prefix.
    assert live.unread(saved("earlier", names.ITEM_ID), candidate) == []
    assert live.unread(saved("other", names.HISTORY_ITEM_ID, COLOR, "moment"), candidate) == [COLOR, "moment"]
