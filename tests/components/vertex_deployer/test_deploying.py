"""What an endpoint answers from while versions are pushed, and after a step that was refused or died on the way."""

import copy

import grpc
import pytest

pytest.importorskip("google.cloud.aiplatform_v1")

from components import patience
from components.vertex_deployer import deploying, endpoints, registry, services, spec
from schemas import errors
from serving import server_version
from tests.components.vertex_deployer import vertex as vertex_lib

_SETTINGS = spec.EndpointSpec(
    project="p",
    region="europe-west4",
    name="clicks",
    repository="europe-west4-docker.pkg.dev/p/mirror",
    labels={"team": "search"},
    service_account="server@p.iam.gserviceaccount.com",
)


@pytest.fixture
def vertex():
    found = vertex_lib.Vertex()
    yield found
    found.close()


def deploy(vertex, version, **changed):
    """Runs the step."""
    push = deploying.Push(version, f"pushed to gs://b/{version}", lambda: f"gs://b/deployed/{version}")
    return deploying.deploy(_SETTINGS.model_copy(update=changed), push, vertex.services())


def done(vertex, method):
    return sum(call == method for call in vertex.calls)


def test_each_push_is_a_version_of_one_model_and_takes_the_place_of_the_one_before(vertex):
    first = deploy(vertex, 17)
    assert vertex.answers("clicks") == {"clicks-17": 100}
    second = deploy(vertex, 23)
    assert vertex.answers("clicks") == {"clicks-23": 100}
    name = f"{vertex_lib.PARENT}/models/clicks"
    assert [(one.name, one.version_id) for one in vertex.versions] == [(name, "1"), (name, "2")]
    assert [set(one.version_aliases) for one in vertex.versions] == [
        {"push-17", "traffic-100-17"},
        {"push-23", "traffic-100-23", "default"},
    ]
    assert first.model == f"{name}@1" and first.undeployed == [] and first.traffic == {"clicks-17": 100}
    assert second.model == f"{name}@2" and second.undeployed == ["clicks-17"]
    assert second.endpoint == f"{vertex_lib.PARENT}/endpoints/clicks" and str(second).endswith(
        "answers from clicks-23 100 %; undeployed: clicks-17"
    )
    # The old one goes after the traffic has moved.
    (before, moved, gone) = vertex.history
    assert gone == f"undeployed {next(iter(before))}" and set(before).isdisjoint(moved)


def test_what_is_uploaded_and_deployed_is_as_the_settings_say(vertex):
    deploy(
        vertex,
        17,
        machine_type="n1-standard-8",
        min_replicas=2,
        max_replicas=5,
        accelerator="NVIDIA_TESLA_T4",
    )
    (model,), (endpoint,) = vertex.versions, vertex.endpoints.values()
    container, (deployed,) = model.container_spec, endpoint.deployed_models
    image = f"tensorflow/serving:{server_version.of_tensorflow()}"
    assert container.image_uri == f"europe-west4-docker.pkg.dev/p/mirror/{image}-gpu"
    assert (
        "--model_base_path=$(AIP_STORAGE_URI)" in container.args
        and "--enable_batching=false" in container.args
    )
    assert f"--rest_api_port={container.ports[0].container_port}" in container.args
    assert (container.predict_route, container.health_route) == (
        "/v1/models/model:predict",
        "/v1/models/model",
    )
    assert model.artifact_uri == "gs://b/deployed/17" and model.version_description == "pushed to gs://b/17"
    assert dict(model.labels) == dict(endpoint.labels) == {"team": "search"}
    given = deployed.dedicated_resources
    assert (given.min_replica_count, given.max_replica_count) == (2, 5)
    assert given.machine_spec.machine_type == "n1-standard-8" and given.machine_spec.accelerator_count == 1
    assert given.machine_spec.accelerator_type.name == "NVIDIA_TESLA_T4"
    assert deployed.service_account == _SETTINGS.service_account


def test_a_canary_shares_the_traffic_with_what_answered_most(vertex):
    # The first one has nobody to share with.
    deploy(vertex, 1, traffic=10)
    assert vertex.answers("clicks") == {"clicks-1": 100}
    deploy(vertex, 2, traffic=10)
    assert vertex.answers("clicks") == {"clicks-1": 90, "clicks-2": 10}
    # It is no model's name that stands for a canary.
    assert "default" in vertex.versions[0].version_aliases
    assert deploy(vertex, 3, traffic=30).undeployed == ["clicks-2"]
    assert vertex.answers("clicks") == {"clicks-1": 70, "clicks-3": 30}
    assert sorted(deploy(vertex, 4).undeployed) == ["clicks-1", "clicks-3"]
    assert vertex.answers("clicks") == {"clicks-4": 100} and "default" in vertex.versions[3].version_aliases


