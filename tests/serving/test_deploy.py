"""The files for TensorFlow Serving are what it and the tools around it read."""

import pathlib

import tensorflow as tf
import yaml

import serving
from tests import fixtures

DEPLOY = pathlib.Path(serving.__file__).parent / "deploy"


def flags(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def test_compose_and_kubernetes_name_files_and_ports_that_are_there():
    compose = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]["model"]
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for given in (flags(compose["command"]), flags(container["args"])):
        for key in ("batching_parameters_file", "monitoring_config_file"):
            mount, name = given[key].rsplit("/", 1)
            assert mount == "/deploy" and (DEPLOY / name).is_file()
    assert compose["image"] == container["image"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
        p["name"] for p in container["ports"]
    }


def test_every_input_and_output_can_be_batched(tmp_path):
    """TensorFlow Serving joins requests along the first dimension, and refuses what has none."""
    loaded = tf.saved_model.load(fixtures.export_toy_model(str(tmp_path)))
    for name, function in loaded.signatures.items():
        if name == "transform_features":
            continue  # asked one at a time; its sparse outputs have other shapes
        for key, spec in function.structured_input_signature[1].items():
            assert spec.shape.rank >= 1 and spec.shape[0] is None, (name, key)
        for key, spec in function.structured_outputs.items():
            assert spec.shape.rank is None or spec.shape.rank >= 1, (name, key)
