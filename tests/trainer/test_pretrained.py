"""A model of labels that starts from a pretrained network of users: the weights, the rows by value, and what is refused."""

import os

import numpy as np
import pytest
import tensorflow as tf

from components.transform import event_fields, vocabulary
from schemas import errors, names
from serving import networks
from tests import period_fixtures
from tests.serving import test_embedding
from tests.trainer.models import labels_harness, test_byb, test_byb_labels
from trainer import arguments, config, network, pretrained, warm_start
from trainer.evaluation import labels as evaluation
from trainer.loops import rows
from trainer.models import byb_labels, labels, users

served = test_embedding.served
BRAND = event_fields.EventField("item_brand", "item_brand")
# By the name of the vocabulary; a price has none, but buckets.
FIELDS = {
    "items": event_fields.ITEM,
    "scenes": event_fields.SCENE,
    "item_brand": BRAND,
    "context_price": test_byb.PRICE,
}
VALUES = {"name": "byb_labels", "dim": 8, "blocks": 1, "heads": 2, "bucket": "hour", "dropout": 0.0}


def build(sizes, values=VALUES, past=86_400.0, fields=FIELDS, boundaries=None, length=8):
    settings = config.TrainerSettings.from_values({"model": values}).model
    of_fields = {fields[name]: size for name, size in sizes.items()}
    known = users.Behaviors(of_fields, length, past, 3600.0, boundaries=boundaries or {})
    tf.keras.utils.set_random_seed(5)
    exposures = labels.Exposures(labels_harness.FIELDS, ("churn",), (0.4,), behaviors=known)
    model = byb_labels.BYBLabels(settings, exposures, seed=5)
    specs = {
        name: tf.zeros([1, 8], tf.float32 if name.endswith("_value") else tf.int64)
        for name in model.inputs_read
    }
    model({**specs, names.SECONDS_SINCE_LAST: tf.zeros([1])})
    return model


def vocabularies(path):
    return {name: warm_start.vocabulary_of(path, name) for name in ("items", "scenes", "item_brand")}


def sizes_of(known):
    return {**{name: len(values) for name, values in known.items()}, "context_price": 4}


def test_the_network_is_the_pretrained_one(served):
    path, windows, model, output = served
    known = vocabularies(path)
    other = build(sizes_of(known))
    before = [tower.numpy() for tower in other._towers[0].trainable_variables]
    found = pretrained.start(other, path, known)
    assert found["weights"] == found["of"] == len(other.users.variables)
    assert found["rows"] == {name: {"kept": len(values), "new": 0} for name, values in known.items()}
    raw = tf.io.parse_example(
        [period_fixtures.serialize(each) for each in windows[:5]], output.raw_feature_spec()
    )
    features = output.transform_features_layer()(raw)
    np.testing.assert_allclose(other.embed(features), model.encode(features), rtol=1e-5, atol=1e-6)
    for tower, value in zip(other._towers[0].trainable_variables, before):
        np.testing.assert_array_equal(tower, value)


def test_rows_go_by_value_and_new_ones_stay_as_they_were(served):
    path, _, model, _ = served
    known = vocabularies(path)
    items = [b"never met", *reversed(known["items"][2:])]
    other = build({**sizes_of(known), "items": len(items)})
    before = other.users.behaviors.variables_in_order[0].numpy()
    counts = {"items": {**dict.fromkeys(items, 1), b"never met": len(items) - 1}}
    found = pretrained.start(other, path, {**known, "items": items}, counts)
    assert found["rows"]["items"] == {"kept": len(items) - 1, "new": 1, "new_events": 0.5}
    assert "new_events" not in found["rows"]["scenes"] and not found["frozen"]
    table = other.users.behaviors.variables_in_order[0].numpy()
    theirs = model.users.behaviors.variables_in_order[0].numpy()
    first = names.FIRST_INDEX
    np.testing.assert_array_equal(table[:first], theirs[:first])
    np.testing.assert_array_equal(table[first], before[first])
    for row, item in enumerate(items[1:], first + 1):
        np.testing.assert_array_equal(table[row], theirs[first + known["items"].index(item)])


