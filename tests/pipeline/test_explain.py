"""What is wrong with an experiment is said in Footfall's words: where, what was found, what is allowed."""

import copy
import re

import pydantic
import pytest
import yaml

from pipeline import cli, config, explain
from pipeline.cli import serve
from schemas import errors

GOOD = {"name": "mine", "log": {"path": "log.csv"}, "model": {"name": "sasrec"}}
# How pydantic speaks.
_NOT_OURS = re.compile(
    r"input should|input tag|valid (integer|string|number|boolean|tuple|dictionary|list)|literal|pydantic|extra inputs"
    r"|field required|discriminator(?!_hidden|_rate|_steps)|instance of|https:|type=",
    re.IGNORECASE,
)
_WRONG = (
    None,
    True,
    5,
    -1,
    1.5,
    1e400,
    float("nan"),
    "",
    "x",
    "x" * 300,
    [],
    [1],
    ["x", None],
    {},
    {"x": 1},
    {"1": {}},
)


def explained(values):
    try:
        config.Experiment.from_values(values)
    except pydantic.ValidationError as error:
        return explain.lines(error, config.Experiment)
    return []


def places(values, before=()):
    """The keys of all values within some, and of their groups."""
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


@pytest.mark.parametrize("name", ["ml100k-casm", "ml100k-sasrec-tp", "exposures-example"])
def test_no_message_has_words_of_pydantic(name):
    """Every setting of experiments of both windows, with values of each wrong kind."""
    whole = yaml.safe_load(config.load(config.find(name)).to_yaml())
    whole["tuning"] = {"space": {"model.dim": [8, 16]}, "training": {"epochs": 2}}
    said = 0
    for place in places(whole):
        for wrong in _WRONG:
            values = copy.deepcopy(whole)
            parent = values
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = wrong
            for line in explained(values):
                said += 1
                assert "\n" not in line and not _NOT_OURS.search(line), (place, wrong, line)
                first = re.match(r"([\w.@/()-]+?)(:? |\.)\S", line)
                assert first and (first[1] == "(file)" or first[1] in config.Experiment.model_fields), (
                    place,
                    line,
                )
                assert not re.match(r"\(file\): [a-z]+\.", line), (place, wrong, line)
                assert len(line) < 1000, line
    assert said > 500


