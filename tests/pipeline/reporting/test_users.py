"""The panel of users: which there are, in which groups, and how far apart the groups are."""

import re
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from pipeline import cli
from pipeline.reporting import users
from schemas import errors, figures, names
from tests import fixtures, period_fixtures
from tests.pipeline import recorded_run
from tests.pipeline.reporting import test_report


def write_run(folder, model, windows, serialize=fixtures.serialize, window="{kind: next, length: 8}"):
    """The folder of a run that has cut windows and trained a model."""
    examples, trained = folder / "examples", folder / "model"
    (examples / "Split-test").mkdir(parents=True)
    for part in range(2):
        path = str(examples / "Split-test" / f"windows-{part}.gz")
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            for each in windows[part::2]:
                writer.write(serialize(each))
    shutil.copytree(model, trained / "Format-Serving")
    recorder = recorded_run.Recorder(folder)
    recorder.start("first")
    for name, key, kind, uri in (
        ("BehaviorExampleGen", "examples", "Examples", examples),
        ("Trainer", "model", "Model", trained),
    ):
        recorder.execution(name, outputs=[(key, recorder.artifact(kind, str(uri)))])
    (folder / "experiment.yaml").write_text(f"window: {window}\n")
    recorder.finish()
    return folder


@pytest.fixture(scope="module")
def windows():
    """Of 60 users with histories of 1 to 8 events; two of them have an earlier window, too, of one event."""
    found = fixtures.random_windows(60, 20, seed=4, behaviors=True)
    earlier = [
        {**fixtures.window(["i3"], "i4", ["view"], user=user), names.TARGET_TIMESTAMP: 1_500_000_000_000}
        for user in ("u7", "u8")
    ]
    for number, window in enumerate(found):
        # What a user met before tells more than a window that is full, and nothing beside one that is not.
        window[names.SEEN_ITEM_ID] = [f"i{n}" for n in range(number % 15)]
    return [*found[:30], *earlier, *found[30:]]


@pytest.fixture(scope="module")
def run(toy, windows, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "toy", toy / "model", windows)


def by_hand(toy, windows):
    """The number of events and the embedding of the last window of each user, one request each."""
    last = {}
    for window in sorted(windows, key=lambda window: window[names.TARGET_TIMESTAMP]):
        last[window[names.USER_ID]] = window
    model = tf.saved_model.load(str(toy / "model"))
    asked = model.signatures["embed"]
    found = []
    for window in last.values():
        history = {
            name: tf.constant([window[name]])
            for name in (names.HISTORY_ITEM_ID, names.HISTORY_BEHAVIOR, names.HISTORY_TIMESTAMP)
        }
        count = len(window[names.HISTORY_ITEM_ID])
        count = max(count, len(window[names.SEEN_ITEM_ID])) if count == 8 else count
        found.append((count, asked(**history)["embedding"].numpy()[0]))
    return np.array([count for count, _ in found]), np.array(
        [embedding for _, embedding in found], np.float64
    )


def test_the_panel_has_the_distances_of_the_groups(run, toy, windows, capsys):
    assert cli.execute(["report", str(run), "--users"]) == 0
    page = test_report._Page(capsys.readouterr().out.strip())
    counts, embeddings = by_hand(toy, windows)
    first, second = np.quantile(counts, [1 / 3, 2 / 3])
    member = {
        "low": counts <= first,
        "medium": (counts > first) & (counts < second),
        "high": counts >= second,
    }
    assert all(chosen.any() for chosen in member.values()) and len(counts) == 60
    for name, chosen in member.items():
        mean = embeddings[chosen].mean(axis=0)
        spread = np.sqrt(((embeddings[chosen] - mean) ** 2).sum(axis=1)).mean()
        cells = page.row("users", name)
        assert cells[2:] == [str(chosen.sum()), str(chosen.sum()), figures.metric(spread)]
        low, high = counts[chosen].min(), counts[chosen].max()
        # A window has at most 8 events.
        assert cells[1] == f"{low}–{high}" + (" or more" if high == 8 else "")
    for one, two in (("low", "medium"), ("low", "high"), ("medium", "high")):
        a, b = (embeddings[member[name]].mean(axis=0) for name in (one, two))
        cosine = 1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        euclidean = np.sqrt(((a - b) ** 2).sum())
        assert page.row("users", f"{one} and {two}")[1:] == [
            figures.metric(cosine),
            figures.metric(euclidean),
        ]
    drawn = re.findall(r'<path class="users s\d" d="([^"]*)"', page.source)
    assert [path.count("M") for path in drawn] == [chosen.sum() for chosen in member.values()]
    # Without being asked for, and so after each run, it is not there.
    assert cli.execute(["report", str(run)]) == 0
    assert "users" not in test_report._Page(capsys.readouterr().out.strip()).sections


