"""Tries a candidate in a model server and writes down how it did."""

import concurrent.futures
import contextlib
import json
import logging
import os
import posixpath
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.infra_validator import embedded, processes, spec
from schemas import names
from serving import client as client_lib
from serving import flags, objectives, server_version

LATENCY = "latency.json"
# A custom property of the blessing: 1 where the trial failed, which is then tried again by the next run.
UNSERVABLE = "unservable"
_EXAMPLES = 8
_TAIL_CHARACTERS = 2000
# That ask at once.
_CLIENTS = 8
_PROGRESS = logging.getLogger("footfall.progress")


class Executor(base_executor.BaseExecutor):
    """Executor of ServerValidator."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates; a bad model is not blessed, with the reasons in `latency.json`."""
        infra = spec.InfraSpec.from_json(exec_properties["infra"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        pattern = posixpath.join(examples.uri, f"Split-{names.TEST}", "*")
        result = validate(path_utils.serving_model_path(model.uri), read_examples(pattern, _EXAMPLES), infra)
        fileio.makedirs(blessing.uri)
        with fileio.open(os.path.join(blessing.uri, LATENCY), "w") as stream:
            stream.write(json.dumps(result, indent=1))
        with fileio.open(
            os.path.join(blessing.uri, "INFRA_BLESSED" if result["blessed"] else "INFRA_NOT_BLESSED"), "w"
        ) as stream:
            stream.write("")
        # What TFX's Pusher looks at.
        blessing.set_int_custom_property("blessed", int(result["blessed"]))
        # A busy machine may be to blame: what failed is no result to keep.
        blessing.set_int_custom_property(UNSERVABLE, int(not result["blessed"]))
        if result["blessed"]:
            _PROGRESS.info(
                "%s server: %s p50 %.1f ms, p99 %.1f ms",
                result["server"],
                result["timed"],
                result["p50_ms"],
                result["p99_ms"],
            )
        else:
            _PROGRESS.warning("not servable: %s", "; ".join(result["reasons"]))


def read_examples(pattern: str, count: int) -> list[bytes]:
    """The first `count` serialized examples of some gzip TFRecords."""
    files = sorted(tf.io.gfile.glob(pattern))
    return list(tf.data.TFRecordDataset(files, compression_type="GZIP").take(count).as_numpy_iterator())


def validate(model_path: str, examples: list[bytes], infra: spec.InfraSpec) -> dict[str, Any]:
    """Serves a SavedModel, asks it, and tells whether it may be pushed and why not.

    Args:
      model_path: the SavedModel, on any filesystem.
      examples: serialized windows to make requests of.
      infra: the server and the bounds.
    """
    server = infra.server if infra.server != "auto" else processes.available()
    result: dict[str, Any] = {
        "server": server,
        "requests": infra.requests,
        "timed": None,
        "p50_ms": None,
        "p99_ms": None,
        "max_p50_ms": infra.max_p50_ms,
        "signatures": {},
        "reasons": [],
    }
    too_new = server_version.problem(model_path, _version_of(server, infra))
    if too_new:
        result["reasons"].append(too_new)
        result["blessed"] = False
        return result
    start = {"embedded": embedded.served, "binary": _binary, "docker": _docker}[server]
    with tempfile.TemporaryDirectory() as folder:
        # A folder with versions, as a server wants it, and local, as a container needs it.
        io_utils.copy_dir(model_path, os.path.join(folder, processes.MODEL, "1"))
        with open(os.path.join(folder, "server.log"), "w+b") as log:
            try:
                with start(os.path.join(folder, processes.MODEL), infra, log) as address:
                    try:
                        _ask(address, examples, infra, result)
                    except grpc.RpcError as error:
                        raise processes.NotServed(
                            f"the server did not answer any more: {error.code().name}: {error.details()}"
                        ) from error
            except processes.NotServed as error:
                log.seek(0)
                tail = log.read().decode("utf-8", "replace")[-_TAIL_CHARACTERS:]
                result["reasons"].append(f"{error}; the server said: {tail.strip() or 'nothing'}")
    result["blessed"] = not result["reasons"]
    return result


def _image(infra: spec.InfraSpec) -> str:
    return infra.image or server_version.image()


def _version_of(server: str, infra: spec.InfraSpec) -> str | None:
    """The version of a server; None where it does not tell it."""
    if server == "embedded":
        return tf.__version__
    if server == "docker":
        return server_version.of_image(_image(infra))
    try:
        told = subprocess.run(
            [processes.BINARY, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"ModelServer: (\d+\.\d+\S*)", told.stdout)
    return found.group(1) if found else None


def _deployed(**more: str) -> Sequence[str]:
    """The flags that are deployed, but a version that does not load is given up at once."""
    return flags.arguments(max_num_load_retries="0", **more)


@contextlib.contextmanager
def _binary(base: str, infra: spec.InfraSpec, log: Any) -> Iterator[str]:
    # With a port, the server would answer the network; paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="footfall-", dir="/tmp") as folder:
        socket_path = os.path.join(folder, "grpc")
        more = {
            "port": "0",
            "grpc_socket_path": socket_path,
            "model_name": processes.MODEL,
            "model_base_path": base,
        }
        # What silences TensorFlow in this process would hide what the server says of a model that does not load.
        env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        process = processes.start([processes.BINARY, *_deployed(**more)], log, env)
        with processes.serving(process, f"unix:{socket_path}", infra) as address:
            yield address


def _docker(base: str, infra: spec.InfraSpec, log: Any) -> Any:
    port = processes.free_port()
    command = ["docker", "run", "--rm", "--init", "-p", f"127.0.0.1:{port}:8500"]
    command += [
        "-v",
        f"{base}:/models/{processes.MODEL}:ro",
        "-e",
        f"MODEL_NAME={processes.MODEL}",
        _image(infra),
        *_deployed(),
    ]
    # A killed `docker run` leaves its container behind; one that is asked to end takes it along.
    process = processes.start(command, log, os.environ, signal.SIGTERM)
    return processes.serving(process, f"127.0.0.1:{port}", infra)


def _ask(address: str, examples: list[bytes], infra: spec.InfraSpec, result: dict[str, Any]) -> None:
    with client_lib.Client(address, processes.MODEL, timeout_s=30.0) as client:
        try:
            known = client.metadata()
        except grpc.RpcError as error:
            result["reasons"].append(f"no metadata: {error.details()}")
            return
        name = objectives.of_signatures(known)
        if name is None:
            result["reasons"].append(
                f"its signatures ({', '.join(sorted(known)) or 'none'}) are of no objective: "
                f"{', '.join(objectives.OBJECTIVES)}"
            )
            return
        objective = objectives.get(name)
        requests = objective.make_requests(known, examples)
        answers: dict[str, dict[str, np.ndarray]] = {}
        for name in sorted(known):
            if name not in requests:
                continue
            try:
                answers[name] = client.predict(name, requests[name])
            except grpc.RpcError as error:
                result["signatures"][name] = f"{error.code().name}: {error.details()}"
            else:
                result["signatures"][name] = objective.check(name, requests[name], answers[name])
        for name in sorted(set(requests) - set(known)):
            result["signatures"][name] = "missing"
        sound = {name: answers[name] for name in answers if result["signatures"][name] == "ok"}
        result["signatures"].update(objective.compare(sound))
        result["signatures"].update(_compare_at_once(client, sorted(sound), objective, known, examples))
        failed = {name: said for name, said in result["signatures"].items() if said != "ok"}
        result["reasons"].extend(f"signature {name}: {said}" for name, said in sorted(failed.items()))
        timed = objective.TIMED
        if timed in failed:
            return
        result["timed"] = timed
        result["p50_ms"], result["p99_ms"] = _time(client, timed, requests[timed], infra.requests)
        if result["p50_ms"] > infra.max_p50_ms:
            result["reasons"].append(
                f"{timed} takes {result['p50_ms']:.1f} ms at the median, infra.max_p50_ms allows {infra.max_p50_ms:g}"
            )


def _compare_at_once(
    client: client_lib.Client,
    signatures: Sequence[str],
    objective: Any,
    known: Mapping[str, Any],
    examples: list[bytes],
) -> dict[str, str]:
    """The signatures that answer requests of many clients at once otherwise than each alone, and how.

    Every request is of one example, so that histories and lists are of different lengths.
    """
    made = [objective.make_requests(known, [example]) for example in examples]
    asked = [(name, request[name]) for request in made for name in signatures]
    alone = [client.predict(name, request) for name, request in asked]
    wrong: dict[str, str] = {}

    def ask(number: int) -> None:
        name, request = asked[number]
        try:
            found = client.predict(name, request)
        except grpc.RpcError as error:
            wrong[name] = f"beside other requests {error.code().name}: {error.details()}"
            return
        for key, value in alone[number].items():
            if not _alike(found[key], value):
                wrong[name] = f"{key} is another one beside other requests than alone"

    with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
        # Requests of one signature are neighbours, as a server that joins them would do.
        list(pool.map(ask, sorted(range(len(asked)), key=lambda number: asked[number][0])))
    return wrong


def _alike(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    # Sums in another order, no more.
    return bool(np.allclose(found, expected, 1e-3, 1e-5))


def _time(
    client: client_lib.Client, name: str, request: dict[str, np.ndarray], count: int
) -> tuple[float, float]:
    """Median and 99th percentile (ms) of a signature for one row."""
    single = {name: value[:1] for name, value in request.items()}
    taken = []
    for number in range(2 * count):
        start = time.perf_counter()
        client.predict(name, single)
        if number >= count:
            taken.append(1000 * (time.perf_counter() - start))
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))
