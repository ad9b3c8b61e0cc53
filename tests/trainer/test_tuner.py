"""The search within a run: what fails, what goes on, and what a killed search leaves to the next."""

import importlib
import json
import logging
import math
import os

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tfx import v1 as tfx

from schemas import errors
from tests import fixtures
from trainer import arguments, devices, places, reasons, search, task, tuner
from trainer.loops import loop as loop_lib

SPACE = {
    "model.dim": {"low": 4, "high": 64, "step": 2, "log": True},
    "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
}


class Killed(BaseException):
    """Stands for a process that dies."""


def valley(values):
    """Best at a learning rate of 0.01; impossible at a width of 8, and diverging at 64."""
    if values["model.dim"] == 8:
        raise search.ImpossiblePoint("model: dim must be another")
    if values["model.dim"] == 64:
        raise loop_lib.TrainingError("the loss is nan")
    return 0.0 - abs(math.log10(values["training.learning_rate"]) + 2)


def searched(folder, kind, score=valley, trials=9, space=None):
    """A search whose trainings are a function of the point; and the points that it trained at."""
    trained = []

    def train(values, checkpoint_dir):
        found = score(values)
        trained.append(values)
        return {
            "epochs": [{"epoch": 1, "ndcg@10": found, "seconds": 0.5}],
            "best_epoch": 1,
            "objective": "ndcg@10",
        }

    settings = {"search": kind, "space": space or SPACE, "trials": None if kind == "grid" else trials}
    oracle = search.TuningSettings.from_values(settings).oracle(seed=3)
    return tuner.Tuner(oracle, train, places.Place(str(folder), "kept"), str(folder / "working")), trained


GRID = {"model.dim": [4, 8, 16, 64], "training.learning_rate": [0.001, 0.01]}


@pytest.mark.parametrize("kind,space", [("random", SPACE), ("bayesian", SPACE), ("grid", GRID)])
@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_killed_search_ends_as_one_that_was_not(tmp_path, kind, space, after):
    whole, trained = searched(tmp_path / "whole", kind, space=space)
    whole.search()
    assert len(whole.trials()) == (8 if kind == "grid" else 9)

    asked = []

    def until(values):
        asked.append(values)
        if len(asked) == after:
            raise Killed
        return valley(values)

    killed, before = searched(tmp_path / "killed", kind, until, space=space)
    with pytest.raises(Killed):
        killed.search()
    resumed, rest = searched(tmp_path / "killed", kind, space=space)
    resumed.search()
    assert resumed.trials() == whole.trials()
    assert before + rest == trained
    assert {r.trial_id for r in resumed.oracle.get_best_trials(1)} == {
        r.trial_id for r in whole.oracle.get_best_trials(1)
    }
    resumed.forget()
    assert not (tmp_path / "killed" / "kept").exists()


def test_trials_of_other_losses_are_compared_by_one_metric(tmp_path):
    """The objective of the first that trains."""

    def train(values, checkpoint_dir):
        own = {4: "ndcg@10", 16: "period_ndcg@10"}[values["model.dim"]]
        epoch = {"epoch": 1, "ndcg@10": 0.1, "period_ndcg@10": 0.3, "seconds": 0.5}
        return {"epochs": [epoch], "best_epoch": 1, "objective": own}

    settings = {"search": "grid", "space": {"model.dim": [4, 16]}}
    oracle = search.TuningSettings.from_values(settings).oracle(seed=3)
    one = tuner.Tuner(oracle, train, places.Place(str(tmp_path), "kept"), str(tmp_path / "working"))
    one.search()
    assert [(trial["objective"], trial["score"]) for trial in one.trials()] == [("ndcg@10", 0.1)] * 2


def test_failures_are_told_and_the_search_goes_on(tmp_path, caplog):
    one, _ = searched(tmp_path, "grid", space=GRID)
    with caplog.at_level(logging.INFO, "footfall.progress"):
        one.search()
    trials = {(t["values"]["model.dim"], t["values"]["training.learning_rate"]): t for t in one.trials()}
    assert len(trials) == 8
    assert [key for key, trial in trials.items() if trial["taken"]] == [(4, 0.01)]
    assert trials[4, 0.001]["score"] == pytest.approx(-1) and trials[4, 0.01]["score"] == pytest.approx(0)
    for dim, error in ((8, "model: dim must be another"), (64, "the loss is nan")):
        assert trials[dim, 0.01]["score"] is None and trials[dim, 0.01]["error"] == error
    assert one.get_best_hyperparameters()[0].get_config()["values"] == {
        "model.dim": 4,
        "training.learning_rate": 0.01,
    }
    said = [record.getMessage() for record in caplog.records if record.name == "footfall.progress"]
    assert said[:3] == [
        "trial 1/8 model.dim=4 training.learning_rate=0.001: ndcg@10 -1.0000 (best -1.0000)",
        "trial 2/8 model.dim=4 training.learning_rate=0.01: ndcg@10 0.0000 (best 0.0000)",
        "trial 3/8 model.dim=8 training.learning_rate=0.001: failed: model: dim must be another",
    ]


