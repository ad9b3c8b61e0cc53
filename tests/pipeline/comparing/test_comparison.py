"""Comparisons of runs: models with known ranks, asked through their signature."""

import functools
import gc
import json
import pathlib
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml

from pipeline.cli import parser
from pipeline.comparing import comparison, labels, page, ranking, runs, table
from schemas import errors, names
from tests.components.evaluator import harness as evaluator_harness
from tests.components.evaluator import test_conversion as exact
from tests.pipeline import recorded_run
from tests.pipeline.reporting import test_report

CATALOGUE = 1000


@pytest.fixture(scope="module", autouse=True)
def little_to_collect():
    """Each model that is asked is collected at once, and what other tests have left need not be gone through then."""
    gc.collect()
    gc.freeze()


class _Known(tf.Module):
    """Says that a target stands where the example's feature `rank` has it."""

    def __init__(self, catalogue=CATALOGUE, candidates=None, scenes=None):
        super().__init__()
        self._scenes = scenes
        self._catalogue, self._candidates = catalogue, candidates
        self.asked = tf.Variable(0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        rank = tf.io.parse_example(examples, {"rank": tf.io.FixedLenFeature([], tf.int64)})["rank"]
        size = tf.fill(tf.shape(rank), tf.constant(self._catalogue, tf.int64))
        answer = {names.RANK: rank, names.POPULARITY_RANK: rank, "catalogue_size": size}
        if self._scenes is not None:
            # Of the example's items the second is a step behind the first one, and every other example has one alone.
            second = tf.where(rank % 2 == 0, rank + 1, names.NO_ITEM_RANK)
            answer[names.of_period(names.RANK)] = tf.stack([rank, second], axis=1)
        if self._scenes:
            answer[names.of_scene(names.RANK)] = tf.minimum(rank, self._scenes + 1)
            answer[names.of_scene(names.CATALOGUE_SIZE)] = tf.fill(
                tf.shape(rank), tf.constant(self._scenes, tf.int64)
            )
        if self._candidates is not None:
            answer[names.CANDIDATES] = tf.fill(tf.shape(rank), tf.constant(self._candidates, tf.int64))
        return answer


def _example(window):
    features = {
        key: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if isinstance(value, int)
        else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        for key, value in window.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def window(user, item, time, rank, frequency=names.HEAD):
    return {
        names.USER_ID: user,
        names.TARGET_ITEM_ID: item,
        names.TARGET_TIMESTAMP: time,
        names.USER_FREQUENCY: frequency,
        "rank": int(rank),
    }


@functools.cache
def saved(catalogue, candidates, scenes):
    """The folder of such a model."""
    model, path = _Known(catalogue, candidates, scenes), tempfile.mkdtemp()
    tf.saved_model.save(model, path, signatures={"evaluate": model.evaluate})
    return path


def write_run(folder, windows, settings=None, catalogue=CATALOGUE, candidates=None, scenes=None):
    """A folder as a sweep leaves one for each seed."""
    (folder / "examples" / "Split-test").mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "examples" / "Split-test" / "windows-0.gz"), options) as writer:
        for each in windows:
            writer.write(_example(each))
    shutil.copytree(saved(catalogue, candidates, scenes), folder / "model" / "Format-Serving")
    uris = {"model": str(folder / "model"), "examples": str(folder / "examples")}
    (folder / runs.POINT).write_text(json.dumps(uris))
    (folder / runs.EXPERIMENT).write_text(
        yaml.safe_dump({"evaluation": {"cutoffs": [1, 10]}, **(settings or {})})
    )
    return str(folder)


def compared(a, b, **options):
    return comparison.compare(runs.find_runs(a), runs.find_runs(b), **options)


def of(found, metric, **slices):
    part = next(part for part in found.slices if dict(part.slice) == slices)
    return part, next(row for row in part.rows if row.metric == metric)


