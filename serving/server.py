"""An embedded model server: TensorFlow Serving's gRPC and REST interfaces for laptops and tests.

It speaks `PredictionService` (Predict, GetModelMetadata), `ModelService` (GetModelStatus), the standard gRPC health
service, and REST (`serving.rest`), and is meant to refuse what TensorFlow Serving refuses (tests/conformance asks both). In
production TensorFlow Serving itself serves the same folder.
"""

import argparse
import concurrent.futures
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if __name__ == "__main__":
    # A program: TensorFlow is imported without the cycle collector, and let go of without it.
    from schemas import collector

    with collector.importing():
        from serving import server
    server.main()
    sys.exit()

import grpc
import tensorflow as tf
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from schemas import errors
from serving import loaded_model, metadata, metrics, model_store, published, rest, tensors

READY = "footfall-server-ready"
_STATES = get_model_status_pb2.ModelVersionStatus.State
_UNKNOWN = error_codes_pb2.UNKNOWN
_LOG = logging.getLogger("footfall.serving")


class Server:
    """Serves the newest version below a folder until it is closed; a context manager.

    Args:
      model_dir: the folder with the versions.
      name: of the model, in requests.
      grpc_port, rest_port: 0 takes a free one.
      host: to listen on; by default only this machine is answered.
      workers: requests at work at once, by each interface.
      max_pending: requests at work or waiting; further ones are refused at once
        (RESOURCE_EXHAUSTED, HTTP 429).
      max_message_bytes: of a request or an answer.
      poll_seconds: time between two looks for a new version; see `published.POLL_SECONDS` where labels move.
      max_held_bytes: of all REST bodies that are in memory at once; further ones are refused (HTTP 429).
      body_seconds: how long a REST request may go without a byte of its body.

    Raises:
      errors.InputError: if a port is in use.
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
        max_held_bytes: int = 128 << 20,
        body_seconds: float = 5.0,
    ):
        self.name = name
        self.max_message_bytes = max_message_bytes
        self.metrics = metrics.Metrics()
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="predict"),
            interceptors=[_Readable()],
            maximum_concurrent_rpcs=max_pending,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),
            ],
        )
        try:
            self.grpc_port = self._grpc.add_insecure_port(_address(host, grpc_port))
        except RuntimeError as error:
            raise errors.InputError(
                f"{host}:{grpc_port} is not to be had, perhaps as another server is there: --grpc-port takes another"
            ) from error
        listening = _listen(host, rest_port)
        self.rest_port = listening.getsockname()[1]
        checks = health.HealthServicer()
        checks.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        self.store = model_store.ModelStore(
            model_dir, poll_seconds, lambda: checks.set("", health_pb2.HealthCheckResponse.SERVING)
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(self), self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._grpc)
        limits = rest.Limits(workers, max_pending, max_message_bytes, max_held_bytes, body_seconds)
        self._rest = rest.Rest(listening, self.store, name, limits, self.metrics)
        self._grpc.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self, grace_seconds: float = 5.0) -> None:
        """Takes no more requests, and lets those at work finish."""
        stopped = self._grpc.stop(grace_seconds)
        self._rest.close()
        stopped.wait()
        self.store.close()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=rest.BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.InputError(
            f"{host}:{port} is not to be had ({reason}): --rest-port takes another"
        ) from error


@contextlib.contextmanager
def _answering(context: grpc.ServicerContext, counted: metrics.Metrics | None = None) -> Iterator[None]:
    """Ends a call with a code and a sentence, whatever comes of it."""
    start, code, said = time.perf_counter(), "OK", ""
    try:
        yield
    except loaded_model.RequestError as error:
        code, said = error.code, str(error)
    except Exception:  # noqa: BLE001  a caller never gets Python's own words
        _LOG.exception("a request failed")
        code, said = "INTERNAL", "the server failed to answer; its log says more"
    if counted is not None:
        counted.add("GRPC", code, time.perf_counter() - start)
    if code != "OK":
        context.abort(grpc.StatusCode[code], said)


class _Readable(grpc.ServerInterceptor):
    """Answers bytes that are no request itself: gRPC's own way keeps some 20 kB of each such call for ever."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The method's handler, with requests that may be unreadable."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        unreadable = object()

        def read(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except Exception:  # noqa: BLE001  each implementation of protobuf has its own
                return unreadable

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if request is unreadable:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is no request of this method")
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, read, handler.response_serializer)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: Server):
        self._server = server

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with _answering(context, self._server.metrics):
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                # It waited too long in the queue: nobody reads the answer.
                raise loaded_model.RequestError(
                    "DEADLINE_EXCEEDED", "the deadline has passed before the request's turn"
                )
            return self._predict(request)

    def _predict(self, request: Any) -> Any:
        model = _model(self._server, request)
        name = request.model_spec.signature_name
        function = loaded_model.function_of(model.functions, name)
        wanted = _outputs(request.output_filter, function.structured_outputs)
        specs = loaded_model.specs_of(function)
        loaded_model.check_inputs(name, specs, request.inputs)
        try:
            inputs = {
                key: tensors.of_proto(key, specs[key], request.inputs[key], self._server.max_message_bytes)
                for key in sorted(request.inputs)
            }
        except ValueError as error:
            raise loaded_model.RequestError("INVALID_ARGUMENT", str(error)) from error
        outputs = model.predict(name, inputs)
        response = predict_pb2.PredictResponse()
        for output in wanted:
            response.outputs[output].CopyFrom(tf.make_tensor_proto(outputs[output]))
        _fill_spec(response.model_spec, self._server.name, model, name or loaded_model.DEFAULT_SIGNATURE)
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        with _answering(context):
            if list(request.metadata_field) != ["signature_def"]:
                raise loaded_model.RequestError(
                    "INVALID_ARGUMENT",
                    f"metadata_field takes signature_def, found {tensors.shown(list(request.metadata_field[:2]))}",
                )
            model = _model(self._server, request)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            _fill_spec(response.model_spec, self._server.name, model, "")
            response.metadata["signature_def"].Pack(metadata.signature_defs(model))
            return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: Server):
        self._server = server

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        with _answering(context):
            metadata.check_name(_spec_of(request).name, self._server.name)
            named = _version_of(request.model_spec)
            response = get_model_status_pb2.GetModelStatusResponse()
            for number, (state, problem) in self._server.store.states(*named).items():
                status = response.model_version_status.add(version=number, state=_STATES.Value(state))
                if problem:
                    status.status.error_code = _UNKNOWN
                    status.status.error_message = problem
            return response


