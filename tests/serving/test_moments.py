"""Models of periods answer at a moment, of histories that are cut as training cut them."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from components.transform import vocabulary
from schemas import names
from serving import client as client_lib
from serving import metadata, moments, signatures
from serving.objectives import ranking
from tests import period_fixtures
from tests.period_fixtures import PAST_MS
from tests.serving import conftest

WINDOWS = period_fixtures.random_windows()
ASKED = WINDOWS[:6]
NOT_TOLD = 0


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return period_fixtures.analysed(str(tmp_path_factory.mktemp("transform")), WINDOWS)


@pytest.fixture(scope="module")
def known(output):
    return vocabulary.Vocabulary.load(output)


@pytest.fixture(scope="module", params=[False, True], ids=["seen may come again", "seen are left out"])
def served(output, known, request):
    model = period_fixtures.Model(known.size, len(known.scenes))
    module = signatures.ServingModule(model, output, exclude_seen=request.param)
    return module.signatures(), request.param


def events_of(window):
    return list(
        zip(window[names.HISTORY_ITEM_ID], window[names.HISTORY_SCENE], window[names.HISTORY_TIMESTAMP])
    )


def later(window):
    """Events at the moment of a window and after it."""
    return [("i7", "cart", window[names.MOMENT]), ("i8", "feed", window[names.MOMENT] + 1000)]


def earlier(window):
    """An event that is too old for the window's history."""
    return [("i6", "live", window[names.MOMENT] - PAST_MS - 1)]


def inputs(histories, now):
    """Requests of histories, lists of (item, scene, time)."""
    longest = max(map(len, histories))
    padded = [[*history, *[("", "", 0)] * (longest - len(history))] for history in histories]
    item, scene, time = ([[event[part] for event in row] for row in padded] for part in range(3))
    return {
        names.HISTORY_ITEM_ID: tf.constant(item),
        names.HISTORY_SCENE: tf.constant(scene),
        names.HISTORY_TIMESTAMP: tf.constant(time, tf.int64),
        names.MOMENT: tf.constant(now, tf.int64),
    }


def ask(functions, histories, now):
    """The answers of all signatures that take a history."""
    given, rows = inputs(histories, now), len(histories)
    k, items = tf.fill([rows], 50), tf.constant([[f"i{n}" for n in range(9)]] * rows)
    asked = {
        "recommend": {**given, "exclude": tf.fill([rows, 0], ""), "k": k},
        "recommend_scenes": {**given, "k": k},
        "rank": {**given, "candidates": items},
        "embed": given,
    }
    return {
        f"{name} {key}": value.numpy()
        for name, request in asked.items()
        for key, value in functions[name](**request).items()
    }


def equal(found, expected, names_of=None):
    for name in names_of or expected:
        np.testing.assert_array_equal(found[name], expected[name], name)


def test_events_at_the_moment_or_later_count_for_nothing(served):
    functions, _ = served
    now = [window[names.MOMENT] for window in ASKED]
    plain = ask(functions, [events_of(window) for window in ASKED], now)
    equal(ask(functions, [[*events_of(w), *later(w)] for w in ASKED], now), plain)
    # Wherever they stand; and they would have counted.
    equal(ask(functions, [[*later(w), *events_of(w)] for w in ASKED], now), plain)
    untold = ask(functions, [[*events_of(w), *later(w)] for w in ASKED], [NOT_TOLD] * 6)
    assert (untold["embed embedding"] != plain["embed embedding"]).any(axis=1).all()


def test_events_that_are_too_old_are_no_history(served):
    """But seen they were: as in evaluation, their items are not recommended by who recommends nothing twice."""
    functions, exclude_seen = served
    now = [window[names.MOMENT] for window in ASKED]
    plain = ask(functions, [events_of(window) for window in ASKED], now)
    found = ask(functions, [[*earlier(w), *events_of(w)] for w in ASKED], now)
    same = [name for name in plain if not (exclude_seen and name.startswith("recommend "))]
    equal(found, plain, same)
    for row, window in enumerate(ASKED):
        recommended = {item.decode() for item in found["recommend item_id"][row]} - {""}
        met = {*window[names.HISTORY_ITEM_ID], "i6"}
        assert recommended == {f"i{n}" for n in range(9)} - (met if exclude_seen else set())


def test_without_a_moment_it_is_right_after_the_last_event(served):
    functions, _ = served
    histories = [events_of(window) for window in ASKED]
    last = [max(time for _, _, time in history) for history in histories]
    plain = ask(functions, histories, [time + 1 for time in last])
    equal(ask(functions, histories, [NOT_TOLD] * 6), plain)
    old = [[("i6", "live", time - PAST_MS), *history] for time, history in zip(last, histories)]
    equal(ask(functions, old, [NOT_TOLD] * 6), plain, ["embed embedding", "rank score"])
    # A millisecond later, and so within the past.
    old = [[("i6", "live", time + 1 - PAST_MS), *history] for time, history in zip(last, histories)]
    found = ask(functions, old, [NOT_TOLD] * 6)["embed embedding"]
    assert (found != plain["embed embedding"]).any(axis=1).all()


