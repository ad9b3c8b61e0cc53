"""A candidate that is asked at a moment, in a real server."""

from components.infra_validator import executor, spec
from tests import period_fixtures
from tests.components.infra_validator import in_this_process


def test_a_good_model_is_blessed(periods, monkeypatch):
    in_this_process.use(monkeypatch)
    examples = [period_fixtures.serialize(window) for window in period_fixtures.random_windows(8, seed=2)]
    infra = spec.InfraSpec(server="embedded", requests=3, max_p50_ms=5000)
    result = executor.validate(str(periods / "model"), examples, infra)
    assert result["reasons"] == [] and result["blessed"]
    assert {"recommend", "recommend_scenes", "rank", "embed", "evaluate"} < set(result["signatures"])