def test_a_point_that_the_data_do_not_allow_fails_alone(transformed):
    """All users are of the tail, and of windows of three to seven events none has eight."""
    fn_args = transformed("refused")
    space = {"loop.classes": ["mixed", "paired"], "loop.adversary_events": [3, 8]}
    fn_args.custom_config = {
        **fn_args.custom_config,
        "loop": json.dumps({"name": "tp"}),
        "training": json.dumps({"epochs": 1}),
        "tuning": json.dumps({"search": "grid", "space": space}),
    }
    one = tuner.tuner_fn(fn_args).tuner
    one.search()
    trials = {tuple(trial["values"].values()): trial for trial in one.trials()}
    assert len(trials) == 4 and trials["mixed", 3]["taken"]
    assert "no training window has the 8 events" in trials["mixed", 8]["error"]
    for events in (3, 8):
        assert "paired needs training windows of head and of tail users" in trials["paired", events]["error"]


def test_a_search_in_which_all_fail_is_an_error_and_can_be_tried_again(tmp_path):
    space = {"model.dim": [8, 64], "training.learning_rate": [0.01]}
    one, _ = searched(tmp_path, "grid", space=space)
    with pytest.raises(
        loop_lib.TrainingError, match="all 2 trials failed; the last, model.dim=64 .*: the loss is"
    ):
        one.search()
    again, trained = searched(tmp_path, "grid", lambda values: 0.5, space=space)
    again.search()
    assert len(trained) == 2


def test_what_refuses_all_points_is_the_user_s_to_mend(transformed):
    """As eval of a single user is: the run ends with what is wrong, no failure of a component."""
    fn_args = transformed("all-refused")
    space = {"loop.classes": ["paired"], "loop.adversary_events": [3, 4]}
    fn_args.custom_config = {
        **fn_args.custom_config,
        "loop": json.dumps({"name": "tp"}),
        "tuning": json.dumps({"search": "grid", "space": space}),
    }
    with pytest.raises(errors.InputError, match=r"^loop\.classes: paired needs training windows of head"):
        tuner.tuner_fn(fn_args).tuner.search()


def test_refusals_that_differ_are_told_with_the_last_point(tmp_path):
    def refused(values):
        kind = search.ImpossiblePoint if values["model.dim"] == 8 else errors.InputError
        raise kind(f"no width of {values['model.dim']}")

    space = {"model.dim": [8, 64], "training.learning_rate": [0.01]}
    one, _ = searched(tmp_path, "grid", refused, space=space)
    with pytest.raises(
        errors.InputError, match="all 2 trials failed; the last, model.dim=64 .*: no width of 64"
    ):
        one.search()


@pytest.mark.parametrize(
    "refusal",
    [
        errors.InputError("one device alone"),
        tf.errors.ResourceExhaustedError(None, None, "too little memory"),
    ],
)
def test_what_another_machine_may_allow_is_tried_again_by_a_search_that_goes_on(tmp_path, refusal):
    def here(values):
        if len(tried) == 6:
            raise Killed
        tried.append(values)
        if values["model.dim"] == 4:
            raise refusal
        return valley(values)

    tried = []
    killed, _ = searched(tmp_path, "grid", here, space=GRID)
    with pytest.raises(Killed):
        killed.search()
    assert [values["model.dim"] for values in tried] == [4, 4, 8, 8, 16, 16]
    resumed, trained = searched(tmp_path, "grid", space=GRID)
    resumed.search()
    # Those of 16 are known; one of 64 fails anew.
    assert [values["model.dim"] for values in trained] == [4, 4]
    assert [trial["score"] is None for trial in resumed.trials()] == [False] * 2 + [True] * 2 + [
        False
    ] * 2 + [True] * 2