def test_a_large_group_is_sampled_and_the_same_run_gives_the_same_panel(run, monkeypatch):
    monkeypatch.setattr(users, "_PER_GROUP", 7)
    found = users.users(str(run))
    assert [group["shown"] for group in found["groups"]] == [7, 7, 7]
    assert sum(group["users"] for group in found["groups"]) == 60
    assert users.users(str(run)) == found
    numbers = np.array(re.findall(r"-?\d+\.\d", "".join(group["path"] for group in found["groups"])), float)
    assert numbers.shape == (42,) and numbers.min() >= 12 and numbers.max() <= 468


@pytest.mark.parametrize(
    ("events", "groups"),
    (
        ([9, 1, 2, 8, 3, 7, 4, 6, 5], [2, 0, 0, 2, 0, 2, 1, 1, 1]),
        ([1, 1, 1, 1, 1, 2, 3], [0, 0, 0, 0, 0, 2, 2]),
        ([50, 50, 50, 50, 10, 50, 20], [2, 2, 2, 2, 0, 2, 0]),
        ([5, 5, 5], [2, 2, 2]),
    ),
)
def test_equal_numbers_of_events_are_in_one_group(events, groups):
    assert users.divided(np.array(events)).tolist() == groups


def test_distances_by_hand():
    embeddings = np.array([[3, 0], [1, 0], [0, 2], [-4, 0]], np.float32)
    found = users.distances(embeddings, np.array([0, 0, 1, 2]))
    assert [pair["between"] for pair in found] == [("low", "medium"), ("low", "high"), ("medium", "high")]
    assert [pair["cosine"] for pair in found] == pytest.approx([1, 2, 1])
    assert [pair["euclidean"] for pair in found] == pytest.approx([8**0.5, 6, 20**0.5])
    assert users.distances(embeddings[:2], np.array([1, 1])) == []
    assert np.isnan(users.distances(np.array([[0.0], [1.0]]), np.array([0, 2]))[0]["cosine"])


def test_what_has_no_map(toy, windows, tmp_path):
    few = write_run(tmp_path / "few", toy / "model", windows[:9])
    with pytest.raises(errors.InputError, match="at least 10 users with a test window, found 9"):
        users.users(str(few))
    module = tf.Module()
    function = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    silent = str(tmp_path / "silent")
    tf.saved_model.save(module, silent, signatures={"predict": function.get_concrete_function()})
    with pytest.raises(errors.InputError, match="no signature 'embed'"):
        users.users(str(write_run(tmp_path / "labels", silent, windows[:9])))
    same = [{**window, names.HISTORY_ITEM_ID: ["i1"] * 4} for window in windows]
    for window in same:
        window[names.HISTORY_BEHAVIOR], window[names.HISTORY_TIMESTAMP] = ["view"] * 4, [1] * 4
    with pytest.raises(errors.InputError, match="one embedding to all users"):
        users.users(str(write_run(tmp_path / "same", toy / "model", same)))


def test_users_of_periods_are_drawn_at_the_moments_of_their_windows(periods, tmp_path):
    """What comes after the moment, were it there, would count for nothing."""
    windows = period_fixtures.random_windows()
    for number, each in enumerate(windows):
        each[names.USER_ID] = f"u{number}"
    later = [{**each, names.HISTORY_ITEM_ID: [*each[names.HISTORY_ITEM_ID], "i1"]} for each in windows]
    for each in later:
        each[names.HISTORY_TIMESTAMP] = [*each[names.HISTORY_TIMESTAMP], each[names.MOMENT]]
        each[names.HISTORY_SCENE] = [*each[names.HISTORY_SCENE], "home"]
    found = []
    for name, made in (("plain", windows), ("later", later)):
        kind = "{kind: period, past: 1d, future: 1h, length: 100}"
        run_dir = write_run(tmp_path / name, periods / "model", made, period_fixtures.serialize, kind)
        found.append(users.users(str(run_dir)))
    assert found[0]["pairs"] == found[1]["pairs"] != []
    assert found[0]["noun"] == "period"


def test_numbers_of_events_are_asked_with_and_padded_by_nothing(monkeypatch):
    prices = "history_context_price"
    serialized, asked = [], []
    for items, values in ((["a", "b"], [1.5, 2.5]), (["c"], [3.5])):
        example = tf.train.Example.FromString(fixtures.serialize({names.HISTORY_ITEM_ID: items}))
        example.features.feature[prices].float_list.value.extend(values)
        serialized.append(example.SerializeToString())

    def embed(dense):
        asked.append(dense)
        return {names.EMBEDDING: np.zeros([2, 3])}

    monkeypatch.setattr(users, "_batches", lambda run: [(0, tf.constant(serialized))])
    monkeypatch.setattr(users.model, "Asker", lambda folder, inputs, question: embed)
    takes = users.model.Takes({name: name for name in (names.HISTORY_ITEM_ID, prices)}, frozenset([prices]))
    users._embedded(types.SimpleNamespace(model_dir="model"), takes, np.array([0, 1]))
    np.testing.assert_array_equal(asked[0][prices], [[1.5, 2.5], [3.5, np.nan]])
    np.testing.assert_array_equal(asked[0][names.HISTORY_ITEM_ID], [[b"a", b"b"], [b"c", b""]])
