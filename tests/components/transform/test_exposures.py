"""Features of exposures against NumPy and values worked out by hand."""

import collections
import math

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from components.behavior_example_gen import spec as window_spec
from components.transform import attributes, fields, spec
from schemas import names, times
from tests import exposure_fixtures

HOUR = 3_600_000
SECOND = 1000
FEATURES = spec.FeaturesSpec.from_values(
    {
        "options": {
            "item_id": {"min_count": 11},
            "user_id": {"max_size": 10},
            "item_price": {"encode": "log_z_score"},
            "user_age": {"encode": "z_score"},
            "context_place": {"buckets": 4},
            "item_tags": {"max_values": 2},
        }
    }
)
ROWS = exposure_fixtures.generate(240, seed=1)
for _row in ROWS[:40]:
    _row["item_price"] = -3.0
# As of shops: the median is nothing against the largest, and one price is all but constant.
ROWS[0]["item_price"] = 1e6
# For the times of training: over 15 days, but for one event far in the future.
for _number, _row in enumerate(ROWS):
    _row[names.TIMESTAMP] += _number % 15 * times.DAY_MS
    _row[names.HISTORY_TIMESTAMP] = [
        time + _number % 15 * times.DAY_MS for time in _row[names.HISTORY_TIMESTAMP]
    ]
ROWS[7][names.TIMESTAMP] = 4_102_444_800_000


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("transform"))
    return exposure_fixtures.build_transform_output(folder, ROWS, FEATURES)


@pytest.fixture(scope="module")
def found(output):
    return transform(output, ROWS)


@pytest.fixture(scope="module")
def known(output):
    return fields.load_fields(output, exposure_fixtures.WINDOW, FEATURES, exposure_fixtures.COLUMNS)


def transform(output, rows):
    serialized = [exposure_fixtures.serialize(values) for values in rows]
    parsed = tf.io.parse_example(serialized, output.raw_feature_spec())
    return {name: value.numpy() for name, value in output.transform_features_layer()(parsed).items()}


def indices(output, table):
    """The index of each value of a table's vocabulary."""
    values = output.vocabulary_by_name(fields.vocabulary_name(table))
    return {value.decode(): names.FIRST_INDEX + place for place, value in enumerate(values)}


def test_fields_are_what_the_graph_makes(output, found, known):
    keys = [field.key for field in known]
    labels = {names.LABEL_PREFIX + step for step in exposure_fixtures.STEPS}
    assert len(set(keys)) == len(keys)
    # A history has what it has in windows of any kind, fields or not.
    assert set(found) == {*keys, *labels, *names.HISTORY_PLACES, names.USER_HASH, names.USER_HEAD}
    for field in known:
        value = found[field.key]
        assert value.dtype == (np.float32 if field.kind == fields.VALUE else np.int64)
        assert value.ndim == (2 if field.kind == fields.INDICES else 1)
        if field.kind != fields.VALUE:
            assert 0 <= value.min() and value.max() < field.size
    by_name = {field.name: field for field in known}
    assert by_name["history_item"].table == by_name["item_id"].table == "item_id"
    assert by_name["history_item"].size == by_name["item_id"].size
    assert by_name["history_behavior"].table == by_name["history_same_behavior"].table == "behavior"
    assert by_name["item_price"].kind == fields.VALUE and by_name["item_price"].size == 0


def test_items_count_as_exposures(output, found):
    counts = collections.Counter(values[names.ITEM_ID] for values in ROWS)
    frequent = {item for item, count in counts.items() if count >= 11}
    index = indices(output, "item_id")
    assert set(index) == frequent and 0 < len(frequent) < len(counts)
    assert [counts[item] for item in index] == sorted((counts[item] for item in index), reverse=True)
    expected = [index.get(values[names.ITEM_ID], names.OOV_INDEX) for values in ROWS]
    np.testing.assert_array_equal(found["item_id_index"], expected)
    # The history speaks of the same items.
    for row, values in enumerate(ROWS):
        items = [index.get(item, names.OOV_INDEX) for item in values[names.HISTORY_ITEM_ID]]
        padding = [names.PADDING_INDEX] * (exposure_fixtures.WINDOW.history - len(items))
        assert found["history_item_index"][row].tolist() == padding + items


def test_largest_vocabulary(output, found):
    counts = collections.Counter(values[names.USER_ID] for values in ROWS)
    index = indices(output, "user_id")
    assert len(index) == 10
    least = min(counts[user] for user in index)
    assert all(count <= least for user, count in counts.items() if user not in index)
    assert (found["user_id_index"] == names.OOV_INDEX).sum() == sum(
        count for user, count in counts.items() if user not in index
    )