def test_in_a_frozen_network_new_values_are_unknown_ones(served):
    path, _, model, _ = served
    known = vocabularies(path)
    items = [b"never met", *known["items"]]
    frozen = build({**sizes_of(known), "items": len(items)}, {**VALUES, "base_model": path, "frozen": True})
    found = pretrained.start(frozen, path, {**known, "items": items})
    assert found["rows"]["items"]["new"] == 1 and found["frozen"]
    table = frozen.users.behaviors.variables_in_order[0].numpy()
    theirs = model.users.behaviors.variables_in_order[0].numpy()
    np.testing.assert_array_equal(table[names.FIRST_INDEX], theirs[names.OOV_INDEX])
    np.testing.assert_array_equal(table[names.FIRST_INDEX + 1 :], theirs[names.FIRST_INDEX :])


@pytest.mark.parametrize("column", ["items", "scenes", "item_brand"])
def test_a_column_of_which_nothing_is_known_is_another_one(served, column):
    path, *_ = served
    known = vocabularies(path)
    others = {**known, column: [b"other " + value for value in known[column]]}
    # No value at all is nothing that the pretraining should have met.
    empty = {**known, column: [vocabulary.NOTHING]}
    pretrained.start(build({**sizes_of(known), column: 1}), path, empty)
    message = (
        f"of the {len(known[column])} values of {column} \\(other .* it has met none in its pretraining, but "
    )
    with pytest.raises(errors.InputError, match=message):
        pretrained.start(build(sizes_of(known)), path, others)


@pytest.mark.parametrize("encoder", ["buckets", "causal"])
@pytest.mark.parametrize("options", [{"buckets": 4}, {"boundaries": [1, 10.5]}], ids=["number", "boundaries"])
def test_what_is_asked_before_the_log_is_read_is_what_a_model_tells(served, tmp_path, encoder, options):
    *_, output = served
    given = period_fixtures.settings_of(attributes=True, options={"context_price": options})
    values = {**VALUES, "encoder": encoder, **({} if encoder == "buckets" else {"bucket": "day"})}
    training = {"model": values, "exclude_seen": False, "checkpoint_root": ""}
    asked = network.asked(
        arguments.Arguments.from_values({**given.model_dump(mode="json"), "code": "", **training})
    )
    settings = config.TrainerSettings.from_values({"model": values}).model
    exposures = labels.Exposures(
        labels_harness.FIELDS, ("churn",), (0.4,), behaviors=users.Behaviors.load(output, given)
    )
    (tmp_path / "assets.extra").mkdir()
    pretrained.note(byb_labels.BYBLabels(settings, exposures), str(tmp_path))
    told = networks.told(str(tmp_path))
    assert told["network"] == asked["network"] and networks.differences(asked, told) == []
    assert {name: told[name] for name in asked} == asked
    assert {"dim", "blocks", "encoder"} <= set(asked) and "dropout" not in asked
    assert ("bucket" in asked) == (encoder == "buckets")


