"""`footfall predict` and the client: nothing that they are given is taken in silence."""

import json
import time
import warnings

import grpc
import numpy as np
import pytest

from pipeline import cli
from serving import client as client_lib
from serving import counted, training_times, vocabularies

NOW = int(time.time() * 1000)
HISTORY = [{"item_id": f"i{n}", "behavior": "view", "timestamp": 1_600_000_000_000 + n} for n in (1, 2)]


@pytest.fixture(scope="module")
def client(toy_server):
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", "toy", timeout_s=60.0) as connected:
        yield connected


@pytest.fixture
def predict(toy_server, capsys):
    """A function from arguments of `footfall predict` to the code, what was printed and what was said."""

    def run(*arguments, model=None):
        code = cli.execute(
            ["predict", model or f"127.0.0.1:{toy_server.grpc_port}", "--name", "toy", *arguments]
        )
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_blanks_are_no_part_of_an_excluded_id(predict):
    code, printed, said = predict("--items", "i1, i2", "-k", "3", "--json")
    first, second = json.loads(printed)["item_id"][:2]
    assert code == 0 and said == ""
    for excluded in (f"{first},{second}", f" {first} ,\t{second},"):
        _, printed, _ = predict("--items", " i1,i2 ", "--exclude", excluded, "-k", "20", "--json")
        assert not {first, second} & set(json.loads(printed)["item_id"])


def test_what_the_model_does_not_know_is_named(predict, client, tmp_path):
    code, _, said = predict(
        "--items", "i1,ghost,i2", "--behavior", "vew", "--exclude", "i3,nothing", "--json"
    )
    assert code == 0 and said.splitlines() == [
        "footfall: warning: history_item_id 'ghost': not known to the model, which takes it for any unknown value",
        "footfall: warning: history_behavior 'vew': not known to the model, which takes it for any unknown value",
        "footfall: warning: item_id 'nothing': not known to the model: nothing to exclude",
    ]
    many = [f"x{n}" for n in range(600)]
    found = client.unknown({"history_item_id": ["i1", *many[:300], "i2", *many[300:], "i3"]})
    assert found == {"history_item_id": many}
    asked = {"history_item_id": ["i1"], "history_behavior": ["view", "odd", "buy"]}
    assert client.unknown(asked) == {"history_behavior": ["odd"]}
    with pytest.raises(ValueError, match="'item_id' has no vocabulary; history_item_id, history_behavior,"):
        client.unknown({"item_id": ["i1"]})
    assert client.unknown({}) == {}


@pytest.mark.parametrize(
    "unit, times",
    [
        ("seconds", [1_600_000_000]),
        ("microseconds", [1_600_000_000_000_000]),
        ("nanoseconds", [1_600_000_000_000_000_000]),
    ],
)
def test_times_of_another_unit_are_refused(predict, tmp_path, unit, times):
    history = [{**HISTORY[0], "timestamp": 1_600_000_000_000}, {**HISTORY[1], "timestamp": times[0]}]
    (tmp_path / "h.jsonl").write_text(json.dumps(history) + "\n")
    code, printed, said = predict("--history", str(tmp_path / "h.jsonl"))
    assert code == 2 and not printed
    assert f"{tmp_path / 'h.jsonl'} line 1, event 1: timestamp {times[0]}" in said and unit in said


def test_a_number_is_that_of_the_history_and_not_of_its_batch(client):
    """A client sends 128 at once."""
    asked = [HISTORY] * 130
    asked[129] = [HISTORY[0], {**HISTORY[1], "item_id": 2.5}]
    for ask in (client.recommend, client.embed, lambda histories: client.rank(histories, ["i1"])):
        with pytest.raises(ValueError, match="^history 129, event 1: item_id is a text, found 2.5$"):
            ask(asked)
    places = [f"h.jsonl line {2 * number}" for number in range(130)]
    for ask in (client.recommend, client.embed):
        with pytest.raises(ValueError, match="^h.jsonl line 258, event 1: item_id is a text"):
            ask(asked, places=places)


def of_one_event(folder, time):
    (folder / "h.jsonl").write_text(json.dumps([{**HISTORY[0], "timestamp": time}]) + "\n")
    return ["--history", str(folder / "h.jsonl")]


@pytest.mark.parametrize("odd", [NOW, NOW + 10**10, 10**12], ids=["now", "future", "long ago"])
def test_times_far_from_those_of_training_are_warned_of(predict, tmp_path, odd):
    code, printed, said = predict(*of_one_event(tmp_path, odd))
    assert (
        code == 0
        and printed
        and said.startswith(f"footfall: warning: {tmp_path / 'h.jsonl'} line 1, event 0: timestamp {odd} is ")
    )
    assert said.endswith(", far from the times that the model was trained on (2020-09-13 to 2020-09-13)\n")
    assert len(said.splitlines()) == 1


def test_no_time_is_an_error_where_training_has_times(predict, tmp_path):
    code, printed, said = predict(*of_one_event(tmp_path, 0))
    assert (code, printed) == (2, "") and "trained on times from 2020-09-13 to 2020-09-13" in said