@pytest.mark.parametrize(
    "change,expected",
    [
        (
            {"model": {"name": "sasrek"}},
            ["model.name: must be one of", 'did you mean sasrec? found "sasrek"'],
        ),
        (
            {"model": "sasrec"},
            ["model: takes keys, first name (", "did you mean model: {name: sasrec}? ", 'found "sasrec"'],
        ),
        ({"model": {"dim": 8}}, ["model.name: missing; allowed: ", "sasrec"]),
        ({"model": {"name": None}}, ["model.name: missing; allowed: "]),
        (
            {"loss": {"name": "sofmax"}},
            ["loss.name: must be one of softmax, ", 'did you mean softmax? found "sofmax"'],
        ),
        (
            {"split": {"by": "leave_one_out"}},
            ['split.by: takes a list, as [leave_one_out]; found "leave_one_out"'],
        ),
        (
            {"split": {"by": ["leave_one_ot"]}},
            [
                "split.by.0: must be one of time, leave_one_out, held_out_users; did you mean leave_one_out? found"
            ],
        ),
        ({"log": {"path": 5}}, ["log.path: takes text, in quotes; found 5"]),
        (
            {"window": {"kind": "period", "past": 30, "future": "1d"}},
            ["window.past: write 30s, 30m, 30h or 30d, found 30"],
        ),
        (
            {
                "window": {
                    "kind": "period",
                    "past": "7d",
                    "future": "1d",
                    "labels": {"x": {"any_of": {}, "within": "30"}},
                }
            },
            ["window.labels.x.within: write 30s, 30m, 30h or 30d, found '30'"],
        ),
        (
            {"window": {"kind": "period", "past": 0, "future": "1d"}},
            ["window.past: takes a time above 0, as 7d, 12h, 30m or 90s; found 0"],
        ),
        ({"log": {"path": None}}, ["log.path: takes text; found null"]),
        ({"log": "log.csv"}, ["log: takes keys: path, format", 'found "log.csv"']),
        ({"log": {"path": ""}}, ["log.path: names a file, a folder or a pattern, found none"]),
        (
            {"log": {"path": "{DATE}/x.csv"}},
            ["log.path: unknown mark {DATE}: {SPAN} is the whole number of a span"],
        ),
        (
            {"log": {"path": "x", "format": "cvs"}},
            ["log.format: must be one of csv, tsv, jsonl, parquet or null; did you mean csv?"],
        ),
        (
            {"training": {"epochs": "0x1F"}},
            ['training.epochs: takes a whole number, of decimal digits alone, as 1000; found "0x1F"'],
        ),
        (
            {"training": {"learning_rate": "1_0.5"}},
            ['training.learning_rate: takes a number, of decimal digits alone, as 1000; found "1_0.5"'],
        ),
        ({"training": {"epochs": "31"}}, ['training.epochs: takes a whole number; found "31"']),
        ({"training": {"epochs": 1.5}}, ["training.epochs: takes a whole number; found 1.5"]),
        ({"training": {"batch_size": "many"}}, ["training.batch_size: takes a whole number", 'found "many"']),
        ({"name": "My run"}, ["name: takes lower-case letters, digits and -", 'found "My run"']),
        ({"validation": {"max_skew": 0}}, ["validation.max_skew: must be above 0; found 0"]),
        (
            {"validation": []},
            ["validation: takes keys: max_skew, max_drift, error_rate, max_shrink; found []"],
        ),
        # A key that is called as its kind is a key.
        (
            {"window": {"kind": "exposure", "steps": ["buy"], "exposure": 5}},
            ["window.exposure: takes text, in quotes or null; found 5"],
        ),
        (
            {"window": {"kind": "next", "next": 5}},
            ["window.next: unknown key; allowed: kind, shards, length"],
        ),
        (
            {"log": {"path": "x", "columns": {"item": {"../../x": "c"}}}},
            ["log.columns: item: a name has letters", "'../../x'"],
        ),
        (
            {"push": {"destination": "$HOME/models"}},
            ["push.destination: variables are not expanded (~ is); found $HOME in"],
        ),
    ],
)
def test_a_message_says_where_what_and_what_is_allowed(change, expected):
    (line,) = explained({**GOOD, **change})
    for words in expected:
        assert words in line, line


_PERIOD = {"kind": "period", "past": "7d", "future": "1d"}
_TOGETHER = [
    (
        {"window": {**_PERIOD, "labels": {"x": {"sum": "price", "over": 1}}}, "model": {"name": "mlp"}},
        "window.labels.x.sum: found price, which is none of the numbers that log.columns has of an event: there are none",
    ),
    (
        {"window": {**_PERIOD, "labels": {"x": {"any_of": {"price": "1"}}}}, "model": {"name": "mlp"}},
        "window.labels.x.any_of: found price, which is none of the features with texts that log.columns has of an event: "
        "item_id",
    ),
    (
        {"features": {"options": {"item_price": {}}}},
        "features.options: no such feature of model sasrec with window: {kind: next}, found item_price; there are none",
    ),
    (
        {"log": {"path": "x", "columns": {"label": {"click": "c"}}}, "window": _PERIOD},
        "log.columns.label goes with window: {kind: exposure}; window.labels says what has to follow a moment; found click",
    ),
    (
        {"log": {"path": "x", "columns": {"label": {"click": "c"}}}},
        "log.columns.label goes with window: {kind: exposure}; found click",
    ),
    (
        {"log": {"path": "x", "columns": {"context": {"price": {"column": "p", "type": "categorical"}}}}},
        "log.columns.context goes with window: {kind: exposure} or {kind: period}; found price",
    ),
    (
        {"log": {"path": "x", "columns": {"item": {"price": {"column": "p", "type": "numeric"}}}}},
        "log.columns: item_price is numeric, which goes with window: {kind: exposure} or {kind: period}",
    ),
    (
        {"log": {"path": "x", "columns": {"user": {"age": {"column": "a", "type": "numeric"}}}}},
        "log.columns: user_age is numeric, which goes with window: {kind: exposure}",
    ),
    (
        {"gate": {"min": {"auc/churn": 0.3}}},
        "gate.min: found auc/churn, which is not measured; allowed: hr@5, hr@10, "
        "hr@20, ndcg@5, ndcg@10, ndcg@20, mrr (further K through evaluation.cutoffs, sampled ones through "
        "evaluation.sampled_negatives)",
    ),
    (
        {"model": {"name": "mlp"}},
        "model mlp needs window: {kind: exposure or period}, found kind: next",
    ),
    (
        {"window": {"kind": "exposure", "steps": ["buy"]}, "model": {"name": "mlp"}},
        "window.steps: found buy: log.columns.label has no such label; to make exposures of events, set window.exposure and "
        "window.horizon",
    ),
]