def test_values_by_hand_and_windows_that_only_one_has(tmp_path):
    a = [
        window("u1", "x", 1, 1),
        window("u1", "y", 2, 11),
        window("u2", "x", 1, 3, names.TAIL),
        window("u3", "x", 5, 2),
    ]
    # Out of order; u3's window is another one, and u4's is B's alone. An item outside the catalogue is a miss.
    b = [
        window("u4", "x", 1, 1),
        window("u2", "x", 1, 1, names.TAIL),
        window("u1", "y", 2, 5000),
        window("u3", "x", 6, 1),
        window("u1", "x", 1, 2),
    ]
    found = compared(write_run(tmp_path / "a", a), write_run(tmp_path / "b", b))
    assert (found.only_a, found.only_b, found.incomplete) == (1, 2, 0)
    part, mrr = of(found, "mrr")
    assert (part.windows, part.users) == (3, 2)
    assert mrr.a == pytest.approx((1 + 1 / 11 + 1 / 3) / 3) and mrr.b == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert mrr.difference == pytest.approx(mrr.b - mrr.a)
    assert of(found, "hr@1")[1].a == pytest.approx(1 / 3) and of(found, "hr@10")[1].b == pytest.approx(2 / 3)
    ndcg = of(found, "ndcg@10", user_frequency="tail")[1]
    assert (ndcg.a, ndcg.b) == (pytest.approx(0.5), pytest.approx(1.0))
    # Two users, sums -0.5 - 1/11 and 2/3: swapped they are further apart.
    assert mrr.p == 1.0
    assert json.loads(found.to_json())["slices"][0]["metrics"]["mrr"]["a"] == mrr.a


