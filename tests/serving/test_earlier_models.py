"""The client asks models, too, that were exported when a history had no prefix."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from pipeline import ask
from serving import client as client_lib

TIME = 1_600_000_000_000
HISTORY = [{"item_id": "i1", "timestamp": TIME}, {"item_id": "i2", "timestamp": TIME + 1}]


def signature(*inputs, outputs=()):
    made = meta_graph_pb2.SignatureDef()
    for name in inputs:
        made.inputs[name].dtype = tf.string.as_datatype_enum
    for name in outputs:
        made.outputs[name].dtype = tf.float32.as_datatype_enum
    return made


@pytest.fixture
def asked(monkeypatch):
    """A function from the prefix of a model's inputs to a client, and what is sent to the model."""
    sent = {}

    def connect(prefix):
        inputs = [prefix + "item_id", prefix + "timestamp"]
        known = {
            "embed": signature(*inputs),
            "evaluate": signature("examples", outputs=["rank"]),
            "transform_features": signature("examples"),
        }

        def predict(self, name, inputs, *of_version, **options):
            sent[name] = inputs
            if name == "embed":
                return 1, {"embedding": np.zeros([1, 2], np.float32)}
            examples = [tf.train.Example.FromString(e).features.feature for e in inputs["examples"]]
            # Of a vocabulary with i1 alone.
            index = [
                [2 if item == b"i1" else 1 for item in e[prefix + "item_id"].bytes_list.value]
                for e in examples
            ]
            assert all(
                len(row) == len(e[prefix + "timestamp"].int64_list.value) for row, e in zip(index, examples)
            )
            longest = max(map(len, index))
            return 1, {f"{prefix}item_index": np.array([row + [0] * (longest - len(row)) for row in index])}

        monkeypatch.setattr(client_lib.Client, "_known", lambda self: (1, known))
        monkeypatch.setattr(client_lib.Client, "_predict", predict)
        return client_lib.Client("localhost:1"), sent

    return connect


@pytest.mark.parametrize("prefix", ["", "history_"])
def test_a_history_has_the_names_that_the_model_takes(asked, prefix):
    client, sent = asked(prefix)
    assert client.embed([HISTORY]).shape == (1, 2)
    assert {name: value.tolist() for name, value in sent["embed"].items()} == {
        f"{prefix}item_id": [["i1", "i2"]],
        f"{prefix}timestamp": [[TIME, TIME + 1]],
    }
    assert client.unknown({"history_item_id": ["i1", "odd"]}) == {"history_item_id": ["odd"]}


@pytest.mark.parametrize("prefix", ["", "history_"])
def test_a_history_without_events_is_named(asked, prefix, capsys):
    client, _ = asked(prefix)
    histories = [HISTORY, [], HISTORY[:1], []]
    assert client.without_events("embed", histories, [None] * 4) == [1, 3]
    ask._warn_of_empty(client, "embed", [f"h line {n}" for n in range(1, 5)], histories, [None] * 4)
    assert capsys.readouterr().err == (
        "footfall: warning: h line 2, 4: no event, so the answer is that of any user without history; training had none\n"
    )
