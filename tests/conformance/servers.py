"""Servers of toy models, to be asked."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import flags, published
from serving import server as server_lib
from tests import fixtures

VERSION = 7
BINARY, GRPC, REST = "MODEL_SERVER_BIN", "TFS_GRPC", "TFS_REST"
# Of loading a version, on a machine that does other things.
LOAD_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a server is asked, and the folder that it follows, if that can be written to."""

    grpc: str
    rest: str
    base: pathlib.Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_channel", grpc.insecure_channel(self.grpc))

    def call(self, method: str, request: Any, timeout: float = 60.0) -> Any:
        """Calls a method of the two services; a refusal comes as grpc.RpcError."""
        predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        stub = (
            model_service_pb2_grpc.ModelServiceStub(self._channel) if method == "GetModelStatus" else predict
        )
        return getattr(stub, method)(request, timeout=timeout)

    def predict(self, signature: str, inputs: Mapping[str, Any], **spec: Any) -> dict[str, np.ndarray]:
        """The outputs of a signature."""
        response = self.call("Predict", request_of(signature, inputs, **spec))
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def metadata(self) -> dict[str, Any]:
        """The signatures."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = published.NAME
        found = get_model_metadata_pb2.SignatureDefMap()
        self.call("GetModelMetadata", request).metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)

    def states(self, version: int | None = None) -> dict[int, str]:
        """The state of each version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = published.NAME
        if version is not None:
            request.model_spec.version.value = version
        state = get_model_status_pb2.ModelVersionStatus.State
        answer = self.call("GetModelStatus", request)
        return {status.version: state.Name(status.state) for status in answer.model_version_status}

    def ask_rest(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
        **options: Any,
    ) -> tuple[int, Any]:
        """The status and the answer, JSON if it is that, to a body that is bytes, an iterator of them, or JSON."""
        own = connection or self.connection()
        is_json = body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__")
        own.request(method, path, json.dumps(body) if is_json else body, dict(headers or {}), **options)
        answer = own.getresponse()
        text = answer.read().decode()
        if connection is None:
            own.close()
        return answer.status, json.loads(text) if text.lstrip().startswith("{") else text

    def connection(self) -> http.client.HTTPConnection:
        """One for several requests."""
        return http.client.HTTPConnection(self.rest, timeout=60)

    def wait(self, version: int, state: str = "AVAILABLE") -> None:
        """Waits for a version to be in a state."""
        deadline = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(grpc.RpcError):
                if self.states().get(version) == state:
                    return
            time.sleep(0.1)
        raise AssertionError(f"version {version} is not {state}: {self.states()}")


def request_of(signature: str, inputs: Mapping[str, Any], **spec: Any) -> predict_pb2.PredictRequest:
    """A request; `spec` has the `version` or `label` that it names, and another `name` of the model."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.get("name", published.NAME)
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for name, value in inputs.items():
        is_proto = hasattr(value, "tensor_shape")
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


def tensor(dtype: int, *shape: int, **values: Any) -> tensor_pb2.TensorProto:
    """One as no library would make it: whatever type, shape and content it is told."""
    made = tensor_pb2.TensorProto(dtype=dtype)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    for name, given in values.items():
        if isinstance(given, bytes):
            setattr(made, name, given)
        else:
            getattr(made, name).extend(given)
    return made


def push(model: pathlib.Path, base: pathlib.Path, version: int, warm: bool = True) -> None:
    """Makes a version appear at once; one that is not warm is loaded sooner, and slow for whoever asks first."""
    partial = base / f".pushing-{version}"
    shutil.copytree(model, partial, ignore=None if warm else shutil.ignore_patterns("assets.extra"))
    os.rename(partial, base / str(version))


@contextlib.contextmanager
def embedded(base: pathlib.Path) -> Iterator[Endpoint]:
    """The embedded server, in this process."""
    with server_lib.Server(str(base), published.NAME, poll_seconds=0.1) as server:
        yield Endpoint(f"127.0.0.1:{server.grpc_port}", f"127.0.0.1:{server.rest_port}", base)


@contextlib.contextmanager
def binary(base: pathlib.Path) -> Iterator[Endpoint]:
    """TensorFlow Serving from the binary that MODEL_SERVER_BIN names, with the flags that are deployed."""
    ports = [_free_port(), _free_port()]
    monitoring = pathlib.Path(flags.__file__).parent / "deploy" / "monitoring.config"
    more = {"port": str(ports[0]), "rest_api_port": str(ports[1]), "monitoring_config_file": str(monitoring)}
    if published.read(str(base)):
        more |= {"model_config_file": published.path(str(base)), "model_config_file_poll_wait_seconds": "1"}
        more |= {"allow_version_labels_for_unavailable_models": "true"}
    else:
        more |= {"model_name": published.NAME, "model_base_path": str(base)}
    process = subprocess.Popen([os.environ[BINARY], *flags.arguments(**more)], stderr=subprocess.DEVNULL)
    try:
        endpoint = Endpoint(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", base)
        endpoint.wait(VERSION)
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        exported = pathlib.Path(fixtures.export_toy_model(made, 20, behaviors=True))
        push(exported, pathlib.Path(sys.argv[1]), VERSION)