def random_runs(folder, side, seeds, better, users=60, **settings):
    """A folder with a run a seed; windows of a user are alike in both sides."""
    rng = np.random.default_rng(0)
    keys = [(f"u{user}", f"i{n}", n) for user in range(users) for n in range(1 + user % 3)]
    base = rng.integers(1, 60, len(keys))
    for seed in seeds:
        noise = np.random.default_rng([seed, better]).integers(-2, 3, len(keys))
        windows = [
            window(*key, max(1, rank // (2 if better else 1) + n)) for key, rank, n in zip(keys, base, noise)
        ]
        write_run(folder / side / f"seed-{seed}", windows, {"training": {"seed": seed}, **settings})
    return str(folder / side)


def test_seeds_are_averaged_and_their_spread_is_shown(tmp_path):
    a = random_runs(tmp_path, "a", (1, 2, 3), better=False, model={"name": "one"})
    b = random_runs(tmp_path, "b", (1, 2), better=True, model={"name": "two"})
    found = compared(a, b)
    assert len(found.a) == 3 and len(found.b) == 2
    assert found.differing == (("model.name", "one", "two"),)
    means = [of(compared(f"{a}/seed-{s}", b), "mrr")[1].a for s in (1, 2, 3)]
    row = of(found, "mrr")[1]
    assert row.a == pytest.approx(np.mean(means)) and row.a_sd == pytest.approx(np.std(means, ddof=1))
    assert row.b_sd > 0 and of(compared(f"{a}/seed-1", f"{b}/seed-1"), "mrr")[1].a_sd is None
    assert row.low > 0 and row.p < 0.01
    # A list is the same as the folder.
    assert of(compared(f"{a}/seed-1,{a}/seed-2,{a}/seed-3", b), "mrr")[1] == row


def test_all_of_a_period_and_the_next_scene_are_compared_where_both_tell_them(tmp_path):
    windows = [window("u1", "x", 1, 1), window("u1", "y", 2, 10), window("u2", "x", 1, 4)]
    a = write_run(tmp_path / "a", windows, scenes=3)
    found = compared(a, a)
    assert of(found, "scene_hr@10")[1].a == pytest.approx(1 / 3)
    # Of the items at ranks 1; 10 and 11; 4 and 5.
    assert of(found, "period_recall@10")[1].a == pytest.approx((1 + 1 / 2 + 1) / 3)
    b = write_run(tmp_path / "b", windows, scenes=0)
    found = compared(a, b)
    metrics = {row.metric for row in found.slices[0].rows}
    assert "period_ndcg@10" in metrics and not [name for name in metrics if name.startswith("scene_")]
    (note,) = (note for note in found.notes if "scene" in note)
    assert note == f"Metrics of the next scene are left out: the model of {b} ranks no scenes."


def test_swapping_the_sides_mirrors_the_numbers(tmp_path):
    a, b = random_runs(tmp_path, "a", (1,), better=False), random_runs(tmp_path, "b", (1,), better=True)
    forth, back = of(compared(a, b), "ndcg@10")[1], of(compared(b, a), "ndcg@10")[1]
    assert (forth.a, forth.difference) == (back.b, -back.difference)
    assert (forth.low, forth.high, forth.p) == pytest.approx((-back.high, -back.low, back.p))


def test_a_model_against_itself(tmp_path):
    a = random_runs(tmp_path, "a", (1,), better=False)
    row = of(compared(a, a), "ndcg@10")[1]
    assert (row.difference, row.low, row.high, row.p) == (0.0, None, None, 1.0)


def test_equal_windows_of_a_user_are_told_apart(tmp_path):
    """Twice the same item at the same time: four pairs would count each of them twice."""
    a = write_run(tmp_path / "a", [window("u", "x", 1, 1), window("u", "x", 1, 2), window("v", "x", 1, 1)])
    b = write_run(tmp_path / "b", [window("u", "x", 1, 4), window("u", "x", 1, 2), window("v", "x", 1, 1)])
    part, row = of(compared(a, b), "mrr")
    assert part.windows == 3 and row.difference == pytest.approx((1 / 4 - 1) / 3)


def test_the_model_is_asked_once_and_again_when_it_was_trained_anew(tmp_path, monkeypatch):
    path = tmp_path / "a"
    (run,) = runs.find_runs(write_run(path, [window("u", "x", 1, 7)]))
    first = ranking.ask(run)
    monkeypatch.setattr(ranking, "_ask", lambda *_: pytest.fail("asked again"))
    pd.testing.assert_frame_equal(ranking.ask(run), first)
    assert list(path.glob("compare/*.parquet")) and not list(path.glob("compare/*.tmp"))
    monkeypatch.undo()
    saved = path / "model" / "Format-Serving"
    model = _Known(catalogue=5)
    tf.saved_model.save(model, str(saved), signatures={"evaluate": model.evaluate})
    assert np.isinf(ranking.ask(run)[names.RANK].iloc[0]) and first[names.RANK].iloc[0] == 7


def test_notes_say_what_is_not_alike(tmp_path):
    a = write_run(
        tmp_path / "a", [window("u", "x", 1, 1)], {"evaluation": {"cutoffs": [5], "exclude_seen": True}}
    )
    b = write_run(
        tmp_path / "b",
        [window("u", "x", 1, 1)],
        {"evaluation": {"cutoffs": [3], "exclude_seen": False}},
        catalogue=500,
    )
    found = compared(a, b)
    notes = " ".join(found.notes)
    assert "Only one side leaves seen items out" in notes and "500, 1,000 items" in notes
    assert {row.metric for row in found.slices[0].rows} == {"hr@3", "hr@5", "ndcg@3", "ndcg@5", "mrr"}
    random_runs(tmp_path, "c", (1,), better=False, model={"dim": 8})
    mixed = compared(
        f"{tmp_path}/c/seed-1", f"{tmp_path}/c/seed-1,{random_runs(tmp_path, 'd', (1,), False)}/seed-1"
    )
    notes = " ".join(mixed.notes)
    assert (
        "runs of B differ in more than their seed: model.dim" in notes
        and "Several runs of B have the same seed" in notes
    )


SAMPLED = {"evaluation": {"cutoffs": [1], "sampled_negatives": 1}}


def test_sampled_metrics_by_hand(tmp_path):
    """Among three candidates and with one negative: of rank 2 every second draw is a hit."""
    windows = [window("u", "x", 1, 2), window("v", "x", 1, 1), window("w", "x", 1, 5000)]
    a = write_run(tmp_path / "a", windows, SAMPLED, candidates=3)
    b = write_run(tmp_path / "b", [window(u, "x", 1, 3) for u in "uvw"], candidates=3)
    found = compared(a, b)
    order = ["hr@1", "hr@10", "ndcg@1", "ndcg@10", "mrr"]
    assert [row.metric for row in found.slices[0].rows] == order + [f"sampled1_{name}" for name in order]
    row = of(found, "sampled1_hr@1")[1]
    assert (row.a, row.b) == (pytest.approx(0.5), 0.0) and row.difference == pytest.approx(-0.5)
    assert of(found, "sampled1_mrr")[1].a == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert of(found, "hr@1")[1].a == pytest.approx(1 / 3)
    (note,) = found.notes
    assert note.startswith(
        "sampled1 metrics rank among 1 items that the user has not met"
    ) and note in table.table(found)
    assert "SAMPLED1_HR@1" in page.page(found)


def test_sampled_metrics_are_left_out_where_a_model_cannot_tell(tmp_path):
    windows = [window("u", "x", 1, 2), window("v", "x", 1, 1)]
    a = write_run(tmp_path / "a", windows, SAMPLED, candidates=3)
    old = write_run(tmp_path / "old", windows)
    for _ in range(2):  # asked, then from the cache
        found = compared(a, old)
        assert not any("sampled" in row.metric for row in found.slices[0].rows)
        assert found.notes == (
            f"Sampled metrics are left out: the model of {old} does not tell how it ranks what users have not met: "
            "an older one, or ranks are among candidates.",
        )
    other = {"evaluation": {"sampled_negatives": 2}}
    found = compared(a, write_run(tmp_path / "other", windows, other, candidates=3))
    assert found.notes == ("Sampled metrics are left out: the runs ask for 1 and 2 negatives.",)
    # Nobody asked: nothing is said.
    assert not compared(old, old).notes


def test_ranks_that_an_older_version_kept_are_not_read(tmp_path, monkeypatch):
    (run,) = runs.find_runs(write_run(tmp_path / "a", [window("u", "x", 1, 2)], candidates=3))
    with monkeypatch.context() as earlier:
        earlier.setattr(ranking, "_ASKED", ("rank", "catalogue_size"))
        found = ranking.ask(run)
        (kept,) = (tmp_path / "a" / "compare").iterdir()
        found.drop(columns=names.of_unmet(names.CANDIDATES)).to_parquet(kept, index=False)
    assert ranking.ask(run)[names.of_unmet(names.CANDIDATES)].tolist() == [3]


def test_what_was_kept_before_a_slice_was_known_is_asked_anew(tmp_path, monkeypatch):
    (run,) = runs.find_runs(write_run(tmp_path / "a", [window("u", "x", 1, 2)], candidates=3))
    with monkeypatch.context() as earlier:
        earlier.setattr(names, "SLICES", names.SLICES[:-1])
        assert names.USER_GROUP not in ranking.ask(run)
    assert names.USER_GROUP in ranking.ask(run)


def test_what_cannot_be_compared(tmp_path):
    a = write_run(tmp_path / "a", [window("u", "x", 1, 1)])
    b = write_run(tmp_path / "b", [window("u", "x", 2, 1)])
    with pytest.raises(errors.InputError, match="no test window in common"):
        compared(a, b)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.InputError, match="neither the folder of a run"):
        runs.find_runs(str(tmp_path / "empty"))
    recorder = recorded_run.Recorder(tmp_path / "untrained")
    recorder.start("first")
    recorder.finish()
    with pytest.raises(errors.InputError, match="newest run has left no trained model"):
        runs.find_runs(str(tmp_path / "untrained"))
    (tmp_path / "b" / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.InputError, match="where there is nothing now"):
        runs.find_runs(b)


def test_the_commands_table_page_and_json(tmp_path, capsys):
    a = random_runs(tmp_path, "a", (1, 2), better=False, model={"name": "<one>"})
    b = random_runs(tmp_path, "b", (1, 2), better=True, model={"name": "two"})
    options = parser.build().parse_args(["compare", a, b, "--html", str(tmp_path / "page.html")])
    assert options.run(options) == 0
    printed = capsys.readouterr().out
    row = of(compared(a, b), "ndcg@10")[1]
    assert f"[{row.low:+.4f}, {row.high:+.4f}]  {row.p:.4f}" in printed
    assert "120 test windows of 60 users in both; only in A 0" in printed
    assert f"A: {a}: seed-1, seed-2 (2 runs)" in printed
    assert "bootstrap over users" in printed and "sign-flip" in printed and "± " in printed
    shown = test_report._Page(tmp_path / "page.html")
    assert "B is better" in shown.sections["verdict"] and "<one>" in shown.sections["how"]
    assert any(f"{row.difference:+.4f}" in cells for _, cells in shown.rows if cells[:1] == ["all"])
    assert not [a for a in shown.attributes if a.get("src") or "http" in (a.get("href") or "")]
    # Without a run there is one line.
    options = parser.build().parse_args(["compare", a, str(tmp_path / "nothing")])
    with pytest.raises(errors.InputError, match="nothing: no such folder"):
        options.run(options)


def test_a_slice_has_one_line_unless_all_are_asked_for(tmp_path, capsys):
    groups = {"u": names.HEAD, "v": names.TAIL, "w": names.TAIL}
    a, b = (
        write_run(tmp_path / side, [window(u, "x", t, rank + t, groups[u]) for u in groups for t in (1, 2)])
        for side, rank in (("a", 3), ("b", 1))
    )
    found = compared(a, b)
    tail = of(found, "ndcg@10", user_frequency="tail")
    one = f"{tail[1].a:.4f}  {tail[1].b:.4f}  {tail[1].difference:+.4f}"
    few, full = table.table(found).splitlines(), table.table(found, full=True).splitlines()
    metrics = [row.metric for row in found.slices[0].rows]
    assert few.index("ndcg@10 by slice") == few.index("all: 6 windows, 3 users") + len(metrics) + 1
    assert [line.split()[0] for line in few if line.startswith("  ")] == [
        "A",
        *metrics,
        *(part.slice[0][0] for part in found.slices[1:]),
    ]
    (line,) = [line for line in few if line.startswith("  user_frequency tail (")]
    assert f"({tail[0].users} users)" in line and one in line
    title = full.index(f"user_frequency tail: {tail[0].windows} windows, {tail[0].users} users")
    assert [line.split()[0] for line in full[title + 1 : title + 1 + len(metrics)]] == metrics
    assert "--full" in few[-1] and "--full" not in full[-1]
    for option, other in (("--full", "mrr"), ("--json", '"mrr"')):
        options = parser.build().parse_args(["compare", a, b, option])
        assert options.run(options) == 0 and capsys.readouterr().out.count(other) >= len(found.slices)
    with pytest.raises(SystemExit):
        parser.build().parse_args(["compare", a, b, "--full", "--json"])


def test_only_a_folder_of_the_run_is_written(tmp_path):
    a = pathlib.Path(write_run(tmp_path / "a", [window("u", "x", 1, 1)]))
    before = {path.name for path in a.iterdir()}
    compared(str(a), str(a))
    assert {path.name for path in a.iterdir()} - before == {"compare"}


EXPOSURES = {"window": {"kind": "exposure", "steps": list(evaluator_harness.STEPS)}}


def write_exposures(folder, data, model, settings=None, steps=evaluator_harness.STEPS):
    """A folder of a run whose model gives the probabilities of a name."""
    evaluator_harness.write_exposures(data, folder / "examples")
    stub = evaluator_harness.StepsStub(model, steps)
    tf.saved_model.save(
        stub,
        str(folder / "model" / "Format-Serving"),
        signatures={"evaluate": stub.evaluate, "predict": stub.evaluate},
    )
    uris = {"model": str(folder / "model"), "examples": str(folder / "examples")}
    (folder / runs.POINT).write_text(json.dumps(uris))
    (folder / runs.EXPERIMENT).write_text(
        yaml.safe_dump({**EXPOSURES, "model": {"name": model}, **(settings or {})})
    )
    return str(folder)


@pytest.fixture(scope="module")
def exposure_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposures")
    data = evaluator_harness.exposures(size=400, users=80)
    return data, *(write_exposures(folder / name, data, name) for name in ("noisy", "good"))


def test_exposures_by_exact_values(exposure_runs):
    data, a, b = exposure_runs
    found = compared(a, b)
    assert found.noun == "exposures" and found.main == "auc" and found.only_a == found.only_b == 0
    tail = data.frequency == names.TAIL
    for slices, chosen in (({}, np.ones(400, bool)), ({"user_frequency": "tail"}, tail)):
        part, row = of(found, "auc/buy", **slices)
        assert part.windows == chosen.sum() and part.users == len(set(data.users[chosen]))
        known = chosen & (data.labels[:, 1] >= 0)
        areas = [
            exact.pairwise_auc(data.probabilities[name][known, 1].astype(np.float32), data.labels[known, 1])
            for name in ("noisy", "good")
        ]
        assert (row.a, row.b) == pytest.approx(areas) and row.difference == pytest.approx(areas[1] - areas[0])
        improved = of(found, "relaimpr/buy", **slices)[1]
        assert improved.a is improved.b is None
        assert improved.difference == pytest.approx((areas[1] - 0.5) / (areas[0] - 0.5) - 1)
    row = of(found, "auc")[1]
    assert row.low < row.difference < row.high and row.low > 0 and row.p < 0.01
    assert of(found, "log_loss/cart")[1].difference < 0
    assert "of the same bootstrap" in found.method["p"] and found.differing == (
        ("model.name", "noisy", "good"),
    )


def test_exposures_are_asked_once_and_have_pages(exposure_runs, tmp_path, capsys, monkeypatch):
    _, a, b = exposure_runs
    compared(a, b)
    monkeypatch.setattr(labels, "_ask", lambda *_: pytest.fail("asked again"))
    options = parser.build().parse_args(["compare", a, b, "--html", str(tmp_path / "page.html")])
    assert options.run(options) == 0
    printed = capsys.readouterr().out
    assert "400 test exposures of" in printed and "relaimpr/buy" in printed
    shown = test_report._Page(tmp_path / "page.html")
    assert "B is better AUC of B is above A's" in shown.sections["verdict"]
    assert "Left of the line B is better." in shown.sections["metrics"]
    assert json.loads(compared(a, b).to_json())["noun"] == "exposures"


def test_an_order_is_compared_where_both_sides_have_one(exposure_runs, tmp_path):
    data, a, _ = exposure_runs
    unordered = {"window": {**EXPOSURES["window"], "chain": False}}
    b, c = (write_exposures(tmp_path / name, data, "good", unordered) for name in ("b", "c"))
    shown = {
        sides: {row.metric for row in compared(*sides).slices[0].rows} for sides in ((a, a), (a, b), (b, c))
    }
    assert shown[a, a] - shown[b, c] == {"chain_violations"} and shown[a, b] == shown[b, c]
    assert "auc/buy" in shown[b, c] and "chain" not in table.table(compared(b, c))


def test_seeds_of_exposures_and_those_that_only_one_side_has(exposure_runs, tmp_path):
    data, a, _ = exposure_runs
    first = data._replace(
        users=data.users[:300],
        frequency=data.frequency[:300],
        labels=data.labels[:300],
        probabilities={name: values[:300] for name, values in data.probabilities.items()},
    )
    write_exposures(tmp_path / "b" / "seed-1", first, "good", {"training": {"seed": 1}})
    write_exposures(tmp_path / "b" / "seed-2", first, "constant", {"training": {"seed": 2}})
    found = compared(a, str(tmp_path / "b"))
    assert (found.slices[0].windows, found.only_a, found.only_b) == (300, 100, 0)
    row = of(found, "auc/cart")[1]
    alone = [of(compared(a, str(tmp_path / "b" / f"seed-{n}")), "auc/cart")[1].b for n in (1, 2)]
    assert row.b == pytest.approx(np.mean(alone)) and row.b_sd == pytest.approx(np.std(alone, ddof=1))
    assert alone[1] == 0.5 and row.a_sd is None


def test_exposures_that_cannot_be_compared(exposure_runs, tmp_path):
    data, a, _ = exposure_runs
    labels = data.labels.copy()
    labels[:3, 0] = 1 - labels[:3, 0]
    other = write_exposures(tmp_path / "labels", data._replace(labels=labels), "good")
    with pytest.raises(errors.InputError, match="3 of 400 exposures have other labels"):
        compared(a, other)
    ranked = write_run(tmp_path / "ranked", [window("u", "x", 1, 1)])
    with pytest.raises(errors.InputError, match="different kinds of window: .* has exposure, .* has next"):
        compared(a, ranked)
    steps = {"window": {"kind": "exposure", "steps": ["cart"]}}
    one = write_exposures(tmp_path / "one", data, "good", steps, steps=("cart",))
    with pytest.raises(errors.InputError, match="different steps: .* has cart, buy, .* has cart"):
        compared(a, one)
    wrong = write_exposures(tmp_path / "wrong", data, "good", steps=("cart",))
    with pytest.raises(errors.InputError, match="its model gives cart, not the steps"):
        compared(wrong, wrong)


def test_a_slice_without_positives_has_no_value(exposure_runs, tmp_path):
    data, _, _ = exposure_runs
    labels = np.where((data.frequency == names.TAIL)[:, None], np.minimum(data.labels, 0), data.labels)
    a, b = (write_exposures(tmp_path / n, data._replace(labels=labels), n) for n in ("noisy", "good"))
    found = compared(a, b)
    row = of(found, "auc/buy", user_frequency="tail")[1]
    assert (row.a, row.difference, row.low, row.p) == (None, None, None, None)
    assert of(found, "log_loss/buy", user_frequency="tail")[1].difference is not None
    assert "–" in table.table(found) and "nan" not in table.table(found)
    assert "nan" not in page.page(found) and json.loads(found.to_json())


def test_periods_with_other_items_to_come_are_not_compared():
    one = pd.DataFrame({names.RANK: [1, 2], ranking._PERIOD_RANKS: [[1], [2, 3]]})
    longer = pd.DataFrame({names.RANK: [1, 2], ranking._PERIOD_RANKS: [[1, 4], [2, 3]]})
    assert "period_ndcg@10" in ranking.values_of([one, one], (10,), None)[0]
    found, values = ranking.values_of([one, longer], (10,), None)
    assert "hr@10" in found and not [name for name in found if name.startswith("period")]
    assert values.shape == (2, 2, len(found))
