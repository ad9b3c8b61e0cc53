"""aiohttp's server with bounds: how many connections there are, and how each of them ends."""

import json
import logging
import resource
from collections.abc import Mapping
from typing import Any

from aiohttp import web

_MOST_CONNECTIONS = 4096
# Between two looks whether a client that sends no more has all its answers.
_LOOK_SECONDS = 0.02
_LOG = logging.getLogger("footfall.serving")


class Server(web.Server):
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

    def __call__(self) -> "Connection":
        return Connection(self, loop=self._loop, **self._options)


class Connection(web.RequestHandler):
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
        response = answer(status, {"error": text})
        response.force_close()
        return response


def _not_http(message: str) -> str:
    """What the parser says, in one line."""
    said = next((line.strip(" :") for line in message.splitlines() if line.strip()), "it cannot be read")
    if "content-length" in said.lower():
        return f"Content-Length is a number of bytes, once and without Transfer-Encoding: {said}"
    return f"the request is not HTTP/1.1: {said[:200]}"


def answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON, as bytes or as what is to be written in it; plain text for a text."""
    is_text = isinstance(content, str)
    body = content.encode() if is_text else content if isinstance(content, bytes) else to_json(content)
    return web.Response(
        status=status,
        body=body,
        content_type="text/plain" if is_text else "application/json",
        headers={"Server": "footfall", **(headers or {})},
    )


def to_json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8")