def test_one_and_several_values(output, found):
    colors, tags = indices(output, "item_color"), indices(output, "item_tags")
    assert set(colors) == {"red", "green", "blue"}
    for row, values in enumerate(ROWS):
        assert found["item_color_index"][row] == colors.get(values["item_color"], names.PADDING_INDEX)
        first = [tags[tag] for tag in values["item_tags"]][:2]
        assert found["item_tags_index"][row].tolist() == first + [names.PADDING_INDEX] * (2 - len(first))
    odd = {**ROWS[0], "item_tags": ["", "sale", "unknown", "new"], "item_color": "unknown"}
    (row,) = transform(output, [odd])["item_tags_index"].tolist()
    # An empty value takes no place, an unknown one does.
    assert row == [tags["sale"], names.OOV_INDEX]
    assert transform(output, [odd])["item_color_index"].tolist() == [names.OOV_INDEX]


def test_scores_of_numbers(found):
    ages = np.array([np.nan if v["user_age"] is None else v["user_age"] for v in ROWS], np.float64)
    expected = (ages - np.nanmean(ages)) / np.nanstd(ages)
    np.testing.assert_allclose(found["user_age_value"], np.nan_to_num(expected), rtol=1e-5, atol=1e-6)
    prices = np.array([np.nan if v["item_price"] is None else v["item_price"] for v in ROWS], np.float64)
    logs = np.sign(prices) * np.log1p(np.abs(prices))
    expected = (logs - np.nanmean(logs)) / np.nanstd(logs)
    np.testing.assert_allclose(found["item_price_value"], np.nan_to_num(expected), rtol=1e-5, atol=1e-6)
    assert np.isnan(prices).any() and (found["item_price_value"][np.isnan(prices)] == 0).all()


def test_buckets_of_numbers(output, found):
    places = np.array([values["context_place"] for values in ROWS])
    bucket = found["context_place_index"]
    # The more, the higher; equal numbers are together; four buckets of about equal size.
    order = np.argsort(places, kind="stable")
    assert (np.diff(bucket[order]) >= 0).all()
    assert all(len(set(bucket[places == place])) == 1 for place in set(places))
    shares = np.bincount(bucket - names.FIRST_INDEX, minlength=4) / len(places)
    assert len(shares) == 4 and shares.min() > 0.12
    far = [{**ROWS[0], "context_place": value} for value in (None, float("nan"), float("inf"), -1e30, 1e30)]
    assert transform(output, far)["context_place_index"].tolist() == [0, 0, 0, 2, 5]