def _outputs(wanted: Sequence[str], known: Collection[str]) -> list[str]:
    """The outputs that a request asks for, all of them by default; looked at before the model works."""
    seen: set[str] = set()
    for output in wanted:
        if output not in known or output in seen:
            what = "twice the output" if output in seen else "unknown output"
            raise loaded_model.RequestError(
                "INVALID_ARGUMENT", f"{what} {tensors.shown(output)} in output_filter"
            )
        seen.add(output)
    return list(wanted) or list(known)


def _spec_of(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise loaded_model.RequestError("INVALID_ARGUMENT", "the request has no model_spec")
    return request.model_spec


def _version_of(model_spec: Any) -> tuple[int | None, str]:
    """The version and the label that a request names."""
    version = model_spec.version.value if model_spec.HasField("version") else None
    return version, model_spec.version_label


def _model(server: Server, request: Any) -> model_store.LoadedModel:
    model_spec = _spec_of(request)
    metadata.check_name(model_spec.name, server.name)
    return server.store.get(*_version_of(model_spec))


def _fill_spec(model_spec: Any, name: str, model: model_store.LoadedModel, signature: str) -> None:
    model_spec.name = name
    model_spec.version.value = model.version
    model_spec.signature_name = signature


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
    parser.add_argument(
        "--poll-seconds",
        type=float,
        default=1.0,
        help="between two looks for a new version; at most "
        f"{published.POLL_SECONDS} where footfall promote and rollback move labels",
    )
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    serve_forever(
        arguments.model_dir,
        arguments.name,
        arguments.grpc_port,
        arguments.rest_port,
        host=arguments.host,
        poll_seconds=arguments.poll_seconds,
    )
