"""Load while versions are exchanged: no request may fail, and no answer be another than its version's.

    python -m benchmarks.hot_swaps [--quick] [--seconds S] [--every S] [--clients N] [--kept N]

Two SASRecs (see `benchmarks.serving`) follow each other as new versions, each pushed as the Pusher pushes, while
clients ask for `recommend` without pause, once per request: a refusal is a failure. Old versions are removed, as a
retention does. The server is the embedded one in a process of its own, or the `tensorflow_model_server` that
MODEL_SERVER_BIN names. The last line is a JSON object of the figures; the exit code is 1 if a request failed, an
answer was wrong or a version did not come.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

# Before TensorFlow is imported, here or in the server.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from benchmarks import quick
from benchmarks import serving as models

_BINARY = "MODEL_SERVER_BIN"
_NAME = "model"
_HISTORIES = 16
_LOAD_SECONDS = 120.0


@contextlib.contextmanager
def _server(base: str) -> Iterator[str]:
    """A server of a folder: its gRPC address."""
    if not os.environ.get(_BINARY):
        with models.served(base) as address:
            yield address
        return
    from serving import flags

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    more = flags.arguments(port=str(port), model_name=_NAME, model_base_path=base)
    command = [os.environ[_BINARY], *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _push(model: str, base: str, version: int) -> None:
    partial = os.path.join(base, f".pushing-{version}")
    shutil.copytree(model, partial)
    os.rename(partial, os.path.join(base, str(version)))


class _Load:
    """Clients that ask without pause, and what came of it.

    Attributes:
      answered: how many answers each version gave.
      failed, wrong: of requests, with a sentence for some of them.
    """

    def __init__(self, address: str, requests: list[Any], expected: list[list[Any]], clients: int):
        self.answered: collections.Counter[int] = collections.Counter()
        self.failed: list[str] = []
        self.wrong: list[str] = []
        self.times: list[float] = []
        self._address, self._requests, self._expected = address, requests, expected
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(clients)
        self._asking = [self._pool.submit(self._ask, number) for number in range(clients)]

    def end(self) -> None:
        """Lets the last requests be answered."""
        self._stop.set()
        for one in self._asking:
            one.result()
        self._pool.shutdown()

    def _ask(self, number: int) -> None:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        with grpc.insecure_channel(self._address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self._stop.is_set():
                number = (number + 1) % len(self._requests)
                start = time.perf_counter()
                try:
                    answer = stub.Predict(self._requests[number], timeout=60)
                except grpc.RpcError as error:
                    self.failed.append(f"{error.code().name}: {error.details()}")
                    continue
                self.times.append(time.perf_counter() - start)
                version = answer.model_spec.version.value
                items = tf.make_ndarray(answer.outputs["item_id"]).tolist()
                self.answered[version] += 1
                if items != self._expected[version % 2][number]:
                    self.wrong.append(f"version {version}, history {number}: {items}")


def _requests() -> list[Any]:
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    made = []
    for row, history in enumerate(models.histories(_HISTORIES)):
        # Of different lengths.
        events = history[: 3 + 3 * row]
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = _NAME, "recommend"
        inputs = {
            "history_item_id": np.array([[event["item_id"] for event in events]], object),
            "history_timestamp": np.array([[event["timestamp"] for event in events]], np.int64),
            "exclude": np.array([[""]], object),
            "k": np.array([10], np.int32),
        }
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        made.append(request)
    return made


def _expected(folder: str, requests: list[Any]) -> list[Any]:
    """What a model answers, in this process."""
    import tensorflow as tf

    function = tf.saved_model.load(folder).signatures["recommend"]
    return [
        function(**{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()})[
            "item_id"
        ]
        .numpy()
        .tolist()
        for request in requests
    ]


def _wait(address: str, version: int) -> bool:
    import grpc

    from serving import client as client_lib

    deadline = time.monotonic() + _LOAD_SECONDS
    with client_lib.Client(address, _NAME, timeout_s=5.0) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(grpc.RpcError):
                if client.versions().get(version) == "AVAILABLE":
                    return True
            time.sleep(0.1)
    return False


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick.add(parser, "one exchange of versions under few clients", seconds=1.0, every=1.0, clients=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two pushes")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kept", type=int, default=2, help="versions on disk")
    options = parser.parse_args()
    for name, value in (options.quick or {}).items():
        setattr(options, name, value)
    seconds, every = options.seconds, options.every
    with tempfile.TemporaryDirectory() as folder:
        exported = [os.path.join(versions, "1") for versions in models.export_models(folder, (0, 1))]
        requests = _requests()
        expected = [_expected(model, requests) for model in exported]
        if expected[0] == expected[1]:
            raise AssertionError("the two models answer alike: nothing would be told apart")
        base, version = os.path.join(folder, "versions"), 1
        os.mkdir(base)
        _push(exported[1], base, version)
        with _server(base) as address:
            came = _wait(address, version)
            load = _Load(address, requests, expected, options.clients)
            start = time.monotonic()
            while came and time.monotonic() - start < seconds:
                time.sleep(every)
                version += 1
                _push(exported[version % 2], base, version)
                for old in sorted(int(name) for name in os.listdir(base))[: -options.kept]:
                    shutil.rmtree(os.path.join(base, str(old)))
            came = came and _wait(address, version)
            load.end()
            took = time.monotonic() - start
    ordered = sorted(load.times)
    figures = {
        "seconds": round(took, 1),
        "answers": len(ordered),
        "failed": len(load.failed),
        "wrong": len(load.wrong),
        "versions_pushed": version,
        "versions_that_answered": len(load.answered),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 1) if ordered else None,
        "p99_ms": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 1) if ordered else None,
        "clients": options.clients,
        "server": "binary" if os.environ.get(_BINARY) else "embedded",
    }
    for problem in [*load.failed[:5], *load.wrong[:5]]:
        print(problem)
    print(json.dumps(figures))
    sys.exit(0 if came and ordered and not load.failed and not load.wrong else 1)


if __name__ == "__main__":
    main()
