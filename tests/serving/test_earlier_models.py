"""The client asks models, too, that were exported when a history had no prefix."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

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
            index = [2 if e[prefix + "item_id"].bytes_list.value[0] == b"i1" else 1 for e in examples]
            return 1, {f"{prefix}item_index": np.array(index)[:, np.newaxis]}

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
