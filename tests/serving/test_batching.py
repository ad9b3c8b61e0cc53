"""What the batching of TensorFlow Serving makes of unequal requests, and that it is off where that is wrong.

The server joins the requests of one signature along the first dimension. It pads the other dimensions of each
request's tensor, up to the largest of the batch, with the tensor's first element, and cuts the answer by rows.
"""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import client as client_lib
from serving import loaded_model, metadata, objectives
from tests import exposure_fixtures, fixtures

# Signatures whose inputs have nothing to pad.
SAFE = {"serving_default", "evaluate", "training_times"}
# Its sparse outputs cannot be cut by rows.
NOT_CUT = {"transform_features"}


class CannotPad(Exception):
    """As the server says it: an empty tensor in a batch of others."""


def padded(value, shape):
    more = [(0, 0), *((0, to - size) for to, size in zip(shape[1:], value.shape[1:]))]
    if not any(after for _, after in more):
        return value
    if not value.size:
        raise CannotPad
    return np.pad(value, more, constant_values=value.flat[0])


def batched(function, requests):
    """The answer to each request of a batch, as the server makes it."""
    joined = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        shape = np.max([part.shape for part in parts], axis=0)
        joined[name] = np.concatenate([padded(part, shape) for part in parts])
    outputs = answer(function, joined)
    rows = np.cumsum([len(next(iter(request.values()))) for request in requests])[:-1]
    cut = {name: np.split(value, rows) for name, value in outputs.items()}
    return [{name: parts[number] for name, parts in cut.items()} for number in range(len(requests))]


def answer(function, request):
    specs = loaded_model.specs_of(function)
    outputs = function(**{name: tf.constant(value, specs[name].dtype) for name, value in request.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def same(found, expected):
    return all(
        found[name].shape == value.shape
        and (np.array_equal if value.dtype == object else np.allclose)(found[name], value)
        for name, value in expected.items()
    )


@pytest.fixture(params=["toy", "shop"])
def asked(request):
    """Signatures of a model, and for each of them requests of one row and of different lengths."""
    folder = request.getfixturevalue(request.param)
    functions = dict(tf.saved_model.load(str(folder / "model")).signatures)
    known = {name: metadata.definition_of(function) for name, function in functions.items()}
    if request.param == "toy":
        windows = fixtures.random_windows(60, 20, seed=5, behaviors=True)
        lengths = {len(window[names.HISTORY_ITEM_ID]): fixtures.serialize(window) for window in windows}
        examples = [lengths[length] for length in (2, 5, 8)]
    else:
        rows = exposure_fixtures.generate(60, seed=8)
        lengths = {len(row[names.HISTORY_ITEM_ID]): exposure_fixtures.serialize(row) for row in rows}
        examples = [lengths[length] for length in (1, 3, 6)]
    objective = objectives.get("ranking" if request.param == "toy" else "labels")
    made = [objective.make_requests(known, [example]) for example in examples]
    return functions, {name: [one[name] for one in made] for name in functions}


def test_batches_are_right_where_nothing_can_be_padded_and_wrong_elsewhere(asked):
    """Why the server's batching is off; if this fails as more is safe, it may be turned on for that."""
    functions, requests = asked
    wrong = set()
    for name in sorted(set(functions) - NOT_CUT):
        alone = [answer(functions[name], request) for request in requests[name]]
        try:
            together = batched(functions[name], requests[name])
        except CannotPad:
            wrong.add(name)
            continue
        if not all(map(same, together, alone)):
            wrong.add(name)
    assert wrong == set(functions) - SAFE - NOT_CUT


def test_a_client_sends_batches_that_any_server_takes():
    """TensorFlow Serving's own bound on a batch, where somebody turns batching on, is often 128 rows."""
    with client_lib.Client("localhost:1") as client:
        assert [len(rows) for rows in client._batches(range(300))] == [128, 128, 44]
