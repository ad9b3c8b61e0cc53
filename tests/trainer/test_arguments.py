"""What travels in TFX's `custom_config` comes back as it was, whatever an experiment sets."""

import json

import pydantic
import pytest

from pipeline import config as pipeline_config
from trainer import arguments


def of(experiment, **more):
    return arguments.Arguments(
        model=experiment.model,
        loss=experiment.loss,
        loop=experiment.loop,
        training=experiment.training,
        window=experiment.window,
        features=experiment.features,
        columns=experiment.log.columns,
        exclude_seen=experiment.evaluation.exclude_seen,
        checkpoint_root="gs://bucket/check points",
        tuning=experiment.tuning,
        **more,
    )


@pytest.mark.parametrize("name", pipeline_config.shipped_names())
def test_all_of_an_experiment_comes_back(name):
    experiment = pipeline_config.load(pipeline_config.find(name))
    given = of(experiment, code="5f", base_model=None)
    packed = given.pack()
    assert all(isinstance(text, str) for text in packed.values())
    # TFX adds keys of its own.
    found = arguments.Arguments.unpack({**packed, "module_path": "elsewhere"})
    assert found == given and found.trainer == experiment.trainer
    assert type(found.window) is type(experiment.window)


def test_texts_travel_as_they_are_and_what_is_not_set_does_not():
    experiment = pipeline_config.load(pipeline_config.find("ml100k-sasrec"))
    packed = of(experiment, base_model="/models/17").pack()
    assert packed["base_model"] == "/models/17" and packed["checkpoint_root"] == "gs://bucket/check points"
    assert packed["exclude_seen"] == json.dumps(experiment.evaluation.exclude_seen)
    assert "tuning" not in packed
    assert arguments.Arguments.unpack(packed).base_model == "/models/17"


def test_what_is_missing_is_named():
    experiment = pipeline_config.load(pipeline_config.find("ml100k-sasrec"))
    packed = of(experiment).pack()
    del packed["window"]
    with pytest.raises(pydantic.ValidationError, match="window\n.*[Ff]ield required"):
        arguments.Arguments.unpack(packed)