@pytest.mark.parametrize("change, expected", _TOGETHER)
def test_what_does_not_go_together_is_told_without_the_experiment(change, expected):
    """By the key of one of the parts."""
    assert explained({**GOOD, **change}) == [expected]


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            {"split": {"eval_from": 0.5, "test_from": "2020-01-01"}},
            "split: eval_from and test_from must be both shares, both times before the end, or both moments, found 0.5 and "
            "2020-01-01T00:00:00",
        ),
        (
            {"log": {"path": "x", "header": False}},
            "log: header: false needs column_names, one for each column, as [user_id, item_id, timestamp]; found none",
        ),
        (
            {"window": {"kind": "exposure", "steps": ["buy"], "exposure": "view"}},
            "window: exposure (a behaviour) needs horizon, how long after it a step counts; without exposure the log has a row "
            "per exposure; found exposure: view alone",
        ),
        (
            {"window": {**_PERIOD, "min_future": 0}},
            "window: min_future: 0 goes with labels, found none: without them, nothing could be learnt of such a window",
        ),
        (
            {"tuning": {"space": {"training.seed": [1, 2]}}},
            "tuning: space takes no training.seed: one seed is no better than another",
        ),
    ],
)
def test_what_does_not_go_together_in_a_part_is_told_without_the_part(change, expected):
    assert explained({**GOOD, **change}) == [expected]


def test_home_is_expanded_and_variables_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "push": {"destination": "~/models"}}))
    found = config.load(config.find("~/mine.yaml"), ["log.path=~/logs/*.csv"])
    assert found.log.path == f"{tmp_path}/logs/*.csv" and found.push.destination == f"{tmp_path}/models"
    for path_of_log, words in (
        ("$HOME/log.csv", r"found \$HOME in"),
        ("/data/${DAY}.csv", r"found \$\{DAY\} in"),
        ("~nobody-of-this-name/x.csv", "no user has the folder ~nobody-of-this-name"),
    ):
        with pytest.raises(errors.InputError, match=f"log.path: .*{words}"):
            config.load(str(path), [f"log.path={path_of_log}"])
    assert config.load(str(path), ["log.path=a$b.csv"]).log.path == "a$b.csv"
    with pytest.raises(errors.InputError, match="no user has the folder"):
        config.find("~nobody-of-this-name/mine.yaml")
    finetuned = config.load(config.find("online-retail-byb-finetuned"), ['model.base_model="~/models/users"'])
    assert finetuned.model.base_model == f"{tmp_path}/models/users"


def test_home_is_expanded_in_arguments(tmp_path, monkeypatch, capsys):
    """Also within quotes and behind a comma, where no shell does it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.execute(["report", "~/nothing"]) == 2
    assert cli.execute(["compare", "~/a,~/b", "~/c"]) == 2
    assert cli.execute(["report", "~nobody-of-this-name/x"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"footfall: {tmp_path}/nothing: ") and said[1].startswith(
        f"footfall: {tmp_path}/a: "
    )
    assert said[2].startswith("footfall: no user has the folder ~nobody-of-this-name")
    monkeypatch.setattr(serve, "_predict", lambda options: print(type(options.history), options.history) or 0)
    assert cli.execute(["predict", "runs/a", "--history", "~/h.jsonl"]) == 0
    assert capsys.readouterr().out == f"{str} {tmp_path}/h.jsonl\n"


def test_a_key_is_text_whatever_yaml_takes_it_for(tmp_path):
    path = tmp_path / "mine.yaml"
    for key, words in (
        ("yes", "gate.yes: unknown key"),
        ("!!timestamp 2024-01-31", "gate.2024-01-31: unknown key"),
    ):
        path.write_text(f"name: mine\nlog: {{path: x}}\nmodel: {{name: sasrec}}\ngate: {{{key}: 5}}\n")
        with pytest.raises(errors.InputError, match=f"mine.yaml: {words}"):
            config.load(str(path))
