"""Models of labels of periods: what is served equals what training saw, from the windows that the log is cut into."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen import splits
from components.behavior_example_gen.windows.period import Period
from components.transform import fields, spec
from components.transform.windows import period as preprocessing
from pipeline import cli
from schemas import names
from serving import conversion, export, moments, objectives, requests
from tests import exposure_fixtures, fixtures
from tests.components.behavior_example_gen.cutting import test_outcomes
from trainer.settings import bpcm, mlp, model, sasrec

COLUMNS = window_spec.Columns.from_values(
    {
        "behavior": "behavior",
        "item": {"category": "category", "price": {"column": "price", "type": "numeric"}},
        "context": {"amount": {"column": "amount", "type": "numeric"}},
    }
)
WINDOW = test_outcomes.make_window(length=6)
FEATURES = spec.FeaturesSpec.from_values(
    {"options": {"item_price": {"buckets": 3}, "context_amount": {"boundaries": [2, 4, 1e6]}}}
)
_LISTS = (names.HISTORY_PREFIX, names.FUTURE_PREFIX, names.SEEN_ITEM_ID)
LABELS = tuple(test_outcomes.LABELS)


def _plain(row):
    """A window as plain values, what the transform graph is made of."""
    return {
        name: value if name.startswith(_LISTS) and name != names.HISTORY_LENGTH else value[0]
        for name, value in row.items()
        if name != "split"
    }


def _serialized(row):
    example = tf.train.Example()
    for name, values in row.items():
        feature = example.features.feature[name]
        if name == "split":
            del example.features.feature[name]
        elif values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        elif values:
            feature.int64_list.value.extend(values)
    return example.SerializeToString()


@pytest.fixture(scope="module")
def rows():
    # Moments are ms since the epoch here, and 0 is one that is not told.
    found, _ = test_outcomes.cut(
        test_outcomes.make_log(2), WINDOW, window_spec.SplitSpec(by=("time",)), splits.Cuts(600, 800)
    )
    return [row for row in found if row["moment"] != [0]]


@pytest.fixture(scope="module")
def output(rows, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("labelled"))
    config = {"window": WINDOW.to_json(), "features": FEATURES.to_json(), "columns": COLUMNS.to_json()}
    schema = Period().schema(WINDOW, COLUMNS, window_spec.SplitSpec(), max_skew=1.0, max_drift=1.0)
    examples = [_plain(row) for row in rows]
    fixtures.transform_once(
        folder,
        examples,
        schema,
        lambda inputs: preprocessing.preprocessing_fn(inputs, config),
        made_of=("labels of periods", examples, config),
    )
    return tft.TFTransformOutput(os.path.join(folder, "transform"))


@pytest.fixture(scope="module")
def known(output):
    return fields.load_fields(output, WINDOW, FEATURES, COLUMNS)


@pytest.fixture(scope="module")
def features(rows, output):
    parsed = tf.io.parse_example([_serialized(row) for row in rows], output.raw_feature_spec())
    return output.transform_features_layer()(parsed)


def test_fields_are_of_users_moments_and_events(rows, features, known):
    by_name = {field.name: field for field in known}
    assert list(by_name) == [
        "user_id",
        "hour_of_day",
        "day_of_week",
        "history_item",
        "history_behavior",
        "history_item_category",
        "history_context_amount",
        "history_item_price",
        "history_size",
        "history_gap",
    ]
    for field in known:
        values = features[field.key].numpy()
        assert values.shape == ((len(rows), 6) if field.kind == fields.INDICES else (len(rows),))
        assert 0 <= values.min() and values.max() < field.size, field
    for label in LABELS:
        assert features[names.LABEL_PREFIX + label].numpy().tolist() == [
            row[names.LABEL_PREFIX + label][0] for row in rows
        ]
    amounts = features["history_context_amount_index"].numpy()
    for row, found in zip(rows, amounts):
        given = row["history_context_amount"]
        assert (found[-len(given) :] == names.PADDING_INDEX).tolist() == np.isnan(given).tolist()
    sizes = features["history_size_index"].numpy() - names.FIRST_INDEX
    assert sizes.tolist() == [int(np.log2(len(row["history_item_id"]))) + 1 for row in rows]


def _asked(row):
    """A window as a client writes it: the user, the moment and the history."""
    history = {
        name: value
        for name, value in row.items()
        if requests.is_of_history(name) and name != names.HISTORY_LENGTH
    }
    events = [
        {key: v.decode() if isinstance(v, bytes) else v for key, v in event.items()}
        for event in requests.events(history)
    ]
    for event in events:
        if np.isnan(event["context_amount"]):
            del event["context_amount"]
    return {"user_id": row["user_id"][0].decode(), "moment": row["moment"][0], "history": events}


@pytest.fixture(scope="module")
def base(output, known, tmp_path_factory):
    """The folder of an export as version 7."""
    folder = tmp_path_factory.mktemp("served")
    target = str(folder / "7")
    export.export_model(exposure_fixtures.LinearModel(known, LABELS), output, target, objective="labels")
    return folder


@pytest.fixture(scope="module")
def served(base):
    return tf.saved_model.load(str(base / "7"))


@pytest.fixture(scope="module")
def offline(known, features):
    return exposure_fixtures.LinearModel(known, LABELS).probabilities(features).numpy()


def _ask(served, asked):
    takes = {
        name: _Info(spec)
        for name, spec in served.signatures[requests.PREDICT].structured_input_signature[1].items()
    }
    inputs = requests.of_exposures(takes, asked)
    answer = served.signatures[requests.PREDICT](
        **{name: tf.constant(value, takes[name].spec.dtype) for name, value in inputs.items()}
    )
    return np.stack([answer[label].numpy() for label in LABELS], axis=1)


class _Info:
    """What `TensorInfo` says of an input."""

    def __init__(self, spec):
        self.spec, self.dtype = spec, spec.dtype.as_datatype_enum
        self.tensor_shape = spec.shape.as_proto()


def test_requests_and_examples_are_answered_as_offline(rows, served, offline):
    np.testing.assert_allclose(_ask(served, [_asked(row) for row in rows]), offline, rtol=1e-5)
    examples = tf.constant([_serialized(row) for row in rows])
    for signature in ("serving_default", "evaluate"):
        answer = served.signatures[signature](examples=examples)
        assert sorted(answer) == sorted(LABELS)
        for place, label in enumerate(LABELS):
            np.testing.assert_allclose(answer[label], offline[:, place], rtol=1e-5)
    assert requests.PREDICT_CANDIDATES not in served.signatures
    outputs = {name: set(function.structured_outputs) for name, function in served.signatures.items()}
    assert objectives.of_outputs(outputs) == "labels"


def test_a_key_that_no_event_has_is_refused(rows, served):
    asked = _asked(rows[0])
    asked["history"][-1]["context_amuont"] = 3.0
    place = len(asked["history"]) - 1
    with pytest.raises(
        ValueError,
        match=f"^exposure 1: history, event {place}: unknown 'context_amuont'; the model takes behavior, context_amount, ",
    ):
        _ask(served, [_asked(rows[0]), asked])


def test_a_value_that_does_not_fit_is_named_by_its_line_and_event(rows, base, tmp_path, capsys):
    """Lines that are empty count, and of an event the key is named that was sent."""
    fine = next(row for row in map(_asked, rows) if len(row["history"]) > 2)
    odd = {**fine, "history": [*fine["history"][:2], {**fine["history"][2], "context_amount": "3,39"}]}
    file = tmp_path / "asked.jsonl"
    lines = ["", json.dumps(fine, default=float), "", json.dumps(odd, default=float)]
    file.write_text("\n".join(lines) + "\n")
    assert cli.execute(["predict", str(base), "--exposures", str(file)]) == 2
    said = capsys.readouterr().err
    assert said == f"footfall: {file} line 4: history, event 2: context_amount is a number, found '3,39'\n"


def test_users_of_whom_no_event_counts_are_named(rows, base, tmp_path, capsys):
    """None at all, none before the moment, or none that is near enough to it; they are answered as before."""
    fine = next(row for row in map(_asked, rows) if "context_amount" in row["history"][-1])
    (event, moment), past = (fine["history"][-1], fine["moment"]), round(1000 * WINDOW.past)

    def alone(time):
        return {"moment": moment, "history": [{**event, "timestamp": time}]}

    asked = [
        *(fine, {}, {"history": []}),
        *(alone(moment), alone(moment - past - 1), alone(moment - past), alone(moment - 1)),
    ]
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(row, default=float) + "\n" for row in asked))
    assert cli.execute(["predict", str(base), "--exposures", str(file)]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(asked)
    said = [line for line in printed.err.splitlines() if "no event" in line]
    assert said == [
        f"footfall: warning: {file} line 2, 3, 4, 5: no event in the period before the moment that the model was trained on, so "
        "the answer is that of any user without history; training had none"
    ]


def test_what_is_not_before_the_moment_does_not_count(rows, served, offline):
    asked = [_asked(row) for row in rows]
    past = round(1000 * WINDOW.past)
    for row in asked:
        event = dict(row["history"][-1])
        row["history"] = [
            {**event, "timestamp": row["moment"] - past - 1, "item_id": "i3"},
            *row["history"],
            {**event, "timestamp": row["moment"]},
            {**event, "timestamp": row["moment"] + 9, "behavior": "buy"},
        ]
    np.testing.assert_allclose(_ask(served, asked), offline, rtol=1e-5)


@pytest.mark.parametrize("later", [10 * 3_600_000, 3 * 86_400_000])
def test_an_hour_or_a_weekday_of_no_training_moment_changes_no_answer(rows, served, offline, later):
    """All moments here are in one hour of one day, as those of whole days are in one hour."""
    asked = [_asked(row) for row in rows]
    for row in asked:
        row["moment"] += later
        row["history"] = [{**event, "timestamp": event["timestamp"] + later} for event in row["history"]]
    np.testing.assert_allclose(_ask(served, asked), offline, rtol=1e-5)


def test_a_history_shorter_than_any_of_training_is_as_long_as_the_shortest(rows, output):
    row = rows[0]
    nothing = {name: [] if requests.is_of_history(name) else value for name, value in row.items()}
    nothing[names.HISTORY_LENGTH] = row[names.HISTORY_LENGTH]
    parsed = tf.io.parse_example([_serialized(nothing)], output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)
    assert found["history_size_index"].numpy().tolist() == [names.FIRST_INDEX + 1]
    # All of training have a last event, which is longest ago of those that are nearest to a user without any.
    longest = output.transform_features_layer()(
        tf.io.parse_example([_serialized(one) for one in rows], output.raw_feature_spec())
    )["history_gap_index"]
    assert found["history_gap_index"].numpy().tolist() == [longest.numpy().max()]


def test_a_named_bucket_of_events_that_training_does_not_fill_is_the_nearest_that_it_does(rows, output):
    row = next(row for row in rows if np.isfinite(row["history_context_amount"][-1]))
    far = {**row, "history_context_amount": [*row["history_context_amount"][:-1], 1e9]}
    parsed = tf.io.parse_example([_serialized(one) for one in (*rows, far)], output.raw_feature_spec())
    found = output.transform_features_layer()(parsed)["history_context_amount_index"].numpy()
    assert found[-1, -1] == found[:-1].max() < names.FIRST_INDEX + 3


def test_a_moment_that_is_not_told_is_right_behind_the_last_event(rows, served):
    asked = [_asked(row) for row in rows]
    told = [{**row, "moment": row["history"][-1]["timestamp"] + 1} for row in asked]
    untold = [{name: value for name, value in row.items() if name != "moment"} for row in asked]
    np.testing.assert_array_equal(_ask(served, untold), _ask(served, told))
    assert moments.NOT_TOLD == requests.BLANKS["int64"]


def test_an_event_needs_an_item_and_a_time(rows, served):
    row = _asked(rows[0])
    del row["history"][0]["timestamp"]
    with pytest.raises(ValueError, match="^exposure 0: history, event 0: timestamp is missing; found "):
        _ask(served, [row])


def test_the_module_reads_what_fields_are_made_of(output, known):
    few = [field for field in known if field.name in ("user_id", "history_gap")]
    module = conversion.ConversionModule(exposure_fixtures.LinearModel(few, LABELS), output)
    takes = module.signatures()[requests.PREDICT].structured_input_signature[1]
    assert sorted(takes) == ["history_item_id", "history_timestamp", "moment", "user_id"]


def test_which_models_suit_which_windows():
    mlp.MLPSettings(name="mlp").check_window(WINDOW)
    for settings, window, message in (
        (bpcm.BPCMSettings(name="bpcm"), WINDOW, "needs window: {kind: exposure}"),
        (
            mlp.MLPSettings(name="mlp"),
            test_outcomes.make_window(labels={}, min_future=1),
            "mlp needs window.labels",
        ),
        (sasrec.SASRecSettings(name="sasrec"), WINDOW, "needs window.min_future of 1 or more"),
    ):
        with pytest.raises(model.WrongWindow, match=message):
            settings.check_window(window)
