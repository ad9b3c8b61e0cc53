"""Parameters of a run, as they are written on the command line."""

import pytest

from pipeline import config, parameters
from schemas import errors


def test_values_have_the_types_of_their_defaults():
    known = parameters.of(config.load(config.find("ml100k-sasrec"), ["log.path=gs://b/{SPAN}.csv"]))
    assert {name: one.default for name, one in known.items()} == {
        "log_path": "gs://b/{SPAN}.csv",
        "span": "newest",
        "push": "yes",
        "epochs": 60,
    }
    assert parameters.read(["epochs=3", "span=7", "log_path=gs://b/x=y.csv", "push=no"], known) == {
        "push": "no",
        "epochs": 3,
        "span": "7",
        "log_path": "gs://b/x=y.csv",
    }


def test_where_epochs_are_searched_no_run_has_others():
    searched = ["tuning={space: {training.epochs: [5, 10]}}"]
    found = parameters.of(config.load(config.find("ml100k-sasrec"), searched))
    assert set(found) == {"log_path", "span", "push"}


def test_where_nothing_reads_epochs_no_run_has_others():
    fitted = config.load(config.find("online-retail-byb-logistic"), ["model.base_model=gs://b/byb"])
    assert fitted.loop.name == "logistic_regression"
    assert set(parameters.of(fitted)) == {"log_path", "span", "push"}
    with pytest.raises(errors.InputError, match="a name of log_path, span, push; found 'epochs=5'"):
        parameters.read(["epochs=5"], parameters.of(fitted))


@pytest.mark.parametrize(
    "text, words",
    [
        ("epochs", "takes NAME=VALUE"),
        ("epoch=3", "a name of log_path, span, push, epochs; found 'epoch=3'"),
        ("epochs=-1", "takes a whole number, found '-1'"),
        ("epochs=few", "takes a whole number"),
        ("push=false", "--parameter push: takes yes or no, found 'false'"),
    ],
)
def test_what_is_no_parameter_is_told(text, words):
    known = parameters.of(config.load(config.find("ml100k-sasrec")))
    with pytest.raises(errors.InputError, match=words):
        parameters.read([text], known)