def test_all_that_the_values_say_of_another_network_is_told_at_once(served):
    path, *_ = served
    known = vocabularies(path)
    sizes = {**sizes_of(known), "context_price": 5}
    others = {**known, "items": [b"other " + value for value in known["items"]]}
    message = (
        r"of the \d+ values of items \(other .*\) it has met none .*; .*\(context_price\) is of shape .*; "
        r".*ages is of shape \[24, 8\], found \[48, 8\]: log.columns"
    )
    model = build(sizes, past=2 * 86_400.0)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(errors.InputError, match=message):
        pretrained.start(model, path, others)
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_a_network_of_other_columns_is_refused(served, told):
    """Also where as many columns have as many values; and where an earlier version has not told which they were."""
    path, _, model, _ = served
    known, region = vocabularies(path), event_fields.EventField("context_region", "context_region")
    sizes = sizes_of(known)
    fields = {**FIELDS, "item_brand": region}
    others = {**known, "context_region": known["item_brand"]}
    if told:
        pretrained.note(model, path)
    try:
        message = "scene, item_brand, context_price, found item_id, scene, context_region, context_price"
        with pytest.raises(errors.InputError, match=message if told else "no vocabulary of context_region"):
            pretrained.start(build(sizes, fields=fields), path, others)
        amount = event_fields.EventField("context_amount", "context_amount", numeric=True)
        other = build(sizes, fields={**FIELDS, "context_price": amount})
        if told:
            with pytest.raises(
                errors.InputError, match="context_price, found item_id, scene, item_brand, context_amount:"
            ):
                pretrained.start(other, path, known)
            # A past of as many buckets, and buckets that are as many.
            with pytest.raises(errors.InputError, match="with window.past 1d, found 23.5h: the same"):
                pretrained.start(build(sizes, past=84_600.0), path, known)
            other = build(sizes, boundaries={"context_price": (1.0, 2.0, 3.0)})
            message = r"options.context_price \{buckets: 4\}, found \{boundaries: \[1.0, 2.0, 3.0\]\}"
            with pytest.raises(errors.InputError, match=message):
                pretrained.start(other, path, known)
    finally:
        if told:
            os.remove(os.path.join(path, networks.SETTINGS))


def test_another_network_is_refused(served):
    path, _, model, _ = served
    known = vocabularies(path)
    sizes = sizes_of(known)
    for changed, message in (
        (
            {"sizes": {"items": sizes["items"]}},
            r"pretrained on other columns of the log, .* its weights are \d+",
        ),
        (
            {"sizes": {**sizes, "context_price": 5}},
            r"\(context_price\) is of shape \[6, 8\], found \[7, 8\]",
        ),
        ({"past": 2 * 86_400.0}, r"ages is of shape \[24, 8\], found \[48, 8\]: .*window.past"),
        ({"values": {**VALUES, "blocks": 2}}, "other settings"),
    ):
        with pytest.raises(errors.InputError, match=message):
            pretrained.start(build(**{"sizes": sizes, **changed}), path, known)
    # What weights do not tell, the settings beside them do.
    pretrained.note(model, path)
    try:
        for changed, message in (
            ({"heads": 4}, f"model.base_model: {path} was pretrained with model.heads 2, found 4:"),
            ({"bucket": "day"}, "with model.bucket hour, found day:"),
        ):
            with pytest.raises(errors.InputError, match=message):
                pretrained.start(build(sizes, {**VALUES, **changed}), path, known)
        pretrained.start(build(sizes, {**VALUES, "tower": [3]}), path, known)
        # All of it at once.
        message = "model.dim 8, found 4; model.blocks 1, found 2; log.columns .*; window.past 1d, found 2d:"
        with pytest.raises(errors.InputError, match=message):
            other = {name: size for name, size in sizes.items() if name != "scenes"}
            pretrained.start(build(other, {**VALUES, "dim": 4, "blocks": 2}, 2 * 86_400.0), path, known)
    finally:
        os.remove(os.path.join(path, networks.SETTINGS))


def test_causal_attention_has_a_vector_for_each_place_of_a_window(served, tmp_path):
    """Other encoders take windows of any length."""
    path, _, _, _ = served
    known = vocabularies(path)
    causal = {**VALUES, "encoder": "causal"}
    del causal["bucket"]
    (tmp_path / "assets.extra").mkdir()
    pretrained.note(build(sizes_of(known), causal), str(tmp_path))
    with pytest.raises(errors.InputError, match=r"window.length 8 \(with encoder: causal\), found 12:"):
        pretrained.start(build(sizes_of(known), causal, length=12), str(tmp_path), known)
    pretrained.note(build(sizes_of(known)), str(tmp_path))
    # All that is told fits; but there are no weights.
    with pytest.raises(tf.errors.OpError):
        pretrained.start(build(sizes_of(known), length=12), str(tmp_path), known)


