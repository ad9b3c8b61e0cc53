"""What a model has learnt from, and which trainings may start from it."""

import datetime
import types

import pytest

from components.behavior_example_gen import spec, time_span
from pipeline import config
from schemas import errors
from serving import networks
from tests.trainer.models import test_byb_labels
from trainer import arguments, learnt, pretrained, task

BY_TIME = spec.SplitSpec()
HELD_OUT = spec.SplitSpec(by=("held_out_users",), held_out_share=0.2)
LEFT_OUT = spec.SplitSpec(by=("leave_one_out",))


def until(day):
    """What was learnt from until the end of a day."""
    end = datetime.datetime.fromisoformat(f"{day}T23:59:59.999+00:00").timestamp()
    return time_span.Bulk(0, round(end * 1000))


def check(told, split=BY_TIME, tested_from=None, setting="model.base_model"):
    learnt.check(setting, "runs/base", told, split, tested_from)


@pytest.mark.parametrize(
    "last, tested_from, refused",
    [
        ("2011-11-09", "2011-11-01T00:00:00+00:00", True),
        ("2011-11-02", "2011-11-01T23:00:00+00:00", True),
        # Of the same day it is not known which came first.
        ("2011-11-01", "2011-11-01T00:00:00+00:00", False),
        ("2011-10-31", "2011-11-01T00:00:00+00:00", False),
        # In UTC it is the day before.
        ("2011-11-01", "2011-11-01T01:00:00+02:00", True),
        (None, "2011-11-01T00:00:00+00:00", False),
    ],
)
def test_a_model_that_has_learnt_from_days_that_it_is_tested_on_is_refused(
    tmp_path, last, tested_from, refused
):
    (tmp_path / "assets.extra").mkdir()
    told = learnt.told(last and until(last), BY_TIME)
    pretrained.note(test_byb_labels.build(), str(tmp_path), told)
    told = networks.told(str(tmp_path))
    if not refused:
        check(told, tested_from=tested_from)
        return
    with pytest.raises(
        errors.InputError, match=f"runs/base has .* events up to {last}.* tested from 2011-1.* on"
    ):
        check(told, tested_from=tested_from)


def test_users_that_are_held_out_have_to_be_held_out_from_what_a_training_starts_from():
    larger = spec.SplitSpec(by=("time", "held_out_users"), held_out_share=0.3)
    for fair in (HELD_OUT, larger):
        check(learnt.told(until("2011-11-09"), fair), HELD_OUT)
    smaller = spec.SplitSpec(by=("held_out_users",), held_out_share=0.1)
    for leaking, message in (
        (BY_TIME, "split by time, and this run is tested on 20% of the users"),
        (smaller, "by held_out_users, with a held_out_share of 0.1, .* a held_out_share of at least 0.2$"),
    ):
        with pytest.raises(errors.InputError, match=message):
            check(learnt.told(until("2011-11-09"), leaking), HELD_OUT)
    # A model of a version that did not tell.
    check({}, HELD_OUT)


def test_last_events_have_to_be_left_out_of_it():
    check(learnt.told(None, LEFT_OUT), LEFT_OUT)
    with pytest.raises(
        errors.InputError, match="last event of each user.* start anew with training.warm_start: none"
    ):
        check(learnt.told(until("2011-11-09"), BY_TIME), LEFT_OUT, setting="training.warm_start")
    both = spec.SplitSpec(by=("leave_one_out", "held_out_users"))
    with pytest.raises(errors.InputError, match="tested on 20% of the users"):
        check(learnt.told(None, LEFT_OUT), both)


def test_what_a_model_started_from_has_learnt_it_has_learnt_too():
    before = learnt.told(until("2011-11-09"), BY_TIME)
    told = learnt.told(until("2011-10-01"), BY_TIME, [before, {}])
    assert told["last_day"] == "2011-11-09"
    assert learnt.told(None, None) == {}
    # Also where of the training itself no times are known.
    assert learnt.told(None, BY_TIME, [before])["last_day"] == "2011-11-09"


@pytest.mark.parametrize(
    "name, setting", [("pretrained", "model.base_model"), ("base_model", "training.warm_start")]
)
def test_a_training_asks_both_models_that_it_may_start_from(tmp_path, name, setting):
    """Before it looks at anything else."""
    (tmp_path / "assets.extra").mkdir()
    told = learnt.told(until("2011-11-09"), BY_TIME)
    pretrained.note(test_byb_labels.build(), str(tmp_path), told)
    experiment = config.load(config.find("ml100k-sasrec"))
    given = arguments.Arguments(
        **{
            part: getattr(experiment, part)
            for part in ("model", "loss", "loop", "training", "window", "features")
        },
        columns=experiment.log.columns,
        exclude_seen=True,
        checkpoint_root=str(tmp_path / "checkpoints"),
        split=BY_TIME,
        tested_from="2011-11-01T00:00:00+00:00",
        **{name: str(tmp_path)},
    )
    with pytest.raises(
        errors.InputError, match=f"^{setting}: {tmp_path} has learnt from events up to 2011-11-09"
    ):
        task.run_fn(types.SimpleNamespace(custom_config=given.pack(), base_model=None))
