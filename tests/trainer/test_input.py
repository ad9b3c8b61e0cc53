"""Batches of windows that are held in memory."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from trainer import bucketing, grouping
from trainer import input as input_lib

LENGTH = 20


def columns(rows=37, seed=0):
    """Windows of 1 to 20 events; features of every shape that windows have."""
    rng = np.random.default_rng(seed)
    real = np.arange(LENGTH) >= LENGTH - rng.integers(1, LENGTH + 1, [rows, 1])
    values = {
        names.HISTORY_ITEM_INDEX: np.where(real, rng.integers(2, 9, [rows, LENGTH]), names.PADDING_INDEX),
        names.HISTORY_BEHAVIOR_INDEX: np.where(real, 3, names.PADDING_INDEX),
        names.HISTORY_LOG_GAP: np.where(real[:, :, None], rng.normal(size=[rows, LENGTH, 3]), 0.0),
        names.TARGET_ITEM_INDEX: np.arange(rows),
        "of_user": rng.normal(size=[rows, 2]),
        # As many as a window has places, by chance.
        "tags": rng.normal(size=[rows, LENGTH]),
    }
    return input_lib.columns(tf.data.Dataset.from_tensor_slices(values).batch(10))


def plan(held, batch_size=8, buckets=None):
    needed = bucketing.lengths(held[names.HISTORY_ITEM_INDEX].numpy())
    choice = bucketing.widths(needed, LENGTH, buckets)
    return (*bucketing.LengthBatches(needed, choice, batch_size).order(1, 0), choice)


def steps(*parts):
    return input_lib.epochs(lambda epoch: parts, [0])


def test_epochs_follow_one_another_and_the_first_may_have_begun():
    def order(epoch):
        return 100 * epoch + np.arange(6).reshape([3, 2]), np.full([3], epoch)

    found = [(rows.numpy().tolist(), int(one)) for rows, one in input_lib.epochs(order, range(2, 4), done=2)]
    assert found == [([204, 205], 2), ([300, 301], 3), ([302, 303], 3), ([304, 305], 3)]
    # Another iterator begins again.
    again = input_lib.epochs(order, [0])
    assert len(list(again)) == len(list(again)) == 3
    assert [spec.shape.as_list() for spec in again.element_spec] == [[2], []]


def test_a_batch_has_its_windows_without_the_padding_of_all():
    held = columns()
    rows, widths, choice = plan(held)
    assert len(choice) > 1 and len(set(widths)) > 1
    batches = list(input_lib.training_batches(held, steps(rows, widths), choice))
    assert len(batches) == len(rows)
    for batch, chosen, width in zip(batches, rows, widths):
        chosen = chosen[chosen != grouping.NOTHING]
        for name, value in batch.items():
            whole = held[name].numpy()[chosen]
            if name in (names.TARGET_ITEM_INDEX, "of_user", "tags"):
                np.testing.assert_array_equal(value, whole)
            else:
                np.testing.assert_array_equal(value, whole[:, LENGTH - width :])
                assert not whole[:, : LENGTH - width].any()


def test_one_width_is_known():
    held = columns()
    rows, widths, choice = plan(held, buckets=1)
    batches = input_lib.training_batches(held, steps(rows, widths), choice)
    assert batches.element_spec[names.HISTORY_ITEM_INDEX].shape.as_list() == [None, LENGTH]


@pytest.mark.parametrize("shares", [1, 2, 3])
@pytest.mark.parametrize("fill", [False, True])
def test_shares(shares, fill):
    """A batch's windows are in its shares, evenly, and filled places are nothing but padding."""
    held = columns()
    rows, widths, choice = plan(held)
    elements = list(input_lib.training_batches(held, steps(rows, widths), choice, shares=shares, fill=fill))
    assert len(elements) == shares * len(rows)
    for step, chosen in enumerate(rows):
        parts = elements[shares * step : shares * (step + 1)]
        sizes = [len(part[names.TARGET_ITEM_INDEX]) for part in parts]
        assert {part[names.HISTORY_ITEM_INDEX].shape[1] for part in parts} == {widths[step]}
        assert set(sizes) == {-(-8 // shares)} if fill else max(sizes) - min(sizes) <= 1
        found = {name: np.concatenate([part[name] for part in parts]) for name in held}
        real = found[names.HISTORY_ITEM_INDEX].any(axis=1)
        expected = chosen[chosen != grouping.NOTHING]
        assert sorted(found[names.TARGET_ITEM_INDEX][real]) == sorted(expected)
        assert fill or real.all()
        assert not any(value[~real].any() for value in found.values())


def test_columns_of_rows_of_any_length_are_as_wide_as_the_longest():
    rows = tf.RaggedTensor.from_row_splits(tf.range(2, 9, dtype=tf.int64), [0, 2, 2, 6, 7])
    whole = tf.data.Dataset.from_tensor_slices({"future": rows, "target": tf.range(4)})
    blocks = whole.batch(2).map(lambda block: {**block, "future": block["future"].to_sparse()})
    found = input_lib.columns(blocks)
    assert found["future"].numpy().tolist() == [[2, 3, 0, 0], [0] * 4, [4, 5, 6, 7], [8, 0, 0, 0]]
    assert found["target"].numpy().tolist() == [0, 1, 2, 3]


def on_host(found):
    """Whether all tensors are where columns are."""
    return {tf.DeviceSpec.from_string(value.device).device_index for value in found.values()} == {0}


def test_what_is_read_of_columns_is_read_on_the_host():
    """Operations go to a second device here, as they would to a GPU, which whole columns were copied to."""
    given, made = [], []

    def function(part):
        given.append(part)
        made.append({name: tf.identity(value) for name, value in part.items()})
        return made[-1]

    with tf.device("CPU:1"):
        held, rows = columns(), input_lib.Rows(columns())
        together = input_lib.joined([function(part) for part in input_lib.in_parts(held, 10)])
        some, one = input_lib.taken(held, np.array([36, 2])), rows.gather(tf.range(1))
        again = rows.mapped(function).gather(tf.constant([36, 2]))
    assert [len(part["of_user"]) for part in given] == [10, 10, 10, 7, 37]
    assert all(map(on_host, (*given, together, some, one, again)))
    # What is done with them is done where it was.
    assert not any(map(on_host, made))
    for name, value in held.items():
        np.testing.assert_array_equal(together[name], value)
        np.testing.assert_array_equal(some[name], value.numpy()[[36, 2]])
        np.testing.assert_array_equal(again[name], some[name])


def test_a_share_of_the_windows_is_drawn_by_the_seed_alone(tmp_path, monkeypatch):
    """Whatever is parsed of a window, it is in or out."""
    monkeypatch.setattr(input_lib, "_PARSE", 64)
    path = str(tmp_path / "windows.gz")
    with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
        for n in range(1000):
            one = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=[n])) for name in ("row", "also")
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=one)).SerializeToString())

    class Output:
        def transformed_feature_spec(self):
            return {name: tf.io.FixedLenFeature([], tf.int64) for name in ("row", "also")}

    def rows(name="row", **drawn):
        return input_lib.columns(input_lib.read([path], Output(), [name], **drawn))[name].numpy().tolist()

    assert rows() == list(range(1000))
    tenth = rows(share=0.1, seed=1)
    # Three standard deviations of a binomial of 1,000 and 0.1.
    assert abs(len(tenth) - 100) < 29 and tenth == sorted(set(tenth))
    assert rows("also", share=0.1, seed=1) == tenth != rows(share=0.1, seed=2)
    # The same block of another place has other draws.
    assert {n % 64 for n in tenth if n < 64} != {n % 64 for n in tenth if 64 <= n < 128}
    assert set(tenth) < set(rows(share=0.5, seed=1))
