"""What of the live model's inputs the windows have."""

import json

import pytest
import tensorflow as tf

from components.evaluator import live
from schemas import names
from serving import networks

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


BY_TIME = {"by": ["time"], "held_out_share": 0.1}
LEFT_OUT = {"by": ["leave_one_out"], "held_out_share": 0.1}
HELD_OUT = {"by": ["held_out_users"], "held_out_share": 0.1}


@pytest.mark.parametrize(
    "live_tells, candidate_tells, known",
    [
        ({"last_day": "2024-05-30"}, {"last_day": "2024-05-31"}, None),
        ({"last_day": "2024-05-31"}, {"last_day": "2024-05-31"}, None),
        (
            {"last_day": "2024-06-01"},
            {"last_day": "2024-05-31"},
            "events up to 2024-06-01, where the candidate has learnt from those up to 2024-05-31",
        ),
        ({"split": LEFT_OUT}, {"split": LEFT_OUT}, None),
        ({"split": BY_TIME}, {"split": LEFT_OUT}, "the last event of each user"),
        ({"split": HELD_OUT}, {"split": HELD_OUT}, None),
        (
            {"split": HELD_OUT},
            {"split": {**HELD_OUT, "held_out_share": 0.2}},
            "20% of the users, who are held out",
        ),
        ({"split": BY_TIME}, {"split": HELD_OUT}, "10% of the users, who are held out"),
        # Versions before they told, or where only one tells.
        ({}, {}, None),
        ({}, {"last_day": "2024-05-31", "split": LEFT_OUT}, None),
        ({"last_day": "2024-06-01", "split": BY_TIME}, {}, None),
    ],
)
def test_a_live_model_that_knows_what_is_tested_is_told_of(tmp_path, live_tells, candidate_tells, known):
    folders = {name: tmp_path / name for name in ("live", "candidate")}
    for name, tells in (("live", live_tells), ("candidate", candidate_tells)):
        path = folders[name] / networks.SETTINGS
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(tells))
    assert live.knows(str(folders["live"]), str(folders["candidate"])) == known
