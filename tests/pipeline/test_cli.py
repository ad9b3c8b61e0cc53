"""The command line: quick, quiet, and clear about what does not fit."""

import json
import os
import pathlib
import re
import subprocess
import sys

import kfp.components
import pytest
import yaml

from pipeline import cli, config
from pipeline.cli import run
from schemas import kinds

ROOT = pathlib.Path(cli.__file__).parents[2]


def footfall(*arguments, cwd=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def test_help_does_not_wait_for_tensorflow():
    """Not timed: it is enough that nothing heavy is imported."""
    code = (
        "import sys\ntry:\n import pipeline.cli; pipeline.cli.execute(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "print([m for m in ('tensorflow', 'tfx', 'apache_beam', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "experiments" in done.stdout


@pytest.mark.parametrize("what", ["models", "experiments"])
def test_lists_are_json_objects_with_names(what, capsys):
    assert cli.execute([what, "--json"]) == 0
    names = {entry["name"] for entry in json.loads(capsys.readouterr().out)}
    assert names >= ({"sasrec", "popularity"} if what == "models" else {"ml100k-sasrec"})
    assert cli.execute([what]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_errors_are_one_line_and_exit_2(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("name: x\nlog: {path: a.csv}\nmodel: {name: sasrec, dim: many}\n")
    (tmp_path / "log.csv").write_text("uid,item_id,timestamp\nu,i,1\n")
    (tmp_path / "column.yaml").write_text(
        f"name: x\nlog: {{path: {tmp_path}/log.csv}}\nmodel: {{name: sasrec}}\n"
    )
    cases = (
        (("run", "nothing"), "nothing: no such file"),
        (("run", str(tmp_path / "bad.yaml")), "model.dim: takes a whole number; found"),
        (
            ("run", str(tmp_path / "column.yaml")),
            "column 'user_id' (log.columns.user_id) is missing; the file has",
        ),
        (("report", str(tmp_path)), "it has no run.json"),
        (("predict", str(tmp_path), "--items", "a"), "no version of a model there"),
        (("predict", str(tmp_path), "--exposure", "{"), "--exposure: not JSON"),
        (("predict", str(tmp_path), "--exposures", "none.jsonl"), "none.jsonl: No such file"),
        (("data", "fetch", "nothing"), "there are ml-100k"),
    )
    for arguments, words in cases:
        code, said = cli.execute(arguments), capsys.readouterr().err
        assert code == 2 and words in said, (arguments, said)
        assert said.startswith("footfall: ") and len(said.strip().splitlines()) == 1
    done = footfall("run", "column.yaml", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("footfall: ")
    assert len(done.stderr.strip().splitlines()) == 1
    # Nothing was started.
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "option, command",
    [
        ("--runs", ("run", "ml100k-sasrec", "--runs")),
        ("--runs", ("sweep", "ml100k-sasrec", "--runs")),
        ("--runs", ("demo", "--runs")),
        ("--output", ("compile", "ml100k-sasrec", "-o")),
        ("--to", ("data", "fetch", "ml-100k", "--to")),
        ("--html", ("compare", "a", "b", "--html")),
    ],
)
def test_a_bucket_is_no_folder_of_this_machine(option, command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.execute([*command, "gs://bucket/x.yaml"]) == 2
    said = capsys.readouterr().err
    assert said == f"footfall: {option} takes a path on this machine, found gs://bucket/x.yaml\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", config.shipped_names())
def test_every_shipped_experiment_compiles_to_a_spec_that_kfp_loads(name, tmp_path, monkeypatch):
    target = tmp_path / "spec.yaml"
    command = ["compile", name, "--root", "gs://bucket/root", "-o"]
    assert cli.execute([*command, str(target)]) == 0
    # The backends differ in what they can be given, not in what the steps do.
    assert cli.execute([*command, str(tmp_path / "other.yaml"), "--target", "vertex"]) == 0
    assert (tmp_path / "other.yaml").read_text() == target.read_text()
    with monkeypatch.context() as patch:
        # The same YAML by libyaml. What kfp has by itself reads the specs of the tests below.
        patch.setattr(yaml, "SafeLoader", yaml.CSafeLoader)
        loaded = kfp.components.load_component_from_file(str(target))
    tasks = loaded.pipeline_spec.root.dag.tasks
    assert {"BehaviorExampleGen", "Transform", "Trainer", "Evaluator", "ServerValidator", "Pusher"} <= set(
        tasks
    )
    assert "AnomalyGate" in tasks["Transform"].dependent_tasks
    window = config.load(config.find(name)).window
    schema = (tmp_path / "spec.schema.pbtxt").read_text()
    for wanted in (*kinds.window_kind(window.kind).key, *(f"label_{name}" for name in window.label_names)):
        assert f'name: "{wanted}"' in schema
    text = target.read_text()
    assert "gs://bucket/root" in text and str(tmp_path) not in text


def test_a_search_is_part_of_the_compiled_pipeline(tmp_path):
    from pipeline.runners import kubeflow

    search = "tuning={space: {model.dim: [32, 64], model.dropout: {low: 0.1, high: 0.5}}, trials: 4}"
    for overrides, tuned in (([search], True), ([], False)):
        experiment = config.load(config.find("ml100k-sasrec"), overrides)
        spec, _ = kubeflow.compile_pipeline(experiment, str(tmp_path / "spec.yaml"), "gs://bucket/root", "x")
        loaded = kfp.components.load_component_from_file(spec)
        tasks = loaded.pipeline_spec.root.dag.tasks
        assert ("Tuner" in tasks) == tuned
        inputs = tasks["Trainer"].inputs.artifacts
        assert ("hyperparameters" in inputs) == tuned
        if tuned:
            source = inputs["hyperparameters"].task_output_artifact
            assert (source.producer_task, source.output_artifact_key) == ("Tuner", "best_hyperparameters")
            assert json.loads(
                json.loads(
                    tasks["Tuner"].inputs.parameters["custom_config"].runtime_value.constant.string_value
                )["tuning"]
            ) == json.loads(experiment.tuning.to_json())


def test_only_spans_have_drift_measured(tmp_path):
    from pipeline.runners import kubeflow

    for path, measured in (("gs://bucket/day-{SPAN}/*.csv", True), ("gs://bucket/*.csv", False)):
        experiment = config.load(config.find("ml100k-sasrec"), [f"log.path={path}"])
        spec, _ = kubeflow.compile_pipeline(experiment, str(tmp_path / "spec.yaml"), "gs://bucket/root", "x")
        loaded = kfp.components.load_component_from_file(spec)
        parameters = loaded.pipeline_spec.root.dag.tasks["AnomalyGate"].inputs.parameters
        assert ("accepted_root" in parameters) == measured


def test_describe_prints_an_experiment_that_loads(tmp_path, capsys):
    def describe(log):
        assert cli.execute(["data", "describe", str(log)]) == 0
        return capsys.readouterr().out

    rows = "".join(f"u{n % 9},i{n % 5},{1_600_000_000 + 60 * n}\n" for n in range(200))
    (tmp_path / "clicks.csv").write_text("userId,productId,time\n" + rows)
    done = footfall("data", "describe", str(tmp_path / "clicks.csv"), "--json")
    found = json.loads(done.stdout)
    assert (found["users"], found["items"], found["events"]) == (9, 5, 200)
    (tmp_path / "mine.yaml").write_text(found["experiment"])
    experiment = config.load(str(tmp_path / "mine.yaml"))
    assert experiment.name == "clicks" and experiment.log.columns.user_id == "userId"
    assert experiment.log.columns.item_id == "productId" and experiment.log.columns.timestamp == "time"
    printed = describe(tmp_path / "clicks.csv")
    assert "200 events, 9 users" in printed
    (tmp_path / "all.yaml").write_text(printed)
    assert config.load(str(tmp_path / "all.yaml")) == experiment
    rows = "".join(f"u{n % 9},i{n % 5},{1_600_000_000 + 60 * n},{n % 2}\n" for n in range(200))
    (tmp_path / "shown.csv").write_text("user,item,time,clicked\n" + rows)
    printed = describe(tmp_path / "shown.csv")
    assert "steps after an exposure: click 50.00%" in printed
    (tmp_path / "shown.yaml").write_text(printed)
    assert config.load(str(tmp_path / "shown.yaml")).window.steps == ("click",)


def test_an_output_is_written_over_nothing_that_is_read(tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text(pathlib.Path(config.find("ml100k-sasrec")).read_text())
    (tmp_path / "link.yaml").symlink_to(mine)
    before = mine.read_text()
    for output in ("mine.yaml", "link.yaml"):
        assert cli.execute(["compile", str(mine), "-o", str(tmp_path / output)]) == 2
        assert capsys.readouterr().err == (
            f"footfall: --output: takes a file to write, found the experiment {mine}\n"
        )
    assert mine.read_text() == before
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in ("run.json", "report.html"):
        (run_dir / name).write_text("of the run")
        command = ["compare", str(run_dir), str(tmp_path), "--html", str(run_dir / name)]
        assert cli.execute(command) == 2
        assert "--html takes a page to write, found a file of a run that is" in capsys.readouterr().err
        assert (run_dir / name).read_text() == "of the run"
    # A page may be beside them, again and again.
    (run_dir / "page.html").write_text("of before")
    assert cli.execute(["compare", str(run_dir), str(run_dir), "--html", str(run_dir / "page.html")]) == 2
    assert "neither the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command, said",
    [
        (("run", "ml100k-sasrec"), "stopped; the same command goes on from here"),
        (("sweep", "ml100k-sasrec"), "stopped; the same command goes on from here"),
        (("demo",), "stopped; the same command goes on from here"),
        (("compile", "ml100k-sasrec", "-o", "a.yaml"), "stopped"),
        (("submit", "ml100k-sasrec", "--root", "gs://bucket/root"), "stopped"),
    ],
)
def test_a_stop_says_what_is_true_of_the_command(command, said, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "find", stop)
    assert cli.execute(command) == 130
    assert capsys.readouterr().err == f"footfall: {said}\n"


def test_version_names_the_stack(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.execute(["--version"])
    assert stopped.value.code == 0
    assert re.fullmatch(
        r"footfall \d+\.\d+\.\d+ \(tfx 1\.\d+\.\d+, tensorflow 2\.\d+\.\d+, .*\)\n", capsys.readouterr().out
    )


def test_a_report_is_named_if_the_run_wrote_it_whatever_the_clock_says(tmp_path, capsys):
    report = tmp_path / "report.html"
    run.say_report(str(tmp_path), run.report_there(str(tmp_path)))
    report.write_text("of the run before")
    before = run.report_there(str(tmp_path))
    run.say_report(str(tmp_path), before)
    assert capsys.readouterr().out == ""
    report.write_text("of this one")
    os.utime(report, (1, 1))
    run.say_report(str(tmp_path), before)
    assert capsys.readouterr().out == f"Report: {report}\n"
