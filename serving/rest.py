"""REST as TensorFlow Serving has it: predict, status and metadata below `/v1/models/`; and `/healthz`.

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
import resource
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, http_exceptions, web
from google.protobuf import json_format

from serving import loaded_model, metadata, model_store, rows, tensors

# Connections that wait to be accepted.
BACKLOG = 1024
# Seconds that a connection may be open between two requests, or before its first one is read to the end of
# its head.
_IDLE_SECONDS = 60.0
# How much longer than `Limits.body_seconds` a whole body may take that comes drop by drop.
_WHOLE_BODY = 12
_MOST_CONNECTIONS = 4096
_GRACE_SECONDS = 5.0
# Between two looks whether a client that sends no more has all its answers.
_LOOK_SECONDS = 0.02
_ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_ALLOWED = {"Allow": "GET, POST"}
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19}))?(?P<what>:predict|/metadata)?"
)
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
    """

    def __init__(self, listening: socket.socket, store: model_store.ModelStore, name: str, limits: Limits):
        self._store, self._name, self._limits = store, name, limits
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
        server = _Server(
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
            response = _answer(200, await self._content(request))
        except loaded_model.RequestError as error:
            response = _answer(_STATUS[error.code], {"error": str(error)})
        except _Refused as error:
            response = _answer(error.status, {"error": str(error)}, error.headers)
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
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise _Refused(404, f"nothing at {tensors.shown(request.path)}")
        _check_method(request, "POST" if match["what"] == ":predict" else "GET")
        if match["what"] != ":predict":
            model = self._model(match)
            return self._metadata(model) if match["what"] else _status(model)
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
        return self._store.get(int(match["version"]) if match["version"] else None)

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


class _Server(web.Server):
    """aiohttp's, with a bound on connections."""

    def __init__(self, handler: Any, **options: Any):
        super().__init__(handler, **options)
        self._options = options
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # Half of the files that the process may open: TensorFlow and gRPC need some, too.
        unbounded = files == resource.RLIM_INFINITY
        self._most = _MOST_CONNECTIONS if unbounded else min(_MOST_CONNECTIONS, files // 2)

    def connection_made(self, handler: Any, transport: Any) -> None:
        """One connection more."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            transport.abort()

    def __call__(self) -> "_Connection":
        return _Connection(self, loop=self._loop, **self._options)


class _Connection(web.RequestHandler):
    """aiohttp's; it answers in JSON where a request cannot be read, and those who have sent their last."""

    # asyncio takes an answer, of which aiohttp's types know nothing.
    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; what it has asked is still answered, then the connection ends."""
        self._end_once_answered()
        return True

    def _end_once_answered(self) -> None:
        if self.transport is None:
            return
        waits_for_a_request = self._waiter is not None and not self._waiter.done()
        reads = self._current_request is not None and not self._current_request.content.is_eof()
        # The rest of a body will never come.
        if waits_for_a_request or reads:
            self.force_close()
        else:
            self._loop.call_later(_LOOK_SECONDS, self._end_once_answered)

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers an error and ends the connection."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= 500:
            _LOG.error("a request failed", exc_info=exc)
            text = "the server failed to answer; its log says more"
        else:
            text = _not_http(message or "")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        response = _answer(status, {"error": text})
        response.force_close()
        return response


def _not_http(message: str) -> str:
    """What the parser says, in one line."""
    said = next((line.strip(" :") for line in message.splitlines() if line.strip()), "it cannot be read")
    if "content-length" in said.lower():
        return f"Content-Length is a number of bytes, once and without Transfer-Encoding: {said}"
    return f"the request is not HTTP/1.1: {said[:200]}"


def _answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    body = content if isinstance(content, bytes) else _json(content)
    return web.Response(
        status=status,
        body=body,
        content_type="application/json",
        headers={"Server": "footfall", **(headers or {})},
    )


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8")


def _status(model: model_store.LoadedModel) -> dict[str, Any]:
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": status}]}


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
    return _json(rows.write(request, model.predict(name, inputs)))
