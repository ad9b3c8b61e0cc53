"""Which server loads a model: the version follows from the lock, and an older one is refused."""

import pathlib
import re
from importlib import metadata

import pytest
from tensorflow.core.protobuf import saved_model_pb2

import serving
from serving import loaded_model, server_version

ROOT = pathlib.Path(serving.__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("py3??-tfx???.txt"))


def made_by(folder, version):
    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add().meta_info_def.tensorflow_version = version
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return str(folder)


def test_every_lock_has_a_server_of_its_tensorflow():
    assert len(LOCKS) == 2
    for lock in LOCKS:
        (tensorflow,) = re.findall(r"^tensorflow==(\S+)", lock.read_text(), re.MULTILINE)
        minor = tensorflow.rpartition(".")[0]
        assert server_version.RELEASES[minor].startswith(f"{minor}.")
        assert server_version.of_tensorflow(tensorflow) == server_version.RELEASES[minor]


def test_the_files_for_deployment_have_the_server_of_the_first_lock():
    (tensorflow,) = re.findall(r"^tensorflow==(\S+)", LOCKS[0].read_text(), re.MULTILINE)
    found = set()
    for path in (ROOT / "serving" / "deploy").rglob("*.yaml"):
        found |= set(
            re.findall(r"tensorflow/serving:(?:\$\{TF_SERVING_VERSION:-)?([\d.]+)", path.read_text())
        )
    assert found == {server_version.of_tensorflow(tensorflow)}


def test_the_image_is_of_the_tensorflow_that_is_installed():
    minor = metadata.version("tensorflow").rpartition(".")[0]
    assert server_version.image().startswith(f"tensorflow/serving:{minor}.")
    assert server_version.of_tensorflow("2.30.1") == "2.30.0"


@pytest.mark.parametrize(
    "image, version",
    [
        ("tensorflow/serving:2.16.1", "2.16.1"),
        ("registry:5000/serving:2.19.1-gpu", "2.19.1-gpu"),
        ("registry:5000/serving", None),
        ("tensorflow/serving:latest", None),
        ("tensorflow/serving@sha256:00d2", None),
        ("tensorflow/serving:2.21.0@sha256:00d2", "2.21.0"),
    ],
)
def test_a_tag_may_tell_the_version(image, version):
    assert server_version.of_image(image) == version


@pytest.mark.parametrize(
    "model, server, refused",
    [
        ("2.16.2", "2.16.1", False),
        ("2.21.0", "2.16.1", True),
        ("2.9.1", "2.16.1", False),
        ("2.16.2", "2.9.0", True),
        ("2.21.0", None, False),
        ("2.21.0", "latest", False),
        ("", "2.16.1", False),
    ],
)
def test_a_model_newer_than_the_server_is_refused(tmp_path, model, server, refused):
    said = server_version.problem(made_by(tmp_path, model), server)
    assert (said is not None) == refused
    if refused:
        assert f"TensorFlow {model}" in said and f"is of {server}" in said and "tensorflow/serving:2." in said


def test_what_is_no_model_is_left_to_the_server(tmp_path):
    assert server_version.problem(str(tmp_path), "2.16.1") is None
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    assert server_version.problem(str(tmp_path), "2.16.1") is None


def test_the_embedded_server_does_not_try_one(tmp_path):
    with pytest.raises(
        loaded_model.BrokenVersion, match="made by TensorFlow 9.1.0, .* serve it with 9.1 or newer"
    ):
        loaded_model.load(1, made_by(tmp_path, "9.1.0"))
