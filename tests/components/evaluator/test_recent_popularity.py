"""Where demand moves, the gate asks for more than what is recommended by the latest training targets."""

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.types import standard_artifacts

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.next import NextWindow
from components.evaluator import config, spec, verdict
from schemas import names
from serving import export
from tests import fixtures
from tests.components.behavior_example_gen import harness as windowing
from tests.components.evaluator import direct

_MINUTE = 60_000
_START = 1_600_000_000_000
_EVAL_FROM, _TEST_FROM = 8_000, 9_000
_RECENT_SHARE = 0.1
_K = 10


def _events():
    """User, item and minute: ten items are in demand until minute 7,000, and ten others from then on."""
    rng = np.random.default_rng(0)
    found = []
    for user in range(400):
        for minute in sorted(rng.choice(10_000, 8, replace=False).tolist()):
            first = 0 if minute < 7_000 else 10
            item = first + rng.integers(10) if rng.random() < 0.9 else rng.integers(30)
            found.append((f"u{user}", f"i{item}", minute))
    return found


class _Known(fixtures.ToyModel):
    """Ranks the same items first for everybody."""

    def __init__(self, output: tft.TFTransformOutput, best: list[str]):
        catalogue = [item.decode() for item in output.vocabulary_by_name(names.ITEM_VOCABULARY)]
        super().__init__(len(catalogue), dim=1)
        place = {item: number for number, item in enumerate(best)}
        scores = [-float(place.get(item, len(best) + row)) for row, item in enumerate(catalogue)]
        self.table.assign(np.array([0.0] * names.FIRST_INDEX + scores, np.float32)[:, np.newaxis])

    def encode(self, features, training=False):
        del training
        return tf.ones_like(features[names.HISTORY_ITEM_INDEX][:, :1], tf.float32)


def _by_count(items):
    return [item for item, _ in collections.Counter(items).most_common()]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Windows of the log, its transform graph, and the test targets and training targets by plain Python."""
    folder = tmp_path_factory.mktemp("log")
    events = _events()
    rows = [f"{user},{item},{_START + minute * _MINUTE}" for user, item, minute in events]
    moments = [np.datetime64(_START + minute * _MINUTE, "ms") for minute in (_EVAL_FROM, _TEST_FROM)]
    split = window_spec.SplitSpec.from_values(
        {"by": ["time"], "targets": "all", "eval_from": f"{moments[0]}Z", "test_from": f"{moments[1]}Z"}
    )
    window = NextWindow(length=fixtures.LENGTH, shards=2, recent_share=_RECENT_SHARE)
    found, _, _ = windowing.run(
        folder, windowing.write_csv(folder / "log.csv", rows), window=window, split=split
    )
    output = fixtures.build_transform_output(str(folder), found["train"])
    by_user = collections.defaultdict(list)
    for user, item, minute in events:
        by_user[user].append((minute, item))
    trained = [event for own in by_user.values() for event in own[1:] if event[0] < _EVAL_FROM]
    tested = [
        (item, [i for _, i in own[:n]])
        for own in by_user.values()
        for n, (m, item) in enumerate(own)
        if m >= _TEST_FROM and n
    ]
    return folder / "out" / "examples", output, sorted(trained), tested


def _hit_rate(best, tested):
    """HR@10 of a list for everybody, without the items that a user had."""
    hits = [
        item not in seen and item in [other for other in best if other not in seen][:_K]
        for item, seen in tested
    ]
    return sum(hits) / len(hits)


def _evaluate(folder: pathlib.Path, log, best: list[str]):
    examples, output, _, _ = log
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder / "candidate")
    export.export_model(_Known(output, best), output, f"{artifact.uri}/Format-Serving", objective="ranking")
    evaluation = spec.EvaluationSpec(slices=(), confidence_intervals=False)
    gate = spec.GateSpec(metric="hr@10", min_lift_over_floor=0.02)
    asked = config.eval_config(evaluation, gate, "ranking", NextWindow())
    result = direct.evaluate(folder, examples, asked, artifact)
    return verdict.read(result.evaluation_uri, result.blessing_uri)


def test_a_model_between_popularity_and_recent_popularity_is_refused(tmp_path, log):
    _, _, trained, tested = log
    early, late = ([f"i{n}" for n in range(first, first + 10)] for first in (0, 10))
    between = [item for pair in zip(late, early) for item in pair]
    found = _evaluate(tmp_path, log, between)
    overall = found.overall
    # The floors are those of plain Python; equal counts may stand in another order.
    popular = _by_count(item for _, item in trained)
    recent = _by_count(item for _, item in trained[-int(_RECENT_SHARE * len(trained)) :])
    assert overall.examples == len(tested) > 300
    assert overall.candidate["hr@10"].value == pytest.approx(_hit_rate(between, tested))
    for floor, best in ((spec.POPULARITY, popular), (spec.RECENT_POPULARITY, recent)):
        assert overall.floors[floor]["hr@10"].value == pytest.approx(_hit_rate(best, tested), abs=0.01)
    values = [overall.floors[spec.POPULARITY]["hr@10"].value, overall.candidate["hr@10"].value]
    values.append(overall.floors[spec.RECENT_POPULARITY]["hr@10"].value)
    assert values[0] + 0.1 < values[1] < values[2] - 0.1
    assert overall.best_floor("hr@10") == spec.RECENT_POPULARITY
    assert found.blessed is False
    (reason,) = found.reasons
    assert reason.startswith(
        f"hr@10 is {values[1]:.4f}, {values[2] - values[1]:.4f} below recent popularity's {values[2]:.4f}"
    )
