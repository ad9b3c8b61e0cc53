"""An embedded model server: TensorFlow Serving's gRPC and REST interfaces for laptops and tests.

It speaks `PredictionService` (Predict, GetModelMetadata), `ModelService` (GetModelStatus),
the standard gRPC health service, and REST `/v1/models/...`. In production TensorFlow
Serving itself serves the same folder.
"""

import argparse
import base64
import concurrent.futures
import http.server
import json
import logging
import os
import re
import signal
import sys
import threading
from typing import Any, Dict, List, Optional, Tuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from schemas import errors
from serving import model_store
from serving import requests

READY = "footfall-server-ready"
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_SERVING_STATE_OK = get_model_status_pb2.ModelVersionStatus.AVAILABLE
# How many times the allowed size of a request is read before the connection is closed on it.
_DISCARDED = 4
_LOG = logging.getLogger("footfall.serving")


class Server:
    """Serves the newest version below a folder until it is closed; a context manager.

    Args:
      model_dir: the folder with the versions.
      name: of the model, in requests.
      grpc_port, rest_port: 0 takes a free one.
      host: to listen on; by default only this machine is answered.
      workers: requests at work at once.
      max_pending: requests at work or waiting; further ones are refused at once
        (RESOURCE_EXHAUSTED, HTTP 429).
      max_message_bytes: of a request or an answer.
      poll_seconds: time between two looks for a new version.
    """

    def __init__(
        self,
        model_dir: str,
        name: str = "model",
        grpc_port: int = 0,
        rest_port: int = 0,
        host: str = "127.0.0.1",
        workers: int = 8,
        max_pending: int = 256,
        max_message_bytes: int = 16 << 20,
        poll_seconds: float = 1.0,
    ):
        self.name = name
        self.max_message_bytes = max_message_bytes
        self.store = model_store.ModelStore(model_dir, poll_seconds)
        self.pending = threading.BoundedSemaphore(max_pending)
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="predict"),
            maximum_concurrent_rpcs=max_pending,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(self), self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._grpc)
        checks = health.HealthServicer()
        checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._grpc)
        try:
            self.grpc_port = self._grpc.add_insecure_port(f"{host}:{grpc_port}")
        except RuntimeError as error:
            raise errors.InputError(
                f"{host}:{grpc_port} is not to be had, perhaps as another server is there: --grpc-port takes another"
            ) from error
        try:
            self._http = _HTTPServer((host, rest_port), _Handler, self)
        except OSError as error:
            raise errors.InputError(
                f"{host}:{rest_port} is not to be had ({error.strerror}): --rest-port takes another"
            ) from error
        self.rest_port = self._http.server_address[1]
        self._grpc.start()
        self._http_thread = threading.Thread(target=self._http.serve_forever, name="rest", daemon=True)
        self._http_thread.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self, grace_seconds: float = 5.0) -> None:
        """Takes no more requests, and lets those at work finish."""
        self._grpc.stop(grace_seconds).wait()
        self._http.shutdown()
        self._http.server_close()
        self.store.close()

    def check_name(self, name: str) -> None:
        """Raises RequestError for a model of another name."""
        if name != self.name:
            raise model_store.RequestError("NOT_FOUND", f"no model {name!r}; this server has {self.name!r}")


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: Server):
        self._server = server

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            # It waited too long in the queue: nobody reads the answer.
            context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed before the request's turn"
            )
        try:
            model = _model(self._server, request.model_spec)
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = model.predict(request.model_spec.signature_name, inputs)
        except model_store.RequestError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        wanted = list(request.output_filter) or list(outputs)
        unknown = [name for name in wanted if name not in outputs]
        if unknown:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"unknown output {unknown[0]!r} in output_filter")
        response = predict_pb2.PredictResponse()
        for name in wanted:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        _fill_spec(response.model_spec, self._server.name, model, request.model_spec.signature_name)
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        if list(request.metadata_field) != ["signature_def"]:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"metadata_field takes signature_def, found {list(request.metadata_field)}",
            )
        try:
            model = _model(self._server, request.model_spec)
        except model_store.RequestError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, self._server.name, model, "")
        response.metadata["signature_def"].Pack(_signature_defs(model))
        return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: Server):
        self._server = server

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            self._server.check_name(request.model_spec.name)
            model = self._server.store.get()
        except model_store.RequestError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=model.version, state=_SERVING_STATE_OK)
        return response


