"""The file that names what servers load."""

import os

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from schemas import errors
from serving import published


def test_what_is_written_is_read_and_is_a_configuration_of_the_server(tmp_path):
    base = str(tmp_path)
    assert published.read(base) is None
    written = published.Published((7, 8), {"stable": 7, "canary": 8})
    published.write(base, written)
    assert published.read(base) == written and os.listdir(base) == ["models.config"]
    config = text_format.Parse(
        (tmp_path / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("model", base, "tensorflow")
    assert list(model.model_version_policy.specific.versions) == [7, 8]
    assert dict(model.version_labels) == {"stable": 7, "canary": 8}


@pytest.mark.parametrize(
    "text, words",
    [
        ("model_config_list {", "not a configuration of TensorFlow Serving"),
        ("", "found 0 models"),
        ('model_config_list { config { name: "model" } }', "model_version_policy.specific is expected"),
    ],
)
def test_another_file_is_told(tmp_path, text, words):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(errors.InputError, match=words):
        published.read(str(tmp_path))


@pytest.mark.parametrize(
    "given, words",
    [
        (published.Published(()), "at least one"),
        (published.Published((0,)), "positive numbers"),
        (published.Published((7,), {"stable": 6}), "'stable' is of version 6, which is not published"),
    ],
)
def test_nothing_is_written_that_a_server_would_not_take(tmp_path, given, words):
    with pytest.raises(errors.InputError, match=words):
        published.write(str(tmp_path), given)
    assert os.listdir(tmp_path) == []


def test_the_server_gets_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    published.write("models", published.Published((7,)))
    written = tmp_path / "models" / published.FILE
    assert f'base_path: "{tmp_path}/models"' in written.read_text()
    assert published.read("models") == published.read(str(tmp_path / "models")) == published.Published((7,))
    # One that was written before this was so is mended by the next change.
    written.write_text(written.read_text().replace(f"{tmp_path}/models", "models"))
    assert published.publish("models", 8) and f'base_path: "{tmp_path}/models"' in written.read_text()
    with pytest.raises(errors.InputError, match="an absolute path or a URI, found 'there'"):
        published.write("models", published.Published((7,), served_as="there"))


def test_what_is_withdrawn_or_older_is_not_published(tmp_path):
    base = str(tmp_path)
    withdrawn = published.Published((7,), {"stable": 7}, withdrawn=(8, 9))
    published.write(base, withdrawn)
    assert published.read(base) == withdrawn
    # TensorFlow Serving reads past it.
    text = (tmp_path / published.FILE).read_text()
    assert text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert not published.publish(base, 9) and published.read(base) == withdrawn
    assert published.publish(base, 11) and published.read(base).versions == (7, 11)
    # A push that took longer than a later one.
    assert not published.publish(base, 10) and published.read(base).versions == (7, 11)
