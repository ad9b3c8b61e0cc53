"""A training that starts from another one's weights, with other values in its vocabularies."""

import types

import numpy as np
import pytest
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.transform import fields as fields_lib
from schemas import names
from serving import module
from tests.trainer.models import labels_harness
from trainer import reasons, warm_start
from trainer.layers import embedding
from trainer.layers import fields as field_layers
from trainer.models import ranking, sasrec
from trainer.settings import sasrec as sasrec_settings

_BEFORE = [b"a", b"b", b"c"]
# One more value than before, in another order, and one value gone.
_NOW = [b"new", b"c", b"a", b"newer"]


def built(items, length=4, dim=4, seed=1):
    """A SASRec with its variables; `tf.random` decides them."""
    tf.random.set_seed(seed)
    settings = sasrec_settings.SASRecSettings(name="sasrec", dim=dim, blocks=1, heads=1)
    model = sasrec.SASRec(settings, ranking.Catalogue(np.ones(items, np.int64), length), seed)
    model({names.HISTORY_ITEM_INDEX: tf.ones([1, length], tf.int64)}, training=False)
    return model


def saved(model, folder):
    tf.saved_model.save(module.HeldModel(model), str(folder), signatures={})
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model of three items that is live: its weights and its folder."""
    folder = tmp_path_factory.mktemp("base")
    model = built(len(_BEFORE))
    saved(model, folder / "model")
    (folder / "model" / "assets").mkdir(exist_ok=True)
    (folder / "model" / "assets" / names.ITEM_VOCABULARY).write_bytes(b"a\nb\nc\n")
    return model, str(folder / "model")


def test_rows_of_known_items_are_carried_over_and_new_ones_stay(base):
    earlier, folder = base
    model = built(len(_NOW), seed=2)
    fresh = [variable.numpy() for variable in model.serving_variables]
    started = warm_start.start(model, folder, {names.ITEM_VOCABULARY: _NOW})
    old = {row: vector for row, vector in zip(_BEFORE, earlier.item_table().numpy())}
    table = model.item_table().numpy()
    initial = fresh[0][names.FIRST_INDEX :]
    for row, value in enumerate(_NOW):
        np.testing.assert_array_equal(table[row], old.get(value, initial[row]))
    # Padding and unknown ids are nobody's.
    np.testing.assert_array_equal(
        model._items.table.numpy()[: names.FIRST_INDEX], earlier._items.table.numpy()[: names.FIRST_INDEX]
    )
    for before, after in zip(earlier.serving_variables[1:], model.serving_variables[1:]):
        np.testing.assert_array_equal(before.numpy(), after.numpy())
    count = len(model.serving_variables)
    assert started == {
        "from": folder,
        "weights": count,
        "of": count,
        "rows": {names.ITEM_VOCABULARY: {"kept": 2, "new": 2}},
    }


def test_weights_of_another_shape_stay_as_they_are(base):
    earlier, folder = base
    model = built(len(_NOW), length=6, seed=3)
    positions = model._positions.numpy()
    started = warm_start.start(model, folder, {names.ITEM_VOCABULARY: _NOW})
    assert started["weights"] == started["of"] - 1
    np.testing.assert_array_equal(model._positions.numpy(), positions)
    wider = built(len(_NOW), dim=8, seed=3)
    table = wider._items.table.numpy()
    warm_start.start(wider, folder, {names.ITEM_VOCABULARY: _NOW})
    np.testing.assert_array_equal(wider._items.table.numpy(), table)


def test_a_model_of_another_kind_gives_nothing(base):
    """Its weights have other names, although some have the shapes that are looked for."""
    _, folder = base

    class Other(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.other = self.add_weight(name="other", shape=[len(_BEFORE) + names.FIRST_INDEX, 4])

        @property
        def serving_variables(self):
            return [self.other]

    model = Other()
    before = model.other.numpy()
    assert warm_start.start(model, folder, {})["weights"] == 0
    np.testing.assert_array_equal(model.other.numpy(), before)


def test_each_field_of_an_exposure_has_its_own_vocabulary(tmp_path):
    def layer(colours, seed):
        tf.random.set_seed(seed)
        fields = (
            fields_lib.Field("colour", "colour_index", "index", colours + names.FIRST_INDEX, "colour"),
            fields_lib.Field("hour", "hour_index", "index", 3 + names.FIRST_INDEX, "hour"),
        )
        made = field_layers.FieldEmbedding(fields, 2)
        return types.SimpleNamespace(
            submodules=(made,),
            serving_variables=list(made.variables),
            trainable_variables=list(made.trainable_variables),
        ), made

    earlier, before = layer(2, seed=1)
    saved(earlier, tmp_path)
    (tmp_path / "assets").mkdir(exist_ok=True)
    (tmp_path / "assets" / "colour").write_bytes(b"red\nblue\n")
    model, now = layer(3, seed=2)
    fresh = now._tables["colour"].numpy()
    started = warm_start.start(model, str(tmp_path), {"colour": [b"green", b"blue", b"red"]})
    assert started["rows"] == {"colour": {"kept": 2, "new": 1}} and started["weights"] == 2
    old, first = before._tables["colour"].numpy(), names.FIRST_INDEX
    wanted = np.stack([old[0], old[1], fresh[first], old[first + 1], old[first]])
    np.testing.assert_array_equal(now._tables["colour"].numpy(), wanted)
    # Hours have no vocabulary: their rows are always the same.
    np.testing.assert_array_equal(now._tables["hour"].numpy(), before._tables["hour"].numpy())


def test_behaviours_are_no_items():
    layer = embedding.ItemEmbedding(2, 2, vocabulary=names.BEHAVIOR_VOCABULARY)
    assert [name for _, name in layer.vocabulary_rows] == [names.BEHAVIOR_VOCABULARY]


def test_the_reason_of_a_training_is_what_differs_from_the_one_before(tmp_path):
    folder = str(tmp_path / "log")
    parts = {"windows": "1", "settings": "1", "live model": ""}
    assert reasons.since(folder, parts) == reasons.FIRST
    reasons.keep(folder, parts, reason=reasons.FIRST)
    assert reasons.since(folder, parts) == reasons.AGAIN
    later = {**parts, "windows": "2", "live model": "/models/7"}
    assert reasons.since(folder, later) == "other windows, other live model"
    reasons.keep(folder, later, reason="other windows, other live model")
    lines = (tmp_path / "log" / reasons.FILE).read_text().splitlines()
    assert len(lines) == 2 and '"reason": "first training"' in lines[0]
    assert reasons.since(folder, {**later, "settings": "2"}) == "other settings"


@pytest.mark.parametrize("name", ["mlp", "omoe", "mmoe", "ple", "aitm", "esmm", "bpcm"])
@pytest.mark.parametrize("changed", ["nothing", "steps", "fields", "not told"])
def test_weights_of_labels_go_to_the_layers_that_they_are_of(tmp_path, name, changed):
    """Layers of several steps and fields have one name but for a number: with others, places would be those of others."""
    earlier = labels_harness.build({"name": name}, seed=1)
    folder = saved(earlier, tmp_path)
    told = {} if changed == "not told" else warm_start.described(earlier)
    steps = ("click", "buy", "cart") if changed == "steps" else labels_harness.STEPS
    fields = tuple(reversed(labels_harness.FIELDS)) if changed == "fields" else labels_harness.FIELDS
    model = labels_harness.build({"name": name}, 2, steps, fields=fields)
    before = [variable.numpy() for variable in model.serving_variables]
    started = warm_start.start(model, folder, {}, told)
    after = [variable.numpy() for variable in model.serving_variables]
    if changed == "nothing":
        for one, other in zip(earlier.serving_variables, after):
            np.testing.assert_array_equal(one.numpy(), other)
        assert started["weights"] == started["of"] > 0
        return
    tables = {variable.ref() for variable in (table.variable for table in warm_start.tables(model))}
    for variable, was, now in zip(model.serving_variables, before, after):
        if variable.ref() not in tables:
            np.testing.assert_array_equal(was, now)
    carried = {table.vocabulary: table.variable.numpy() for table in warm_start.tables(model)}
    for table in warm_start.tables(earlier):
        equal = np.array_equal(table.variable.numpy(), carried[table.vocabulary])
        # `mlp` has a model, and so a table, for each label.
        assert equal == (changed != "not told" and name != "mlp")
