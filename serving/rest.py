"""REST as TensorFlow Serving has it: predict, status and metadata below `/v1/models/`, metrics; and `/healthz`.

aiohttp reads and frames HTTP: its parser refuses conflicting lengths and ends the connection on a framing
error, so that no byte of a body is ever read as a request. What it leaves open is bounded here: how long a
body may take, how many bytes of bodies are held, how many connections there are. Models work in threads of
their own.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gzip
import io
import json
import logging
import re
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, http_exceptions, web
from google.protobuf import json_format

from schemas import versions
from serving import connections, loaded_model, metadata, metrics, model_store, rows, tensors

# Connections that wait to be accepted.
BACKLOG = 1024
# Seconds that a connection may be open between two requests, or before its first one is read to the end of
# its head.
_IDLE_SECONDS = 60.0
# How much longer than `Limits.body_seconds` a whole body may take that comes drop by drop.
_WHOLE_BODY = 12
_GRACE_SECONDS = 5.0
_ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 400,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_ALLOWED = {"Allow": "GET, POST"}
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>:predict|/metadata)?",
    re.IGNORECASE,
)
# TensorFlow Serving answers 400 to all below it that it does not know, and 404 to all else.
_API = "/v1/"
_LOG = logging.getLogger("footfall.serving")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server bears.

    Attributes:
      workers: requests at work at once.
      max_pending: at work or waiting.
      max_message_bytes: of a request, before and after decompression.
      max_held_bytes: of all bodies in memory.
      body_seconds: without a byte of a body that is still to come.
    """

    workers: int
    max_pending: int
    max_message_bytes: int
    max_held_bytes: int
    body_seconds: float


class _Refused(Exception):
    """A request that is answered with an HTTP status of its own; `close` ends the connection with it."""

    def __init__(
        self, status: int, message: str, close: bool = False, headers: Mapping[str, str] | None = None
    ):
        super().__init__(message)
        self.status, self.close, self.headers = status, close, dict(headers or {})


