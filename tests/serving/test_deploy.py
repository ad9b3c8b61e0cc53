"""The files for TensorFlow Serving are what it and the tools around it read."""

import copy
import pathlib

import pytest
import tensorflow as tf
import yaml

import serving
from serving import flags, published

DEPLOY = pathlib.Path(serving.__file__).parent / "deploy"
KUBERNETES = "1.30"
WAYS = ("volume", "bucket")


def load(path):
    return yaml.safe_load(path.read_text())


def patched(document, operations):
    """The `add` operations of JSON Patch, of which alone the files have any."""
    result = copy.deepcopy(document)
    for operation in operations:
        assert operation["op"] == "add"
        *parents, last = operation["path"].strip("/").split("/")
        place = result
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        if isinstance(place, list):
            assert last == "-"
            place.append(operation["value"])
        else:
            place[last] = operation["value"]
    return result


def manifests(way):
    """What `kubectl apply -k` applies, by kind."""
    folder = DEPLOY / "kubernetes" / way
    made = load(folder / "kustomization.yaml")
    (base,) = made["resources"]
    documents = [
        load(folder / base / name) for name in load(folder / base / "kustomization.yaml")["resources"]
    ]
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents)
    for patch in made["patches"]:
        document = kinds[patch["target"]["kind"]]
        assert document["metadata"]["name"] == patch["target"]["name"]
        kinds[document["kind"]] = patched(document, load(folder / patch["path"]))
    return kinds


def pod(kinds):
    return kinds["Deployment"]["spec"]["template"]["spec"]


def commands():
    """The arguments of the server in each deployed file."""
    yield "docker-compose.yaml", load(DEPLOY / "docker-compose.yaml")["services"]["model"]["command"]
    for way in WAYS:
        (container,) = pod(manifests(way))["containers"]
        yield way, container["args"]


def by_name(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def test_every_server_has_the_flags_that_a_candidate_is_tried_with():
    for place, given in commands():
        assert set(flags.arguments()) <= set(given), place
        assert len(by_name(given)) == len(given), place
        # The server's batching is wrong for these models, see test_batching.
        assert not [argument for argument in given if "batching_parameters" in argument], place


def test_compose_answers_this_machine_alone():
    service = load(DEPLOY / "docker-compose.yaml")["services"]["model"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]) and service["init"] is True
    path = by_name(service["command"])["monitoring_config_file"]
    assert path.startswith("/deploy/") and (DEPLOY / path.removeprefix("/deploy/")).is_file()


@pytest.mark.parametrize("way", WAYS)
def test_kubernetes(way):
    kinds = manifests(way)
    assert set(kinds) == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }
    spec, (container,) = pod(kinds), pod(kinds)["containers"]
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        kinds["Deployment"]["spec"]["selector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
        kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    target = kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == kinds["Deployment"]["metadata"]["name"]
    assert spec["serviceAccountName"] == kinds["ServiceAccount"]["metadata"]["name"]
    composed = load(DEPLOY / "docker-compose.yaml")["services"]["model"]["image"]
    assert composed == container["image"].replace(":", ":${TF_SERVING_VERSION:-") + "}"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    given = by_name(container["args"])
    assert ports == {"grpc": int(given["port"]), "rest": int(given["rest_api_port"])}
    # REST is for probes and metrics alone.
    assert [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]] == ["grpc"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {
            "path": f"/v1/models/{published.NAME}/metadata",
            "port": "rest",
        }
    config = kinds["ConfigMap"]["data"]["monitoring.config"]
    assert config == (DEPLOY / "monitoring.config").read_text()
    assert labels and given["monitoring_config_file"] == "/deploy/monitoring.config"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("way", WAYS)
def test_a_pod_ends_after_its_connections_have(way):
    spec = pod(manifests(way))
    (container,) = spec["containers"]
    (_, waits) = container["lifecycle"]["preStop"]["exec"]["command"]
    ages = dict(pair.split("=") for pair in by_name(container["args"])["grpc_channel_arguments"].split(","))
    open_for = (
        int(ages["grpc.max_connection_age_ms"]) + int(ages["grpc.max_connection_age_grace_ms"])
    ) / 1000
    # gRPC spreads the age by a tenth.
    assert 1.1 * open_for <= int(waits) < spec["terminationGracePeriodSeconds"]
    assert spec["shareProcessNamespace"] is True


@pytest.mark.parametrize("way", WAYS)
def test_a_container_may_do_little(way):
    spec = pod(manifests(way))
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert (
        by_name(container["args"])["tensorflow_intra_op_parallelism"]
        == container["resources"]["requests"]["cpu"]
    )


def test_each_way_says_where_versions_are():
    volume, bucket = (by_name(pod(manifests(way))["containers"][0]["args"]) for way in WAYS)
    assert volume["model_name"] == published.NAME and volume["model_base_path"].startswith("/models")
    assert "model_config_file" not in volume and "model_base_path" not in bucket
    assert bucket["model_config_file"].endswith(f"/{published.FILE}")
    # Without it a server does not start that knows labels.
    assert bucket["allow_version_labels_for_unavailable_models"] == "true"
    # Without it the file is read once.
    assert bucket["model_config_file_poll_wait_seconds"] == str(published.POLL_SECONDS)


def test_the_flags_of_a_server_that_follows_rollbacks_are_documented():
    page = (DEPLOY.parent.parent / "docs" / "tensorflow-serving.md").read_text()
    (container,) = pod(manifests("bucket"))["containers"]
    told = [line.strip() for line in page.splitlines() if line.startswith("    --")]
    assert len(told) == 3 and set(told) <= set(container["args"])


@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_schemas(way):
    """Strictly: no field that Kubernetes does not know. Needs `pip install kubernetes-validate`."""
    validate = pytest.importorskip("kubernetes_validate")
    for document in manifests(way).values():
        validate.validate(document, KUBERNETES, strict=True)


def test_every_input_and_output_can_be_batched(plain):
    """Whoever turns batching on: TensorFlow Serving joins along the first dimension, and refuses what has none."""
    loaded = tf.saved_model.load(str(plain / "model"))
    for name, function in loaded.signatures.items():
        if name == "transform_features":
            continue  # asked one at a time; its sparse outputs have other shapes
        for key, spec in function.structured_input_signature[1].items():
            assert spec.shape.rank >= 1 and spec.shape[0] is None, (name, key)
        for key, spec in function.structured_outputs.items():
            assert spec.shape.rank is None or spec.shape.rank >= 1, (name, key)
