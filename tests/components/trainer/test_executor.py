"""What a run has otherwise than its settings reaches the training."""

import json

import pydantic
import pytest
from tfx.types import standard_artifacts
from tfx.utils import json_utils

from components.behavior_example_gen import artifacts
from components.trainer import executor
from pipeline import config
from trainer import arguments


def given(epochs=None, live=None, profile=None, base=None):
    """The arguments of a training, as `run_fn` reads them."""
    experiment = config.load(config.find("ml100k-sasrec"), ["training.epochs=9"])
    packed = arguments.Arguments(
        model=experiment.model,
        loss=experiment.loss,
        loop=experiment.loop,
        training=experiment.training,
        window=experiment.window,
        features=experiment.features,
        columns=experiment.log.columns,
        exclude_seen=True,
        checkpoint_root="/tmp/x",
    ).pack()
    examples, graph, model, run = (
        kind()
        for kind in (
            standard_artifacts.Examples,
            standard_artifacts.TransformGraph,
            standard_artifacts.Model,
            standard_artifacts.ModelRun,
        )
    )
    for at, artifact in enumerate((examples, graph, model, run)):
        artifact.uri = f"/tmp/of-{at}"
    examples.split_names = json.dumps(["train", "eval"])
    properties = {
        "train_args": json.dumps({"splits": ["train"]}),
        "eval_args": json.dumps({"splits": ["eval"]}),
        "custom_config": json_utils.dumps(packed),
    }
    if epochs is not None:
        properties[executor.EPOCHS] = epochs
    if live is not None:
        properties[executor.LIVE] = live
    if base is not None:
        properties[executor.BASE] = base
    found = executor.Executor()._GetFnArgs(
        {"examples": [examples], "transform_graph": [graph], **({"profile": [profile]} if profile else {})},
        {"model": [model], "model_run": [run]},
        properties,
    )
    return arguments.Arguments.unpack(found.custom_config)


@pytest.mark.parametrize("epochs, trained", [(None, 9), (3, 3), (0, 0)])
def test_epochs_of_a_run_take_the_place_of_the_settings(epochs, trained):
    assert given(epochs).trainer.training.epochs == trained


def test_fewer_than_no_epochs_are_refused():
    with pytest.raises(pydantic.ValidationError, match="epochs"):
        given(-1)


@pytest.mark.parametrize(
    "live, base",
    [
        (None, None),
        ({"path": None, "digest": None}, None),
        ({"path": "gs://b/models/7", "digest": "5f"}, "gs://b/models/7"),
    ],
)
def test_a_training_starts_from_the_model_that_is_live_if_there_is_one(live, base):
    assert given(live=None if live is None else json.dumps(live)).base_model == base


def test_a_training_knows_which_model_it_is_pretrained_by():
    found = given(base=json.dumps({"path": "gs://b/models/7", "digest": "5f"}))
    assert (found.pretrained, found.pretrained_digest, found.base_model) == ("gs://b/models/7", "5f", None)
    assert given().pretrained is given().pretrained_digest is None


@pytest.mark.parametrize(
    "split", [None, {"eval_from": "2011-09-15T00:00:00+00:00", "test_from": "2011-11-01"}]
)
def test_a_training_knows_since_when_it_is_tested(tmp_path, split):
    profile = artifacts.LogProfile()
    profile.uri = str(tmp_path)
    (tmp_path / "profile.json").write_text(json.dumps({"split": split}))
    assert given(profile=profile).tested_from == (split and split["test_from"])
    assert given().tested_from is None