class Rest:
    """Answers on a listening socket until it is closed.

    Args:
      listening: bound and listening.
      store: of the versions.
      name: of the model, in paths.
      limits: see there.
      counted: requests are added to it.
    """

    def __init__(
        self,
        listening: socket.socket,
        store: model_store.ModelStore,
        name: str,
        limits: Limits,
        counted: metrics.Metrics,
    ):
        self._store, self._name, self._limits, self._metrics = store, name, limits, counted
        self._pending = threading.BoundedSemaphore(limits.max_pending)
        self._held_bytes = 0
        self._workers = concurrent.futures.ThreadPoolExecutor(
            limits.workers, thread_name_prefix="rest-predict"
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._thread.start()
        self._runner: Any = None
        asyncio.run_coroutine_threadsafe(self._start(listening), self._loop).result()

    def close(self) -> None:
        """Takes no more requests, and lets those at work finish within a few seconds."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workers.shutdown(wait=False)

    async def _start(self, listening: socket.socket) -> None:
        server = connections.Server(
            self._handle,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=self._limits.body_seconds,
            # Its own takes a body for whole that is cut within its last block.
            auto_decompress=False,
            access_log=None,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE_SECONDS)
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=BACKLOG).start()

    async def _end(self) -> None:
        await self._runner.cleanup()
        # Connections that were reading what nobody wants any more.
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        close = "Upgrade" in request.headers
        try:
            _check_head(request)
            response = connections.answer(200, await self._content(request))
        except loaded_model.RequestError as error:
            response = connections.answer(_STATUS[error.code], {"error": str(error)})
        except _Refused as error:
            response = connections.answer(error.status, {"error": str(error)}, error.headers)
            close = close or error.close
        if close:
            response.force_close()
        return response

    async def _content(self, request: web.BaseRequest) -> Any:
        if request.path == "/healthz":
            _check_method(request, "GET")
            if self._store.model is None:
                raise loaded_model.RequestError("UNAVAILABLE", "no version is loaded")
            return {"status": "ok"}
        if request.path == metrics.PATH:
            _check_method(request, "GET")
            return self._metrics.text(self._name)
        match = _PATH.fullmatch(request.path)
        what = (match["what"] or "").lower() if match else ""
        if match is None or request.method != ("POST" if what == ":predict" else "GET"):
            code = 400 if request.path.lower().startswith(_API) else 404
            raise _Refused(code, f"nothing at {request.method[:20]} {tensors.shown(request.path)}")
        if what == "/metadata":
            return self._metadata(self._model(match))
        if not what:
            return self._status(match)
        start, ended = time.perf_counter(), "INTERNAL"
        try:
            answer = await self._predicted(request, match)
            ended = "OK"
            return answer
        except loaded_model.RequestError as error:
            ended = error.code
            raise
        except _Refused:
            ended = "INVALID_ARGUMENT"
            raise
        except (asyncio.CancelledError, ConnectionError):
            # The client has gone, or the server ends.
            ended = "CANCELLED"
            raise
        finally:
            self._metrics.add("REST", ended, time.perf_counter() - start)

    async def _predicted(self, request: web.BaseRequest, match: "re.Match[str]") -> bytes:
        async with self._body(request) as body:
            if not self._pending.acquire(blocking=False):
                raise loaded_model.RequestError("RESOURCE_EXHAUSTED", "too many requests are waiting")
            try:
                # After the body, so that an answer is that of the version that is live when the work begins.
                return await self._loop.run_in_executor(
                    self._workers, lambda: _predict(self._model(match), self._unpacked(request, body))
                )
            finally:
                self._pending.release()

    def _model(self, match: "re.Match[str]") -> model_store.LoadedModel:
        metadata.check_name(match["model"], self._name)
        return self._store.get(*_version(match))

    def _status(self, match: "re.Match[str]") -> dict[str, Any]:
        metadata.check_name(match["model"], self._name)
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": "UNKNOWN" if problem else "OK", "error_message": problem},
                }
                for number, (state, problem) in self._store.states(*_version(match)).items()
            ]
        }

    def _metadata(self, model: model_store.LoadedModel) -> dict[str, Any]:
        signatures = json_format.MessageToDict(
            metadata.signature_defs(model), preserving_proto_field_name=True
        )
        spec = {"name": self._name, "version": str(model.version), "signature_name": ""}
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}

    def _unpacked(self, request: web.BaseRequest, body: bytes) -> bytes:
        if not _ENCODINGS[_encoding(request)]:
            return body
        most = self._limits.max_message_bytes
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
                unpacked = stream.read(most + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise _Refused(400, f"the body is not gzip as its Content-Encoding says: {error}") from error
        if len(unpacked) > most:
            raise _Refused(413, f"a request has at most {most} bytes, found more")
        return unpacked

    @contextlib.asynccontextmanager
    async def _body(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body as it was sent; its bytes count as held until the context ends."""
        most, held = self._limits.max_message_bytes, 0
        if (request.content_length or 0) > most:
            raise _Refused(
                413, f"a request has at most {most} bytes, found {request.content_length}", close=True
            )
        await _continue(request)
        parts: list[bytes] = []
        try:
            async for part in _parts(request, self._limits.body_seconds):
                if held + len(part) > most:
                    raise _Refused(413, f"a request has at most {most} bytes, found more", close=True)
                if self._held_bytes + len(part) > self._limits.max_held_bytes:
                    raise _Refused(429, "too many large requests are waiting", close=True)
                held += len(part)
                self._held_bytes += len(part)
                parts.append(part)
            body = b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._held_bytes -= held


def _check_method(request: web.BaseRequest, allowed: str) -> None:
    if request.method != allowed:
        raise _Refused(
            405,
            f"{tensors.shown(request.path)} takes {allowed}, found {request.method[:20]}",
            headers={"Allow": allowed},
        )


def _encoding(request: web.BaseRequest) -> str:
    return ", ".join(request.headers.getall("Content-Encoding", [])).strip().lower()


def _check_head(request: web.BaseRequest) -> None:
    """Refuses what the parser lets through, and ends the connection: what follows may be no request."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise _Refused(505, "HTTP/1.0 and HTTP/1.1 are answered", close=True)
    if request.method not in ("GET", "POST"):
        raise _Refused(
            405, f"GET and POST are answered, found {request.method[:20]}", close=True, headers=_ALLOWED
        )
    coding = request.headers.getall("Transfer-Encoding", [])
    if [text.strip().lower() for text in coding] not in ([], ["chunked"]):
        raise _Refused(
            501, f"Transfer-Encoding is chunked, found {tensors.shown(', '.join(coding))}", close=True
        )
    if request.method == "POST" and not coding and "Content-Length" not in request.headers:
        raise _Refused(411, "a POST has a Content-Length or is chunked", close=True)
    if _encoding(request) not in _ENCODINGS:
        raise _Refused(
            415, f"Content-Encoding is gzip, found {tensors.shown(_encoding(request))}", close=True
        )


async def _continue(request: web.BaseRequest) -> None:
    """Tells a client to go on that waits for it before it sends a body."""
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise _Refused(417, f"Expect is 100-continue, found {tensors.shown(expected)}", close=True)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # It is no part of the answer, which has not begun.
    request.writer.output_size = 0


async def _parts(request: web.BaseRequest, seconds: float) -> AsyncIterator[bytes]:
    """A body as it comes.

    Raises:
      _Refused: if it stops coming, comes too slowly, or is not what its head says.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + _WHOLE_BODY * seconds
    content = request.content
    while not content.at_eof():
        try:
            part = await asyncio.wait_for(content.readany(), min(seconds, end - loop.time()))
        except asyncio.TimeoutError:
            raise _Refused(
                408, f"no byte of the body came for {seconds:g} s, or it came too slowly", close=True
            ) from None
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError) as error:
            raise _Refused(
                400, f"the body cannot be read: {tensors.shown(str(error))}", close=True
            ) from error
        if part:
            yield part


def _version(match: "re.Match[str]") -> tuple[int | None, str]:
    """The version and the label that a path names."""
    if match["version"] and int(match["version"]) > versions.LARGEST:
        raise loaded_model.RequestError(
            "INVALID_ARGUMENT", f"no version is {match['version']}: it has 64 bits"
        )
    return (int(match["version"]) if match["version"] else None), urllib.parse.unquote(match["label"] or "")


def _predict(model: model_store.LoadedModel, body: bytes) -> bytes:
    """The answer to a request, as JSON."""
    try:
        request = json.loads(body)
    except RecursionError as error:
        raise loaded_model.RequestError(
            "INVALID_ARGUMENT", "the request's JSON is nested too deeply"
        ) from error
    except ValueError as error:
        raise loaded_model.RequestError("INVALID_ARGUMENT", f"the request is not JSON: {error}") from error
    try:
        name, specs, values = rows.read(request, model)
        inputs = {key: tensors.of_json(key, specs[key], value) for key, value in values.items()}
    except ValueError as error:
        raise loaded_model.RequestError("INVALID_ARGUMENT", str(error)) from error
    return connections.to_json(rows.write(request, model.predict(name, inputs)))