def test_what_is_no_fault_of_the_point_ends_the_search(tmp_path):
    def lost(values):
        raise OSError("the disk is gone")

    one, _ = searched(tmp_path, "random", lost)
    with pytest.raises(keras_tuner.errors.FatalError, match="OSError: the disk is gone"):
        one.search()
    again, trained = searched(tmp_path, "random")
    again.search()
    assert len(again.trials()) == 9


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    """Arguments of TFX for windows in which the next item follows from the last one."""
    folder = tmp_path_factory.mktemp("transformed")
    windows = []
    for start in range(60):
        walk = [f"i{(start + step) % 12}" for step in range(4 + start % 5)]
        windows.append(fixtures.window(walk[:-1], walk[-1], user=f"u{start}"))
    output = fixtures.build_transform_output(str(folder), windows)
    given = arguments.Arguments.from_values(
        {
            "model": {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0},
            "training": {"epochs": 4, "batch_size": 32, "learning_rate": 0.02},
            "window": {"kind": "next", "length": fixtures.LENGTH},
            "exclude_seen": False,
            "checkpoint_root": "",
            "tuning": {
                "search": "grid",
                "space": {"model.dim": [7, 8], "training.learning_rate": [1e30, 0.02]},
            },
        }
    )

    def fn_args(name):
        return tfx.components.FnArgs(
            working_dir=str(folder / name / "working"),
            transform_graph_path=output.transform_savedmodel_dir.rsplit("/", 1)[0],
            train_files=[fixtures.write_transformed(output, windows, str(folder / "train.gz"))],
            eval_files=[fixtures.write_transformed(output, windows[:20], str(folder / "eval.gz"))],
            serving_model_dir=str(folder / name / "model"),
            model_run_dir=str(folder / name / "run"),
            custom_config=given.model_copy(
                update={"checkpoint_root": str(folder / name / "checkpoints")}
            ).pack(),
        )

    return fn_args


def test_it_trains_as_the_trainer_does_and_the_trainer_takes_its_best(transformed, tmp_path, monkeypatch):
    """Killed within the last trial, it goes on within it; the Trainer then gets the score of that trial."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    fn_args = transformed("search")
    save, saves = loop_lib.Loop._save, []

    def save_and_die(self):
        save(self)
        saves.append((self._settings.learning_rate, int(self._epoch)))
        if saves[-1] == (0.02, 2):
            raise Killed

    monkeypatch.setattr(loop_lib.Loop, "_save", save_and_die)
    with pytest.raises(Killed):
        tuner.tuner_fn(fn_args).tuner.search()
    monkeypatch.setattr(loop_lib.Loop, "_save", save)
    result = tuner.tuner_fn(fn_args)
    result.tuner.search(**result.fit_kwargs)
    trials = {
        (t["values"]["model.dim"], t["values"]["training.learning_rate"]): t for t in result.tuner.trials()
    }
    for rate in (1e30, 0.02):
        assert trials[7, rate]["error"] == "model: dim must be a multiple of heads (2), found 7"
    assert "the loss is nan" in trials[8, 1e30]["error"]
    assert trials[8, 0.02]["taken"] and trials[8, 0.02]["epochs"] == 4

    fn_args.hyperparameters = json.loads(json.dumps(result.tuner.get_best_hyperparameters()[0].get_config()))
    # Other settings of the experiment: those of the search take their place.
    custom = dict(
        fn_args.custom_config, training=json.dumps({"epochs": 4, "batch_size": 32, "learning_rate": 1e-5})
    )
    fn_args.custom_config = custom
    checkpoints = arguments.Arguments.unpack(custom).checkpoint_root
    keep, during, before = reasons.keep, [], os.listdir(checkpoints)

    def keep_and_look(*args, **options):
        during.extend(os.listdir(checkpoints))
        keep(*args, **options)

    monkeypatch.setattr(reasons, "keep", keep_and_look)
    task.run_fn(fn_args)
    # The checkpoints, by which a second attempt goes on, are there until nothing else is left to do.
    assert len(during) == len(before) + 1 and os.listdir(checkpoints) == before
    history = json.loads(open(f"{fn_args.model_run_dir}/{task.HISTORY}", encoding="utf-8").read())
    assert history["tuned"] == {"model.dim": 8, "training.learning_rate": 0.02}
    assert history["epochs"][0]["learning_rate"] == pytest.approx(0.02)
    best = max(epoch["ndcg@10"] for epoch in history["epochs"])
    assert best == trials[8, 0.02]["score"]
    assert history["reason"] == reasons.FIRST
    # Without training, a model that starts from this one is this one.
    settings = search.merge(
        arguments.Arguments.unpack(fn_args.custom_config).trainer, {"model.dim": 8, "training.epochs": 0}
    )
    _, again = task.train(
        settings, task.load(fn_args), str(tmp_path / "again"), base_model=fn_args.serving_model_dir
    )
    started = again["warm_start"]
    assert started["weights"] == started["of"] > 0 and started["rows"]["items"]["new"] == 0
    assert again["epochs"][0]["ndcg@10"] == pytest.approx(best)


def test_a_second_training_in_a_process_is_the_first_again(transformed, tmp_path):
    """Also by name: TensorFlow's order of additions depends on names."""
    fn_args, found = transformed("again"), []
    settings = arguments.Arguments.unpack(fn_args.custom_config).trainer
    for number in range(2):
        one = search.merge(settings, {"training.epochs": 1})
        loop, _ = task.train(one, task.load(fn_args), str(tmp_path / str(number)))
        found.append({variable.name: variable.numpy() for variable in loop.model.variables})
    assert list(found[0]) == list(found[1])
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name])


