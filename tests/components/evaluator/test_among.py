"""Ranks among the items seen shortly before a moment: from the log to the metrics, against plain Python."""

import collections
import dataclasses
import datetime
import functools
import glob
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.behavior_example_gen import candidates, spec
from components.behavior_example_gen.windows.period import PeriodWindow
from components.evaluator import among, config, executor, loading, verdict
from components.evaluator import spec as evaluator_spec
from components.transform import vocabulary
from pipeline.comparing import ranking, runs
from pipeline.config import BeamSpec
from schemas import errors, names
from schemas import ranks as rank_lib
from serving import export
from tests import held_models, period_fixtures
from tests.components.behavior_example_gen import harness as windowing
from tests.components.evaluator import direct, harness

_HOUR = 3_600_000
_START = 1_600_000_000_000
_HOURS, _TEST_FROM = 60, 48
_WITHIN = 3
_K = 2


class _Log(NamedTuple):
    """A log, its windows, and models of it: one that never recommends what was seen, one that does."""

    events: list[tuple[str, str, int]]
    examples: pathlib.Path
    models: dict[bool, str]
    items: list[str]
    recent: list[str]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Clicks on items that live for hours, and items `i9` on that no model knows."""
    folder, rng = tmp_path_factory.mktemp("among"), np.random.default_rng(0)
    events = []
    for user in range(150):
        for at in sorted(rng.choice(_HOURS * 60, 6, replace=False).tolist()):
            item = (at // 300 + int(rng.integers(7))) % 12
            events.append((f"u{user}", f"i{item}", _START + at * 60_000))
    # At a moment itself: no candidate of this one.
    events.append(("u0", "i0", _START + (_TEST_FROM + 4) * _HOUR))
    scenes = ["home", "search"]
    rows = [f"{u},{i},{t},{scenes[n % 2]}" for n, (u, i, t) in enumerate(events)]
    text = windowing.write_csv(folder / "log.csv", rows, "user_id,item_id,timestamp,scene")
    cuts = [
        datetime.datetime.fromtimestamp(_START / 1000 + 3600 * h, datetime.timezone.utc)
        for h in (_TEST_FROM - 6, _TEST_FROM)
    ]
    windowing.run(
        folder,
        spec.LogSpec(path=text, timestamp_unit="ms", columns={"scene": "scene"}),
        PeriodWindow(kind="period", past=period_fixtures.PAST_MS / 1000, future=3600.0, length=8, shards=3),
        spec.SplitSpec(by=("time",), eval_from=cuts[0], test_from=cuts[1]),
        read_splits=(),
        candidates_within=_WITHIN * 3600.0,
    )
    output = period_fixtures.analysed(str(folder), period_fixtures.random_windows())
    known = vocabulary.Vocabulary.load(output)
    models = {}
    for excludes in (True, False):
        models[excludes] = str(folder / f"{excludes}" / "Format-Serving")
        model = period_fixtures.Model(known.size, len(known.scenes))
        export.export_model(model, output, models[excludes], objective="ranking", exclude_seen=excludes)
    items = [item.decode() for item in known.items]
    counts = collections.Counter(dict.fromkeys(items, 0))
    for line in output.vocabulary_by_name(names.RECENT_ITEMS_VOCABULARY):
        number, item = line.decode().split(" ", 1)
        counts[item] += int(number)
    recent = sorted(items, key=lambda i: (-counts[i], items.index(i)))
    return _Log(events, folder / "out" / "examples", models, items, recent)


@pytest.fixture(scope="module", autouse=True)
def read_once():
    with held_models.once():
        yield


def asked(excludes: bool = True, within: float | None = _WITHIN * 3600.0) -> Any:
    evaluation = evaluator_spec.EvaluationSpec(
        exclude_seen=excludes,
        cutoffs=(_K,),
        candidates_within=within,
        slices=(names.USER_FREQUENCY,),
        confidence_intervals=False,
    )
    window = PeriodWindow(kind="period", past=86_400.0, future=3600.0)
    return config.eval_config(evaluation, evaluator_spec.GateSpec(metric=f"hr@{_K}"), "ranking", window, True)


def rows_of(log) -> list[bytes]:
    files = sorted(glob.glob(str(log.examples / f"Split-{names.TEST}" / "*")))
    return list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())


@functools.cache
def _loaded(model: str, examples: str, excludes: bool) -> Any:
    made = asked(excludes)
    assert loading.with_candidates(made, examples)
    shared = loading.custom_eval_shared_model(
        eval_saved_model_path=model,
        model_name=tfma.CANDIDATE_KEY,
        eval_config=made,
        add_metrics_callbacks=None,
    )
    return shared.model_loader.load()


def loaded(log, excludes):
    """As the Evaluator loads it; once, since that takes seconds."""
    return _loaded(log.models[excludes], str(log.examples), excludes)


def by_hand(log, excludes, served, row):
    """Of one test window: the ranks by output, the reason, and the size of the set."""
    feature = tf.train.Example.FromString(row).features.feature

    def text(name):
        return [value.decode() for value in feature[name].bytes_list.value]

    moment = feature[names.MOMENT].int64_list.value[0]
    seen_of_all = {i for _, i, t in log.events if moment - _WITHIN * _HOUR <= t < moment}
    own_set = [item for item in log.items if item in seen_of_all]
    left_out = set(text(names.SEEN_ITEM_ID)) if excludes else set()
    ranked = [item for item in own_set if item not in left_out]
    history, times = text(names.HISTORY_ITEM_ID), list(feature[names.HISTORY_TIMESTAMP].int64_list.value)
    inputs = {
        names.HISTORY_ITEM_ID: tf.constant([history]),
        names.HISTORY_SCENE: tf.constant([text(names.HISTORY_SCENE)]),
        names.HISTORY_TIMESTAMP: tf.constant([times], tf.int64),
        names.MOMENT: tf.constant([moment], tf.int64),
    }
    scores = served.signatures["rank"](**inputs, candidates=tf.constant([log.items]))["score"][0].numpy()
    score = dict(zip(log.items, scores.tolist()))
    last = {item: place for place, item in enumerate(history)}
    order = {
        names.RANK: sorted(ranked, key=lambda i: -score[i]),
        names.POPULARITY_RANK: ranked,
        names.RECENT_POPULARITY_RANK: sorted(ranked, key=log.recent.index),
    }
    if not excludes:
        order[names.OWN_FREQUENT_RANK] = sorted(
            ranked, key=lambda i: (-history.count(i), -last.get(i, -1), log.items.index(i))
        )
        order[names.OWN_RECENT_RANK] = sorted(ranked, key=lambda i: (-last.get(i, -1), log.items.index(i)))
    (target,), following = text(names.TARGET_ITEM_ID), list(dict.fromkeys(text(names.FUTURE_ITEM_ID)))
    found = {}
    for name, best in order.items():
        place = {item: number for number, item in enumerate(best, 1)}
        found[name] = place.get(target, len(log.items) + 1)
        found[names.of_period(name)] = [place.get(item, len(log.items) + 1) for item in following]
    if target not in log.items:
        why = names.NOT_IN_CATALOGUE
    elif target not in seen_of_all:
        why = names.NOT_A_CANDIDATE
    else:
        why = names.LEFT_OUT if target in left_out else names.REACHABLE
    return {**found, names.UNREACHABLE: why, names.CANDIDATE_SET: len(own_set), names.CANDIDATES: len(ranked)}


@pytest.mark.parametrize("excludes", [True, False])
def test_ranks_are_those_of_plain_python(log, excludes):
    rows = rows_of(log)
    answer = loaded(log, excludes).signatures["evaluate"](examples=tf.constant(rows))
    served = tf.saved_model.load(log.models[excludes])
    whole = served.signatures["evaluate"](examples=tf.constant(rows))
    wanted = [by_hand(log, excludes, served, row) for row in rows]
    for name in wanted[0]:
        for number, one in enumerate(wanted):
            found = answer[name][number].numpy().tolist()
            if isinstance(found, list):
                found = [rank for rank in found if rank != names.NO_ITEM_RANK]
            assert found == one[name], (name, number)
    # There is something of each, and the same windows have other ranks in the whole catalogue.
    reasons = collections.Counter(one[names.UNREACHABLE] for one in wanted)
    assert len(rows) > 60 and len(reasons) == 3 + excludes and min(reasons.values()) > 2
    assert 3 < np.mean([one[names.CANDIDATE_SET] for one in wanted]) < len(log.items) - 2
    assert (answer[names.RANK] != whole[names.RANK]).numpy().mean() > 0.2
    assert names.CANDIDATE_SET not in whole
    # Scenes have no candidates.
    scene = names.of_scene(names.RANK)
    np.testing.assert_array_equal(answer[scene], whole[scene])


def test_a_moment_before_which_nothing_was_seen_has_no_candidates(log):
    example, rows = tf.train.Example.FromString(rows_of(log)[0]), []
    for moment in (_START - 1, _START + 1000 * _HOUR, _START + _TEST_FROM * _HOUR + 1):
        example.features.feature[names.MOMENT].int64_list.value[:] = [moment]
        rows.append(example.SerializeToString())
    answer = loaded(log, False).signatures["evaluate"](examples=tf.constant(rows))
    assert answer[names.CANDIDATE_SET].numpy().tolist() == [0, 0, 0]
    assert answer[names.RANK].numpy().tolist() == [len(log.items) + 1] * 3


def evaluate(folder, log, made, live=None):
    examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
    examples.uri, model.uri = str(log.examples), os.path.dirname(log.models[True])
    examples.split_names = json.dumps([names.TEST])
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    os.makedirs(blessing.uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(BeamSpec().args), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        {"examples": [examples], "model": [model]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(made),
            "example_splits": json.dumps([names.TEST]),
            "live_model": json.dumps({"path": live} if live else {}),
        },
    )
    return verdict.read(evaluation.uri, blessing.uri)


def test_the_evaluator_measures_the_model_the_live_one_and_floors_among_candidates(tmp_path, log):
    found = evaluate(tmp_path, log, asked(), live=log.models[True])
    rows, served = rows_of(log), tf.saved_model.load(log.models[True])
    wanted = [by_hand(log, True, served, row) for row in rows]
    overall = found.overall

    def hits(name):
        return np.mean([one[name] <= _K for one in wanted])

    def recall(name):
        return np.mean([np.mean([r <= _K for r in one[names.of_period(name)]]) for one in wanted])

    hr, of_period = f"hr@{_K}", f"period_recall@{_K}"
    for values, name in (
        (overall.candidate, names.RANK),
        (overall.baseline, names.RANK),
        (overall.floors[evaluator_spec.POPULARITY], names.POPULARITY_RANK),
        (overall.floors[evaluator_spec.RECENT_POPULARITY], names.RECENT_POPULARITY_RANK),
    ):
        assert values[hr].value == pytest.approx(hits(name)) and 0 < hits(name) < 1
        assert values[of_period].value == pytest.approx(recall(name))
    reasons = [one[names.UNREACHABLE] for one in wanted]
    outside = (names.NOT_IN_CATALOGUE, names.NOT_A_CANDIDATE)
    share, size = (
        np.mean([why not in outside for why in reasons]),
        np.mean([o["candidate_set"] for o in wanted]),
    )
    assert overall.candidates == {"share": pytest.approx(share), "size": pytest.approx(size)}
    assert overall.unreachable == {
        "catalogue": pytest.approx(reasons.count(names.NOT_IN_CATALOGUE) / len(rows)),
        "seen": pytest.approx(reasons.count(names.LEFT_OUT) / len(rows)),
        "candidates": pytest.approx(reasons.count(names.NOT_A_CANDIDATE) / len(rows)),
    }
    assert found.candidates == (
        f"Ranks are among the known items seen in the 3h before the moment (evaluation.candidates_within): {size:.1f} on "
        f"average, and {share:.1%} of the test targets are among them"
    )
    assert "items that nobody had shortly before (evaluation.candidates_within)" in found.notes[0]


def test_without_the_setting_nothing_is_measured_otherwise(tmp_path, log):
    made = asked(within=None)
    assert config.CANDIDATES_WITHIN not in proto_utils.proto_to_json(made)
    assert not loading.with_candidates(made, str(log.examples))
    model = standard_artifacts.Model()
    model.uri = os.path.dirname(log.models[True])
    result = direct.evaluate(tmp_path, log.examples, made, model)
    found = verdict.read(result.evaluation_uri, result.blessing_uri)
    whole = tf.saved_model.load(log.models[True]).signatures["evaluate"](examples=tf.constant(rows_of(log)))
    assert found.overall.candidate[f"hr@{_K}"].value == pytest.approx(
        np.mean(whole[names.RANK].numpy() <= _K)
    )
    assert set(found.overall.unreachable) == {"catalogue", "seen"}
    assert not found.overall.candidates and found.candidates is None


def test_an_earlier_model_and_windows_without_candidates_are_refused(tmp_path, log):
    earlier = str(tmp_path / "model")
    tf.saved_model.save(harness.Stub("good"), earlier)
    with pytest.raises(
        errors.InputError, match=r"candidates_within: .*model: .* exported by an earlier Footfall"
    ):
        among.check(earlier, str(log.examples))
    with pytest.raises(errors.InputError, match=rf"{candidates.FILE}: no such file"):
        among.check(log.models[True], str(tmp_path))


def test_comparisons_rank_among_the_same_candidates(tmp_path, log):
    settings = {"window.kind": "period", "evaluation.candidates_within": _WITHIN * 3600.0}
    run = runs.Trained(str(tmp_path), os.path.dirname(log.models[True]), str(log.examples), settings)
    asked_before = dataclasses.replace(run, settings={"window.kind": "period"})
    tables = [ranking.ask(one) for one in (run, asked_before, run)]
    answer = loaded(log, True).signatures["evaluate"](examples=tf.constant(rows_of(log)))
    wanted = rank_lib.or_infinite(answer[names.RANK].numpy(), len(log.items))
    np.testing.assert_array_equal(tables[0][names.RANK], wanted)
    np.testing.assert_array_equal(tables[2][names.RANK], wanted)
    assert (tables[1][names.RANK] != wanted).any()
    users = np.zeros(len(wanted), np.int64)
    for pair, words in (
        ((0, 2), "Ranks are among the items seen"),
        ((0, 1), "Ranks are not among the same items"),
    ):
        chosen = [(run, asked_before, run)[place] for place in pair]
        _, notes = ranking.measure(chosen, [tables[place] for place in pair], 1, users, 0)
        assert any(note.startswith(words) for note in notes)