def loop(folder, model, learning_rate=0.01, training=None, windows=8):
    settings = config.TrainerSettings.from_values(
        {
            "model": {**test_byb_labels.SMALL, **model},
            "training": {"epochs": 1, "batch_size": 4, "learning_rate": learning_rate, **(training or {})},
        }
    )

    def made():
        exposures = labels.Exposures(
            labels_harness.FIELDS, test_byb_labels.LABELS, (0.4, 0.1), behaviors=test_byb.KNOWN
        )
        return byb_labels.BYBLabels(settings.model, exposures, seed=3)

    read = (*test_byb.KNOWN.inputs_read, *labels.label_features(test_byb_labels.LABELS))

    def blocks(seed, rows):
        features = test_byb_labels.batch(seed, rows)
        return tf.data.Dataset.from_tensor_slices({name: features[name] for name in read}).batch(8)

    return rows.RowFit(
        made,
        settings.training,
        tf.distribute.MirroredStrategy(["CPU:0"]),
        blocks(1, windows),
        lambda model: evaluation.StepMetrics(model, blocks(5, 21), batch_size=8),
        str(folder / "checkpoints"),
    )


def moved(loop):
    """How far a training has moved the network, and the towers."""
    model = loop.model
    of_users = {variable.ref() for variable in model.users.variables}
    variables = [*model.users.variables, *model._towers[0].variables]
    before = [variable.numpy() for variable in variables]
    loop.run()
    parts = {True: 0.0, False: 0.0}
    for variable, value in zip(variables, before):
        part = variable.ref() in of_users
        parts[part] = max(parts[part], float(np.abs(variable.numpy() - value).max()))
    return parts[True], parts[False]


def test_a_frozen_network_stays_and_has_no_dropout(tmp_path):
    frozen = loop(tmp_path, {"base_model": "somewhere", "frozen": True, "dropout": 0.5})
    assert len(frozen._groups) == 1
    features = test_byb_labels.batch(2)
    np.testing.assert_array_equal(frozen.model.embed(features, training=True), frozen.model.embed(features))
    network, towers = moved(frozen)
    assert network == 0 < towers


@pytest.mark.parametrize("training", [{}, {"xla": True}])
def test_a_frozen_network_is_asked_once_for_each_window(training, tmp_path, monkeypatch):
    """What it trains is what it would with the network asked at each step."""
    frozen = {"base_model": "somewhere", "frozen": True, "dropout": 0.3}
    training = {"epochs": 5, "patience": 5, **training}
    once, always = (
        loop(tmp_path / name, frozen, training=training, windows=18) for name in ("once", "always")
    )
    found = once.run()
    asked = {names.EMBEDDING, *once.model.loss_inputs_read}
    assert set(once._rows.gather(tf.range(1))) == asked and set(once.evaluation._features) == {
        names.EMBEDDING
    }
    monkeypatch.setattr(byb_labels.BYBLabels, "settled", labels.LabelModel.settled)
    expected = always.run()
    assert len(always._rows.gather(tf.range(1))) > len(asked)
    for one, other in zip(found["epochs"], expected["epochs"]):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["auc"] == pytest.approx(other["auc"], abs=1e-9)
    for one, other in zip(once.model.variables, always.model.variables):
        np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(once.evaluation.logits(), always.evaluation.logits(), atol=1e-4)
    calibrated = [one.evaluation.calibrate()["log_loss_after"] for one in (once, always)]
    assert calibrated[0] == pytest.approx(calibrated[1], abs=1e-5)


def test_a_pretrained_network_may_follow_more_slowly(tmp_path):
    slow = loop(tmp_path, {"base_model": "somewhere", "base_rate": 0.125})
    first, second = slow._groups
    assert (first.name, second.name) == ("optimizer", "slow_optimizer")
    rates = [float(group.optimizer.learning_rate.numpy()) for group in slow._groups]
    assert rates == pytest.approx([0.01, 0.00125])
    assert {v.ref() for v in second.variables} == {v.ref() for v in slow.model.users.trainable_variables}
    network, towers = moved(slow)
    # Adam's steps are at most about the rate.
    assert 0 < network < 3 * 0.00125 < towers