def _model(server: Server, model_spec: Any) -> model_store.LoadedModel:
    server.check_name(model_spec.name)
    version = model_spec.version.value if model_spec.HasField("version") else None
    return server.store.get(version)


def _fill_spec(model_spec: Any, name: str, model: model_store.LoadedModel, signature: str) -> None:
    model_spec.name = name
    model_spec.version.value = model.version
    model_spec.signature_name = signature


def _signature_defs(model: model_store.LoadedModel) -> get_model_metadata_pb2.SignatureDefMap:
    result = get_model_metadata_pb2.SignatureDefMap()
    for name, function in model.functions.items():
        definition = result.signature_def[name]
        definition.method_name = "tensorflow/serving/predict"
        for key, spec in function.structured_input_signature[1].items():
            _fill_tensor(definition.inputs[key], key, spec)
        for key, spec in function.structured_outputs.items():
            _fill_tensor(definition.outputs[key], key, spec)
    return result


def _fill_tensor(info: Any, name: str, spec: tf.TensorSpec) -> None:
    info.name = name
    info.dtype = spec.dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(spec.shape.as_proto())


class _HTTPServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: Tuple[str, int], handler: Any, owner: Server):
        self.owner = owner
        super().__init__(address, handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """REST as in TensorFlow Serving: predict, status, metadata; and `/healthz`."""

    protocol_version = "HTTP/1.1"
    # Seconds without a byte of a request that has begun.
    timeout = 60
    server: _HTTPServer

    def do_GET(self) -> None:
        owner = self.server.owner
        if self.path == "/healthz":
            loaded = owner.store.model is not None
            self._answer(200 if loaded else 503, {"status": "ok" if loaded else "no version is loaded"})
            return
        match = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?", self.path)
        self._respond(match, self._status)

    def do_POST(self) -> None:
        match = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", self.path)
        written = self.headers.get("Content-Length") or "0"
        if not re.fullmatch(r"[0-9]{1,18}", written):
            self.close_connection = True
            self._answer(400, {"error": f"Content-Length is a number of bytes, found {written!r}"})
            return
        length = int(written)
        if length > self.server.owner.max_message_bytes:
            self.close_connection = True
            # A client that is still sending when the connection closes never sees the answer.
            self._discard(min(length, _DISCARDED * self.server.owner.max_message_bytes))
            self._answer(
                413,
                {
                    "error": f"a request has at most {self.server.owner.max_message_bytes} bytes, found {length}"
                },
            )
            return
        body = self.rfile.read(length)
        if not self.server.owner.pending.acquire(blocking=False):
            self._answer(429, {"error": "too many requests are waiting"})
            return
        try:
            self._respond(match, lambda model, _: self._predict(model, body))
        finally:
            self.server.owner.pending.release()

    def _discard(self, length: int) -> None:
        while length > 0:
            read = len(self.rfile.read(min(length, 1 << 16)))
            length = length - read if read else 0

    def _respond(self, match: Optional["re.Match[str]"], answer: Any) -> None:
        if match is None:
            self._answer(404, {"error": f"nothing at {self.path}"})
            return
        try:
            self.server.owner.check_name(match.group(1))
            version = match.group(2)
            model = self.server.owner.store.get(int(version) if version else None)
            self._answer(200, answer(model, match))
        except model_store.RequestError as error:
            self._answer(_HTTP_STATUS[error.code], {"error": str(error)})

    def _status(self, model: model_store.LoadedModel, match: "re.Match[str]") -> Dict[str, Any]:
        if match.group(3):
            from google.protobuf import json_format

            metadata = {
                "signature_def": json_format.MessageToDict(
                    _signature_defs(model), preserving_proto_field_name=True
                )
            }
            spec = {"name": self.server.owner.name, "version": str(model.version), "signature_name": ""}
            return {"model_spec": spec, "metadata": metadata}
        status = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": status}]
        }

    def _predict(self, model: model_store.LoadedModel, body: bytes) -> Dict[str, Any]:
        try:
            request = json.loads(body)
        except ValueError as error:
            raise model_store.RequestError("INVALID_ARGUMENT", f"the request is not JSON: {error}") from error
        if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
            raise model_store.RequestError("INVALID_ARGUMENT", "a request has either 'instances' or 'inputs'")
        name = request.get("signature_name", "serving_default")
        if not isinstance(name, str):
            raise model_store.RequestError("INVALID_ARGUMENT", f"'signature_name' is a text, found {name!r}")
        specs = model.signature(name).structured_input_signature[1]
        values = _columns(request, specs)
        try:
            inputs = {key: requests.array_of(_decode(value)) for key, value in values.items()}
        except ValueError as error:
            raise model_store.RequestError(
                "INVALID_ARGUMENT", f"rows of different lengths: {error}"
            ) from error
        inputs = {
            key: value.astype(specs[key].dtype.as_numpy_dtype) if key in specs and not value.size else value
            for key, value in inputs.items()
        }
        outputs = {key: _encode(key, value) for key, value in model.predict(name, inputs).items()}
        single = next(iter(outputs.values())) if len(outputs) == 1 else None
        if "inputs" in request:
            return {"outputs": single if single is not None else outputs}
        if single is not None:
            return {"predictions": single}
        return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}

    def _answer(self, status: int, content: Dict[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        _LOG.debug(format, *values)


def _columns(request: Dict[str, Any], specs: Dict[str, tf.TensorSpec]) -> Dict[str, Any]:
    """Inputs by name, from rows (`instances`) or columns (`inputs`); one input needs no name."""
    if "inputs" in request:
        given = request["inputs"]
        if isinstance(given, dict) and "b64" not in given:
            return given
        return {next(iter(specs)): given}
    rows: List[Any] = request["instances"]
    if not isinstance(rows, list) or not rows:
        raise model_store.RequestError("INVALID_ARGUMENT", "'instances' is a list with at least one row")
    if all(isinstance(row, dict) and "b64" not in row for row in rows):
        if any(set(row) != set(rows[0]) for row in rows):
            raise model_store.RequestError("INVALID_ARGUMENT", "all rows of 'instances' have the same inputs")
        return {key: [row[key] for row in rows] for key in rows[0]}
    return {next(iter(specs)): rows}


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return base64.b64decode(value["b64"])
        except (TypeError, ValueError) as error:
            raise model_store.RequestError("INVALID_ARGUMENT", f"'b64' is not base64: {error}") from error
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


def _encode(key: str, value: np.ndarray) -> Any:
    """Bytes as text, or in base64 where the output's name ends with `_bytes`, as TensorFlow Serving does."""
    if value.dtype != object:
        return value.tolist()
    if key.endswith("_bytes"):
        return np.vectorize(lambda v: {"b64": base64.b64encode(v).decode()}, otypes=[object])(value).tolist()
    return (
        np.vectorize(lambda v: v.decode("utf-8", "replace"), otypes=[object])(value).tolist()
        if value.size
        else value.tolist()
    )


def serve_forever(model_dir: str, name: str, grpc_port: int, rest_port: int, **options: Any) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is at work."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with Server(model_dir, name, grpc_port, rest_port, **options) as server:
        model = server.store.model
        ready = {
            "grpc_port": server.grpc_port,
            "rest_port": server.rest_port,
            "version": model.version if model else None,
        }
        print(f"{READY} {json.dumps(ready)}", flush=True)
        done.wait()


def main() -> None:
    """`python -m serving.server DIR`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir")
    parser.add_argument("--name", default="model")
    parser.add_argument("--grpc-port", type=int, default=8500)
    parser.add_argument("--rest-port", type=int, default=8501)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    serve_forever(
        arguments.model_dir, arguments.name, arguments.grpc_port, arguments.rest_port, host=arguments.host
    )


if __name__ == "__main__":
    main()