@pytest.mark.parametrize(
    "odd, words", [(0, "before 1990-01-01"), (NOW + 10**10, "after")], ids=["no time", "future"]
)
def test_of_a_model_that_does_not_tell_its_training_only_odd_times_are_named(
    predict, tmp_path, monkeypatch, odd, words
):
    known = client_lib.Client._known

    def without(self):
        version, told = known(self)
        return version, {name: of for name, of in told.items() if name != training_times.SIGNATURE}

    monkeypatch.setattr(client_lib.Client, "_known", without)
    code, printed, said = predict(*of_one_event(tmp_path, odd))
    assert code == 0 and printed and words in said and len(said.splitlines()) == 1
    assert predict(*of_one_event(tmp_path, NOW))[::2] == (0, "")


def test_a_client_warns_once_of_times_far_from_training(toy_server):
    """Whatever is in a warning's text is kept as long as the process is."""
    address, texts = f"127.0.0.1:{toy_server.grpc_port}", []
    histories = [[{**HISTORY[0], "timestamp": NOW + number}] for number in range(20)]
    with (
        client_lib.Client(address, "toy", timeout_s=60.0) as asking,
        warnings.catch_warnings(record=True) as all_said,
    ):
        warnings.simplefilter("always")
        for history in histories:
            asking.recommend([history])
    (said,) = [one for one in all_said if one.category is training_times.TimeWarning]
    assert str(said.message) == (
        "times of requests to 'toy' are far from training (2020-09-13 to 2020-09-13), or in the future: odd_times of a client "
        "is told which"
    )
    with client_lib.Client(address, "toy", timeout_s=60.0, odd_times=texts.append) as asking:
        for history in histories:
            asking.recommend([history])
    assert len(texts) == 20 and texts[7].startswith(f"history 0, event 0: timestamp {NOW + 7} is ")


def test_a_client_tells_the_times_of_training(client):
    day = 86_400_000
    first = HISTORY[0]["timestamp"] // day * day
    assert client.training_times() == training_times.Range(first, first + day - 1)


@pytest.mark.parametrize(
    "model, words",
    [
        ("http://127.0.0.1:8501", "Perhaps 127.0.0.1:8500?"),
        ("localhost", "the port is missing"),
        ("localhost:port", "host:port"),
        ("127.0.0.1:1", "no server answers there"),
        ("runs/nothing", "no version of a model there"),
    ],
)
def test_addresses_and_folders_that_are_none(predict, model, words):
    code, printed, said = predict("--items", "i1", model=model)
    assert (code, printed) == (2, "") and words in said and len(said.splitlines()) == 1


def test_the_rest_port_is_told_from_the_grpc_port(toy_server, predict):
    start = time.monotonic()
    code, _, said = predict("--items", "i1", model=f"127.0.0.1:{toy_server.rest_port}")
    assert code == 2 and "perhaps it is the REST port" in said and len(said.splitlines()) == 1
    # No second try can help.
    assert time.monotonic() - start < 9


@pytest.mark.parametrize("k", [True, 2.0, np.float32(2), float("nan"), -1, 2**31, "3", None])
def test_a_number_of_items_is_one(client, k):
    with pytest.raises(ValueError, match="k is how many items are wanted"):
        client.recommend([HISTORY], k)


def test_numbers_of_numpy_are_numbers(client):
    plain = client.recommend([HISTORY], 3, ["5"])
    odd = [{**event, "timestamp": np.int64(event["timestamp"])} for event in HISTORY]
    assert client.recommend([odd], np.int32(3), [np.int64(5)]) == plain


@pytest.mark.parametrize(
    "odd, words",
    [
        ([[1, 2]], "history 0, event 0 is an object with item_id and timestamp, found 1"),
        (HISTORY, "history 0 is a list of events, found {'item_id': 'i1'"),
        ([HISTORY, ["i1"]], "history 1, event 0 is an object with item_id and timestamp, found 'i1'"),
        (["i1"], "history 0 is a list of events, found 'i1'"),
        ([None], "history 0 is a list of events, found None"),
    ],
)
def test_what_is_no_list_of_events_is_told(client, odd, words):
    takes = client.metadata()["recommend"].inputs
    for ask in (
        client.recommend,
        client.embed,
        vocabularies.of_histories,
        lambda histories: counted.examples(takes, histories, [None] * len(histories)),
    ):
        with pytest.raises(ValueError) as caught:
            ask(odd)
        assert str(caught.value).startswith(words)


@pytest.mark.parametrize("given", ["i1", b"i1"])
def test_one_text_is_no_list_of_ids(client, given):
    with pytest.raises(ValueError, match="exclude is a list of ids"):
        client.recommend([HISTORY], 3, given)


def test_k_over_the_limit_of_the_command(predict):
    assert predict("--items", "i1", "-k", str(2**31))[0] == 2


def test_an_error_of_the_server_is_a_sentence(toy_server):
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", "other", timeout_s=20) as other:
        with pytest.raises(grpc.RpcError) as caught:
            other.versions()
    assert (
        client_lib.explain(caught.value, "here") == "here: NOT_FOUND: no model 'other'; this server has 'toy'"
    )