def test_another_share_for_the_same_version_moves_the_traffic(vertex):
    deploy(vertex, 1)
    deploy(vertex, 2, traffic=10)
    deploy(vertex, 2, traffic=50)
    assert vertex.answers("clicks") == {"clicks-1": 50, "clicks-2": 50}
    assert deploy(vertex, 2, traffic=100).undeployed == ["clicks-1"]
    assert vertex.answers("clicks") == {"clicks-2": 100}
    assert done(vertex, "DeployModel") == 2 and done(vertex, "UpdateEndpoint") == 2
    assert set(vertex.versions[1].version_aliases) == {"push-2", "traffic-100-2", "default"}


def test_a_step_that_is_run_again_does_nothing_again(vertex):
    deploy(vertex, 1)
    deploy(vertex, 2, traffic=10)
    calls = len(vertex.calls)
    again = deploy(vertex, 2, traffic=10)
    assert vertex.answers("clicks") == again.traffic == {"clicks-1": 90, "clicks-2": 10}
    assert not set(vertex.calls[calls:]) - {"ListOperations", "ListEndpoints", "ListModelVersions"}


def test_a_step_that_is_run_again_leaves_a_rollback_and_undeploys_what_was_rolled_back(vertex):
    deploy(vertex, 1)
    deploy(vertex, 2, traffic=10)
    vertex.give("clicks", {"clicks-1": 100})
    for undeployed in (["clicks-2"], []):
        assert deploy(vertex, 2, traffic=10).undeployed == undeployed
        assert vertex.answers("clicks") == {"clicks-1": 100}
    # The next push is served.
    deploy(vertex, 3)
    assert vertex.answers("clicks") == {"clicks-3": 100}


def test_a_canary_that_somebody_gave_all_of_the_traffic_keeps_it(vertex):
    deploy(vertex, 1)
    deploy(vertex, 2, traffic=10)
    vertex.give("clicks", {"clicks-2": 100})
    assert deploy(vertex, 2, traffic=10).undeployed == ["clicks-1"]
    assert vertex.answers("clicks") == {"clicks-2": 100}


def test_an_endpoint_that_was_halted_keeps_what_is_deployed(vertex):
    deploy(vertex, 1)
    vertex.give("clicks", {})
    assert deploy(vertex, 1).undeployed == []
    assert vertex.answers("clicks") == {"clicks-1": 0}


def test_an_older_version_does_not_take_the_place_of_a_newer_one(vertex):
    deploy(vertex, 2)
    late = deploy(vertex, 1)
    assert late.newer == 2 and "has had version 2, which is newer" in str(late)
    assert vertex.answers("clicks") == {"clicks-2": 100} and len(vertex.versions) == 1


def _prepared(vertex, case):
    """Takes an endpoint to where the last step of a case begins; what the step is told."""
    for version, changed in case[:-1]:
        deploy(vertex, version, **changed)
    return case[-1]


_CASES = {
    "the first version": [(1, {})],
    "a replacement": [(1, {}), (2, {})],
    "a canary": [(1, {}), (2, {"traffic": 10})],
    "a replacement of a canary": [(1, {}), (2, {"traffic": 10}), (3, {"traffic": 20})],
    "a canary that gets more": [(1, {}), (2, {"traffic": 10}), (2, {"traffic": 100})],
}


@pytest.mark.parametrize("case", _CASES)
def test_a_step_that_died_after_any_call_is_finished_by_the_next(vertex, case):
    version, changed = _prepared(vertex, _CASES[case])
    versions, endpoints_before = copy.deepcopy(vertex.versions), copy.deepcopy(vertex.endpoints)
    operations = dict(vertex.operations)
    begun = {method: done(vertex, method) for method in ("UploadModel", "DeployModel", "CreateEndpoint")}
    start = len(vertex.calls)
    deploy(vertex, version, **changed)
    wanted, calls = vertex.answers("clicks"), len(vertex.calls) - start
    aliases = [sorted(one.version_aliases) for one in vertex.versions]
    needed = {method: done(vertex, method) - count for method, count in begun.items()}
    for number in range(calls):
        vertex.versions, vertex.endpoints = copy.deepcopy(versions), copy.deepcopy(endpoints_before)
        vertex.operations = dict(operations)
        vertex.calls.clear()
        vertex.faults = {number: vertex_lib.DIED}
        with pytest.raises(services.Refused, match="the step has died"):
            deploy(vertex, version, **changed)
        vertex.faults = {}
        deploy(vertex, version, **changed)
        assert vertex.answers("clicks") == wanted, (number, vertex.calls)
        assert [sorted(one.version_aliases) for one in vertex.versions] == aliases, (number, vertex.calls)
        assert {method: done(vertex, method) for method in needed} == needed, (number, vertex.calls)
        assert len(vertex.endpoints) == 1


_QUOTA = (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "The following quotas are exceeded: n1 CPUs")


def test_a_refusal_is_told_and_leaves_what_answers(vertex):
    deploy(vertex, 1)
    vertex.failing = {"DeployModel": _QUOTA}
    with pytest.raises(services.Refused) as refused:
        deploy(vertex, 2)
    said = str(refused.value)
    assert "deploying version 2 to endpoint clicks (as before: clicks-1 100 %)" in said and _QUOTA[1] in said
    assert vertex.answers("clicks") == {"clicks-1": 100}
    # What was uploaded is used by the next run.
    vertex.failing = {}
    deploy(vertex, 2)
    assert vertex.answers("clicks") == {"clicks-2": 100} and done(vertex, "UploadModel") == 2