def test_a_request_at_the_moment_of_a_window_is_answered_as_it_is_evaluated(served, known):
    functions, exclude_seen = served
    serialized = tf.constant([period_fixtures.serialize(window) for window in ASKED])
    evaluated = functions["evaluate"](examples=serialized)
    histories = [[*events_of(window), *later(window)] for window in ASKED]
    found = ask(functions, histories, [window[names.MOMENT] for window in ASKED])
    for row, window in enumerate(ASKED):
        target, met = window[names.TARGET_ITEM_ID], set(window[names.HISTORY_ITEM_ID])
        if not (exclude_seen and target in met):
            item = found["recommend item_id"][row].tolist().index(target.encode())
            score = found["recommend score"][row]
            # Ties count against the model.
            assert evaluated[names.RANK][row] == (score >= score[item]).sum()
        scene = found["recommend_scenes scene"][row].tolist().index(window[names.TARGET_SCENE].encode())
        score = found["recommend_scenes score"][row]
        assert evaluated[names.of_scene(names.RANK)][row] == (score >= score[scene]).sum()


def test_examples_may_tell_a_moment(served):
    functions, _ = served
    window = ASKED[0]
    events = [*events_of(window), *later(window)]
    longer = {**window}
    for name, part in ((names.HISTORY_ITEM_ID, 0), (names.HISTORY_SCENE, 1), (names.HISTORY_TIMESTAMP, 2)):
        longer[name] = [event[part] for event in events]
    example = tf.train.Example.FromString(period_fixtures.serialize(longer))
    del example.features.feature[names.MOMENT]
    untold = example.SerializeToString()
    last = {**longer, names.MOMENT: max(time for _, _, time in events) + 1}
    examples = [period_fixtures.serialize(one) for one in (window, longer, last)]
    for name in ("serving_default", "transform_features"):
        for value in functions[name](examples=tf.constant([*examples, untold])).values():
            one, two, three, four = tf.unstack(value)
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(three, four)


def test_a_history_without_events_is_answered(served):
    functions, _ = served
    found = ask(functions, [[("", "", 0)], later(ASKED[1])], [NOT_TOLD, ASKED[1][names.MOMENT]])
    assert np.isfinite(found["embed embedding"]).all()
    np.testing.assert_array_equal(*found["embed embedding"])


def test_a_history_without_events_has_one_moment_whoever_else_is_asked_about():
    """Beside others it is filled up with events of time 0."""
    alone = moments.told(
        tf.constant([0], tf.int64),
        tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int64), [0, 0]).to_sparse(),
    )
    times = tf.constant([[0, 0], [7, 9], [0, 5]], tf.int64)
    beside = moments.told(tf.constant([0, 0, 8], tf.int64), tf.RaggedTensor.from_tensor(times).to_sparse())
    assert alone.numpy().tolist() == [1] and beside.numpy().tolist() == [1, 10, 8]


@pytest.fixture(scope="module")
def client(periods, tmp_path_factory):
    with conftest.serving(tmp_path_factory.mktemp("base"), periods, "model") as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as asking:
            yield asking


def history_of(events):
    return [{"item_id": item, "scene": scene, "timestamp": time} for item, scene, time in events]


def test_a_client_tells_the_moment(client):
    window = ASKED[2]
    plain, longer = (
        history_of(events) for events in (events_of(window), [*events_of(window), *later(window)])
    )
    now = window[names.MOMENT]
    for name, more in (("recommend", ()), ("recommend_scenes", ()), ("rank", (["i1", "i2"],)), ("embed", ())):
        asked = getattr(client, name)
        found, expected, without = (
            asked([history], *more, **told)
            for history, told in ((longer, {"now": now}), (plain, {}), (longer, {}))
        )
        same, other = (str(np.asarray(one)) for one in (found, without))
        assert same == str(np.asarray(expected)) != other, name


@pytest.mark.parametrize(
    "now, words",
    [(1_600_000_000, "^now 1600000000 .*seconds"), ("today", "^now is a whole number, found 'today'")],
)
def test_a_moment_that_is_none(client, now, words):
    with pytest.raises(ValueError, match=words):
        client.recommend([history_of(events_of(ASKED[0]))], now=now)


def test_a_model_that_is_asked_at_no_moment_is_not_sent_one(monkeypatch):
    """As one of windows of events, or one of periods that was exported before."""
    made = meta_graph_pb2.SignatureDef()
    for name in (names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP):
        made.inputs[name].dtype = tf.string.as_datatype_enum
    sent = {}

    def predict(self, name, given, *of_version, **options):
        sent.update(given)
        return 1, {"embedding": np.zeros([1, 2], np.float32)}

    monkeypatch.setattr(client_lib.Client, "_known", lambda self: (1, {"embed": made}))
    monkeypatch.setattr(client_lib.Client, "_renew", lambda self, deadline: (1, {"embed": made}))
    monkeypatch.setattr(client_lib.Client, "_predict", predict)
    asking = client_lib.Client("localhost:1")
    history = [{"item_id": "i1", "timestamp": 1_600_000_000_000}]
    asking.embed([history])
    assert set(sent) == {names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP}
    with pytest.raises(
        ValueError,
        match="now is for models of periods, and this one takes history_item_id, history_timestamp; found 16000",
    ):
        asking.embed([history], now=1_600_000_000_000)


def test_requests_are_made_at_the_moments_of_examples(served):
    known = {name: metadata.definition_of(function) for name, function in served[0].items()}
    made = ranking.make_requests(known, [period_fixtures.serialize(window) for window in ASKED])
    for name in ("recommend", "recommend_scenes", "rank", "embed"):
        assert made[name][names.MOMENT].tolist() == [window[names.MOMENT] for window in ASKED]
        assert set(made[name]) == set(known[name].inputs)