def test_a_process_trains_models_of_different_sizes_on_several_devices(transformed, tmp_path, monkeypatch):
    """As searches and sweeps do: TensorFlow refuses a second strategy's exchange, if shapes are others."""
    monkeypatch.setattr(tf.distribute.MirroredStrategy, "_collective_key_base", 0)
    devices.strategy.cache_clear()
    fn_args = transformed("sizes")
    settings = arguments.Arguments.unpack(fn_args.custom_config).trainer
    for dim in (8, 16):
        # As TFX does before each training.
        importlib.reload(task)
        one = search.merge(settings, {"model.dim": dim, "training.epochs": 1})
        _, history = task.train(one, task.load(fn_args), str(tmp_path / str(dim)))
        assert history["replicas"] == 2 and history["best_epoch"] == 1
    devices.strategy.cache_clear()


def test_a_model_that_more_training_spoils_stays_as_it_is(transformed, tmp_path, monkeypatch):
    """Started from a model that was trained well, with a rate that does harm."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    fn_args = transformed("spoilt")
    task.run_fn(fn_args)
    settings = search.merge(
        arguments.Arguments.unpack(fn_args.custom_config).trainer,
        {"training.epochs": 2, "training.learning_rate": 30.0},
    )
    loop, history = task.train(
        settings, task.load(fn_args), str(tmp_path / "again"), base_model=fn_args.serving_model_dir
    )
    first, *others = history["epochs"]
    assert history["best_epoch"] == 0 and max(one["ndcg@10"] for one in others) < first["ndcg@10"]
    assert loop.evaluation.evaluate()["ndcg@10"] == pytest.approx(first["ndcg@10"])
    # From weights that were drawn nothing is expected.
    _, history = task.train(settings, task.load(fn_args), str(tmp_path / "anew"))
    assert history["epochs"][0]["epoch"] == 1


def test_what_is_served_of_mixed_precision_computes_in_float32(transformed, tmp_path, monkeypatch):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    fn_args = transformed("mixed")
    given = json.loads(fn_args.custom_config["training"])
    fn_args.custom_config = {
        **fn_args.custom_config,
        "training": json.dumps({**given, "mixed_precision": True}),
    }
    seen, as_float32 = [], loop_lib.Loop.as_float32

    def as_float32_and_look(self):
        mixed = self.model
        as_float32(self)
        seen.append((mixed, self.model))

    monkeypatch.setattr(loop_lib.Loop, "as_float32", as_float32_and_look)
    task.run_fn(fn_args)
    ((mixed, exact),) = seen
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    for a, b in zip(mixed.variables, exact.variables, strict=True):
        assert b.dtype == tf.float32 or a.dtype == b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    served = tf.saved_model.load(fn_args.serving_model_dir)
    short = (tf.float16, tf.bfloat16)
    for name, signature in served.signatures.items():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
        assert nodes
        used = [
            node.name
            for node in nodes
            for value in node.attr.values()
            if value.type in {t.as_datatype_enum for t in short}
        ]
        assert not used, (name, used[:5])
    assert mixed.compute_dtype == "bfloat16" and exact.compute_dtype == "float32"