def test_an_upload_that_fails_leaves_no_version(vertex):
    vertex.failing = {"UploadModel": (grpc.StatusCode.PERMISSION_DENIED.value[0], "no right to the image")}
    with pytest.raises(services.Refused, match="uploading version 1 to Model clicks.*no right to the image"):
        deploy(vertex, 1)
    assert not vertex.versions and not vertex.endpoints


def test_an_unknown_accelerator_is_refused_before_anything_is_asked(vertex):
    with pytest.raises(errors.InputError, match="must be one of .*NVIDIA_TESLA_T4.*found NVIDIA_T4"):
        deploy(vertex, 1, accelerator="NVIDIA_T4")
    assert not vertex.calls


def test_one_endpoint_has_a_name(vertex):
    vertex.endpoint("clicks", "111")
    vertex.endpoint("clicks", "222")
    with pytest.raises(
        errors.InputError, match=r"the name clicks, found 2: .*/111, .*/222; delete or rename"
    ):
        deploy(vertex, 1)
    assert not vertex.versions


def test_an_endpoint_that_somebody_has_made_is_used(vertex):
    vertex.endpoint("clicks", "111")
    vertex.endpoint("others", "222")
    assert deploy(vertex, 1).endpoint.endswith("/endpoints/111")
    assert vertex.answers("clicks") == {"clicks-1": 100} and not done(vertex, "CreateEndpoint")


def test_an_endpoint_with_other_models_is_left_alone(vertex):
    deploy(vertex, 1)
    vertex.endpoints[f"{vertex_lib.PARENT}/endpoints/clicks"].deployed_models[
        0
    ].model = "projects/1/models/theirs@2"
    with pytest.raises(
        errors.InputError, match="must have versions of the Model clicks alone, found clicks-1"
    ):
        deploy(vertex, 2)
    assert len(vertex.versions) == 1 and vertex.answers("clicks") == {"clicks-1": 100}


def test_traffic_that_somebody_moves_meanwhile_is_not_overwritten(vertex):
    deploy(vertex, 1)
    deploy(vertex, 2, traffic=10)
    found = vertex.services()
    read = endpoints.find(_SETTINGS, found)
    vertex.give("clicks", {"clicks-1": 100})
    with pytest.raises(services.Refused, match="the endpoint was changed since"):
        endpoints.move(_SETTINGS, found, read, {read.deployed_models[1].id: 100})
    assert vertex.answers("clicks") == {"clicks-1": 100, "clicks-2": 0}


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN]
)
def test_a_look_that_does_not_come_through_is_made_again_and_waiting_has_an_end(vertex, code):
    deploy(vertex, 1)
    looks = [at for at, call in enumerate(vertex.calls) if call == "GetOperation"]
    vertex.calls.clear()
    vertex.versions, vertex.endpoints, vertex.operations = [], {}, {}
    vertex.faults = {looks[0]: vertex_lib.Refusal(code, "try again")}
    deploy(vertex, 1)
    assert vertex.answers("clicks") == {"clicks-1": 100}
    with pytest.raises(
        services.Refused, match=r"is not done after 1e-09 s .*the next run of this step waits"
    ):
        deploy(vertex, 2, wait_seconds=1e-9)
    deploy(vertex, 2)
    assert vertex.answers("clicks") == {"clicks-2": 100} and len(vertex.versions) == 2


@pytest.mark.parametrize(
    "look, asked",
    [
        ("ListOperations", "waiting for what is going on at endpoint clicks"),
        ("ListEndpoints", "looking for endpoint clicks"),
        ("ListModelVersions", "listing the versions of Model clicks"),
        ("GetModel", "looking for Model clicks"),
    ],
)
def test_an_outage_that_does_not_pass_says_what_was_asked(vertex, monkeypatch, look, asked):
    deploy(vertex, 1)
    begun, patiently = vertex.calls.index(look), patience.patiently
    vertex.versions, vertex.endpoints, vertex.operations = [], {}, {}
    vertex.calls.clear()
    vertex.faults = dict.fromkeys(
        range(begun, begun + 100), vertex_lib.Refusal(grpc.StatusCode.UNAVAILABLE, "down for maintenance")
    )
    monkeypatch.setattr(patience, "patiently", lambda: patiently(outage=0.01))
    with pytest.raises(
        services.Refused, match=f"^{asked}.*: Vertex AI does not answer: .*down for maintenance"
    ):
        deploy(vertex, 1)
    assert not vertex.versions and not vertex.endpoints


def test_versions_that_something_else_has_uploaded_are_left_alone(vertex):
    deploy(vertex, 1)
    vertex.versions[0].version_aliases = ["theirs"]
    found = vertex.services()
    assert registry.versions(_SETTINGS, found) == []
