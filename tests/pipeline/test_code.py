"""What takes part in telling TFX's executions apart, besides settings and inputs."""

import pathlib
import shutil

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
    assert changed("serving/signatures.py") == {code.TRAINING, code.EVALUATION, code.TRIAL}
    assert changed("schemas/names.py") == set(before)
    assert changed("components/evaluator/verdict.py") == {code.EVALUATION}
    assert changed("components/anomaly_gate/shifts.py") == {code.ANOMALIES}
    assert changed("components/infra_validator/leash.py") == {code.TRIAL}
    assert changed("components/pusher/executor.py") == set()


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
    monkeypatch.setattr(code, "versions", lambda: dict.fromkeys(code._FOLDERS, "another"))
    assert differing(properties()) == [
        "BehaviorExampleGen",
        "AnomalyGate",
        "Transform",
        "Trainer",
        "Evaluator",
        "ServerValidator",
    ]