def test_time(output, found):
    # Thursday 1970-01-01 14:30 and 23:30, Monday 1970-01-05 00:00 and 08:00 (UTC); training is from 12 to 17, and once at 0.
    assert set(found["hour_of_day_index"] - 2) == {0, 12, 13, 14, 15, 16}
    times = [14 * HOUR + HOUR // 2, 23 * HOUR + HOUR // 2, 4 * 24 * HOUR, (4 * 24 + 8) * HOUR]
    values = transform(output, [{**ROWS[0], names.TIMESTAMP: time} for time in times])
    assert values["hour_of_day_index"].tolist() == [2 + 14, 2 + 0, 2 + 0, 2 + 12]
    assert values["day_of_week_index"].tolist() == [2 + 3, 2 + 3, 2 + 0, 2 + 0]


def exposure(items, behaviors, seconds_before, item="i1"):
    time = ROWS[0][names.TIMESTAMP]
    return {
        **ROWS[0],
        names.ITEM_ID: item,
        names.HISTORY_ITEM_ID: items,
        names.HISTORY_BEHAVIOR: behaviors,
        names.HISTORY_SCENE: ["home"] * len(items),
        names.HISTORY_TIMESTAMP: [int(time - SECOND * s) for s in seconds_before],
    }


@pytest.mark.parametrize(
    "rows,size,gap,same",
    [
        (exposure([], [], []), 0, None, 0),
        (exposure(["i1"], ["view"], [1]), 1, 1, 1),
        (exposure(["i1", "i2"], ["view"] * 2, [9, 0.5]), 2, 0, 1),
        (exposure(["i1", "i1", "i1"], ["view"] * 3, [99, 70, 64]), 2, 7, 3),
        (exposure(["i1", "i9", "i1", "i1", "i1"], ["view"] * 5, [99] * 4 + [63]), 3, 6, 3),
        # An item that no vocabulary knows is the same, too.
        (exposure(["x", "i2"], ["view"] * 2, [86_500, 86_400], item="x"), 2, 17, 1),
        # The last one is so by its time.
        (exposure(["x", "i2"], ["view"] * 2, [9, 86_400], item="x"), 2, 4, 1),
        (exposure(["i2"], ["view"], [10**9]), 1, 26, 0),
        # What is not before the exposure is no part of the history.
        (exposure(["i1"], ["view"], [0]), 0, None, 0),
        (exposure(["i1", "i2", "i1"], ["view", "view", "cart"], [9, 0, -5]), 1, 4, 1),
    ],
)
def test_what_is_told_of_the_history(output, found, rows, size, gap, same):
    """As the nearest that training has tells it."""
    values = transform(output, [rows])
    for name, value in (("size", size), ("same", same), ("gap", gap)):
        trained = np.setdiff1d(found[f"history_{name}_index"], [names.PADDING_INDEX]) - names.FIRST_INDEX
        nearest = None if value is None else min(trained, key=lambda one: abs(one - value))
        expected = names.PADDING_INDEX if value is None else names.FIRST_INDEX + nearest
        assert values[f"history_{name}_index"].tolist() == [expected]
    if gap:
        assert gap == min(math.floor(math.log2(max(1, _seconds(rows)))) + 1, 26)


def _seconds(values):
    exposed = values[names.TIMESTAMP]
    return (exposed - max(time for time in values[names.HISTORY_TIMESTAMP] if time < exposed)) // SECOND


def test_behaviors_of_the_history(output):
    index = indices(output, fields.BEHAVIOR_TABLE)
    assert set(index) == {"view", "cart", "buy"}
    row = exposure(["i1", "i2", "i1", "i3"], ["view", "cart", "buy", "odd"], [4, 3, 2, 1])
    values = transform(output, [row])
    view, cart, buy = index["view"], index["cart"], index["buy"]
    assert values["history_behavior_index"].tolist() == [[0, 0, view, cart, buy, names.OOV_INDEX]]
    assert values["history_same_behavior_index"].tolist() == [[0, 0, view, 0, buy, 0]]


def test_the_last_events_of_a_long_history_and_padding_in_it(output):
    items = [f"i{n}" for n in range(20)]
    row = exposure(items, ["view"] * 20, range(20, 0, -1))
    recent = exposure(items[-6:], ["view"] * 6, range(6, 0, -1))
    # Empty ids are no events, wherever they stand; their other columns do not matter.
    holes = exposure(
        ["", *items[-6:-3], "", *items[-3:], ""],
        ["buy", "view", "view", "view", "buy", "view", "view", "view", "buy"],
        [9, 6, 5, 4, 9, 3, 2, 1, -99],
    )
    values = transform(output, [row, recent, holes])
    for name, value in values.items():
        if name.startswith("history_"):
            np.testing.assert_array_equal(value[0], value[1], name)
            np.testing.assert_array_equal(value[2], value[1], name)
    assert values["history_size_index"].tolist() == [names.FIRST_INDEX + 3] * 3


def test_events_at_the_exposure_or_later_count_for_nothing(output):
    """As in the windows that a log is cut into: of one moment neither sees the other. All that is earlier counts."""
    items, behaviors = ["i1", "i2", "i3", "i1"], ["view", "cart", "buy", "view"]
    seconds = [10**8, 70, 64, 0.001]
    row = exposure(items, behaviors, seconds)
    more = exposure([*items, "i1", "i1", "i2"], [*behaviors, "view", "cart", "buy"], [*seconds, 0, -1, -99])
    within = exposure(
        ["i1", *items[:3], "i2", items[3]],
        ["cart", *behaviors[:3], "buy", "view"],
        [0, *seconds[:3], -7, seconds[3]],
    )
    values = transform(output, [row, more, within])
    for name, value in values.items():
        # A logarithm's last bit is another one at another place of a batch.
        np.testing.assert_allclose(value[1], value[0], rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(value[2], value[0], rtol=1e-6, err_msg=name)
    assert values["history_size_index"].tolist() == [names.FIRST_INDEX + 3] * 3


def test_events_without_times_count(output):
    row = {**exposure(["i1", "i2"], ["view"] * 2, [9, 1]), names.HISTORY_TIMESTAMP: []}
    values = transform(output, [row])
    assert values["history_size_index"].tolist() == [names.FIRST_INDEX + 2]
    assert values["history_gap_index"].tolist() == [names.PADDING_INDEX]


def test_labels_and_users_pass(found):
    for step in exposure_fixtures.STEPS:
        key = names.LABEL_PREFIX + step
        assert found[key].tolist() == [values[key] for values in ROWS]
    heads = [values[names.USER_FREQUENCY] == names.HEAD for values in ROWS]
    assert found[names.USER_HEAD].tolist() == [int(head) for head in heads]
    users = [values[names.USER_ID] for values in ROWS]
    assert len(set(found[names.USER_HASH].tolist())) == len(set(users))


def test_the_order_and_the_batch_do_not_matter(output, found):
    order = np.random.default_rng(0).permutation(len(ROWS))
    for name, value in transform(output, [ROWS[row] for row in order]).items():
        np.testing.assert_array_equal(value, found[name][order], name)
    for name, value in transform(output, ROWS[7:8]).items():
        np.testing.assert_array_equal(value[0], found[name][7], name)


def test_constant_and_missing_attributes(tmp_path):
    """What says nothing in training gives nothing later, whatever comes."""
    rows = [
        {
            **values,
            "item_color": "",
            "item_tags": [],
            "item_price": None,
            "user_age": 0.1,
            "context_place": 7.0,
            "user_country": "same",
        }
        for values in ROWS[:30]
    ]
    for place, values in enumerate(rows):
        values[names.HISTORY_ITEM_ID], values[names.HISTORY_BEHAVIOR], values[names.HISTORY_TIMESTAMP] = (
            [],
            [],
            [],
        )
        values[names.USER_ID] = "" if place % 2 else "u"
    output = exposure_fixtures.build_transform_output(str(tmp_path), rows, FEATURES)
    values = transform(output, [rows[0], rows[1], ROWS[1]])
    assert values["item_price_value"].tolist() == values["user_age_value"].tolist() == [0, 0, 0]
    assert values["item_color_index"].tolist() == [0, 0, names.OOV_INDEX]
    assert values["user_id_index"].tolist() == [names.FIRST_INDEX, 0, names.OOV_INDEX]
    assert (values["item_tags_index"][:2] == 0).all()
    assert values["context_place_index"][0] == values["context_place_index"][1] > 0
    known = fields.load_fields(output, exposure_fixtures.WINDOW, FEATURES, exposure_fixtures.COLUMNS)
    for field in known:
        assert field.kind == fields.VALUE or values[field.key].max() < field.size


def test_what_is_switched_off_is_no_field():
    few = spec.FeaturesSpec(ids=("item_id",), time=False, scene=False, history=False)
    sizes = {"item_id": 5, "item_color": 3, "item_tags": 4, "user_country": 2, "context_device": 2}
    columns = exposure_fixtures.COLUMNS
    made = fields.fields_of(exposure_fixtures.WINDOW, few, columns, sizes)
    assert [f.name for f in made] == ["item_id", *sorted(columns.attributes())]
    assert set(sizes) == fields.vocabulary_tables(exposure_fixtures.WINDOW, few, columns)
    assert made[0] == fields.Field("item_id", "item_id_index", fields.INDEX, 5 + names.FIRST_INDEX, "item_id")
    # Settings read back from their text give the same order.
    again = window_spec.Columns.from_json(columns.to_json())
    assert fields.fields_of(exposure_fixtures.WINDOW, few, again, sizes) == made


def test_raw_inputs():
    sizes = dict.fromkeys(
        ["user_id", "item_id", "item_color", "item_tags", "user_country", "context_device", "scene"], 5
    )
    sizes |= {"context_place": 5, "behavior": 5}
    made = fields.fields_of(exposure_fixtures.WINDOW, FEATURES, exposure_fixtures.COLUMNS, sizes)
    by_name = {field.name: field for field in made}

    def raw(*names_):
        return fields.raw_inputs([by_name[name] for name in names_])

    assert raw("item_price", "item_tags") == ("item_price", "item_tags")
    assert raw("hour_of_day", "day_of_week") == ("timestamp",)
    # What a history is its times decide.
    assert raw("history_item") == ("history_item_id", "history_timestamp", "timestamp")
    assert raw("history_same") == ("history_item_id", "history_timestamp", "item_id", "timestamp")
    assert raw("history_gap", "user_id") == ("history_item_id", "history_timestamp", "timestamp", "user_id")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"boundaries": [1, 1]}, "boundaries rise, found"),
        ({"boundaries": [0, float("inf")]}, "finite number"),
        ({"boundaries": [0], "encode": "z_score"}, "boundaries go with encode: buckets, found z_score"),
        ({"boundaries": []}, "boundaries"),
    ],
)
def test_boundaries_that_are_none_are_refused(wrong, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        spec.FeatureSpec.from_values(wrong)


def test_buckets_end_where_the_options_say():
    options = spec.FeatureSpec.from_values({"boundaries": [0, 10, 100]})
    values = tf.constant([[-3.0, 0.0, 9.9], [10.0, 1e6, float("nan")]])
    # TFT notes buckets in the graph that they are made in.
    place = tf.function(lambda numbers: attributes.place(numbers, attributes.boundaries(numbers, options)))
    found = place(values).numpy()
    first = names.FIRST_INDEX
    assert found.tolist() == [[first, first + 1, first + 1], [first + 2, first + 3, names.PADDING_INDEX]]
    assert options.number_of_buckets == 4 and spec.FeatureSpec().number_of_buckets == 20
