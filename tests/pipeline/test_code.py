"""What takes part in telling TFX's executions apart, besides settings and inputs."""

import ast
import pathlib
import shutil

import pytest
import yaml

from pipeline import code, config
from pipeline.runners import local

ROOT = pathlib.Path(code.__file__).parents[1]


def test_a_stage_has_another_version_if_its_code_changes(tmp_path):
    for folder in ("schemas", "components", "trainer", "serving"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = code.versions(tmp_path)
    assert before == code.versions() and len(set(before.values())) == 6

    def changed(path):
        with open(tmp_path / path, "a", encoding="utf-8") as stream:
            stream.write("\n# A change.\n")
        after = code.versions(tmp_path)
        (tmp_path / path).write_bytes((ROOT / path).read_bytes())
        return {stage for stage, version in after.items() if version != before[stage]}

    assert changed("components/behavior_example_gen/windows/next.py") == {code.WINDOWS}
    assert changed("components/transform/windows/next.py") == {code.FEATURES, code.TRAINING}
    assert changed("trainer/models/sasrec.py") == {code.TRAINING}
    assert changed("components/trainer/executor.py") == {code.TRAINING}
    assert changed("components/tuner/executor.py") == {code.TRAINING}
    assert changed("components/trainer/job_service.py") == set()
    assert changed("serving/signatures.py") == {code.TRAINING, code.EVALUATION, code.TRIAL}
    assert changed("schemas/names.py") == set(before)
    assert changed("components/evaluator/verdict.py") == {code.EVALUATION}
    assert changed("components/anomaly_gate/shifts.py") == {code.ANOMALIES}
    assert changed("components/infra_validator/leash.py") == {code.TRIAL}
    assert changed("components/pusher/executor.py") == set()


# What the steps of a stage run, and the stages whose artifacts they read: these are made anew where their code changes.
_STAGES = {
    code.WINDOWS: (["components/behavior_example_gen/executor.py"], []),
    code.FEATURES: (["components/transform"], [code.WINDOWS]),
    code.TRAINING: (
        ["trainer", "components/trainer/executor.py", "components/tuner/executor.py"],
        [code.FEATURES, code.WINDOWS],
    ),
    code.ANOMALIES: (["components/anomaly_gate/executor.py"], [code.WINDOWS]),
    code.EVALUATION: (["components/evaluator"], [code.TRAINING, code.WINDOWS]),
    code.TRIAL: (["components/infra_validator/executor.py"], [code.TRAINING, code.WINDOWS]),
}


def _module(name):
    """The file of one of our modules; None of others."""
    path = ROOT.joinpath(*name.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.exists()), None)


def _imports(path):
    """Our modules that a module imports, also within its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (_module(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield _module(f"{node.module}.{alias.name}") or _module(node.module)


@pytest.mark.parametrize("stage", code._PLACES)
def test_all_code_that_a_stage_runs_takes_part(stage):
    places, before = _STAGES[stage]
    left, found = [path for place in places for path in code._sources(ROOT / place)], set()
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left.extend(one for one in _imports(path) if one is not None)
    listed = {
        path
        for one in (stage, *before)
        for place in code._PLACES[one]
        for path in code._sources(ROOT / place)
    }
    assert all(path.exists() for path in listed)
    assert not sorted(found - listed)


def test_executions_differ_by_code_and_by_the_schemas_text(tmp_path, monkeypatch):
    """Their properties are what TFX makes the keys of its cache of."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "log": {"path": "log.csv"}, "model": {"name": "sasrec"}}))

    def properties(*overrides):
        made = local.assemble(config.load(str(path), overrides), str(tmp_path / "run")).components
        return {node.id: dict(node.exec_properties) for node in made}

    plain = properties()
    assert plain == properties()

    def differing(other):
        return [name for name in plain if plain[name] != other[name]]

    strict = properties("validation.max_skew=0.01")
    assert differing(strict) == ["ImportSchemaGen"]
    imported = pathlib.Path(strict["ImportSchemaGen"]["schema_file"]).read_text()
    assert "threshold: 0.01" in imported
    monkeypatch.setattr(code, "versions", lambda: dict.fromkeys(code._PLACES, "another"))
    assert differing(properties()) == [
        "BehaviorExampleGen",
        "AnomalyGate",
        "Transform",
        "Trainer",
        "Evaluator",
        "ServerValidator",
    ]
