"""HTTP over raw sockets: what is no request is refused, and no byte of a body is read as the next one."""

import concurrent.futures
import gzip
import json
import re
import shutil
import socket
import statistics
import struct
import time

import pytest

from serving import rest
from serving import server as server_lib

BODY = json.dumps(
    {
        "signature_name": "recommend",
        "inputs": {
            "history_item_id": [["i1"]],
            "history_behavior": [["view"]],
            "history_timestamp": [[1]],
            "exclude": [[""]],
            "k": [2],
        },
    }
).encode()
ZIPPED = gzip.compress(BODY, mtime=0)
HEAD = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\n"
# What an attacker puts into a body, to be read as a request of its own.
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BODY_SECONDS = 1.0


@pytest.fixture(scope="module")
def server(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(toy / "model", folder / "7")
    with server_lib.Server(
        str(folder), "toy", max_message_bytes=1 << 20, body_seconds=BODY_SECONDS
    ) as running:
        yield running


def connect(server):
    return socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)


def answers(connection):
    """The statuses and bodies that come until the connection ends."""
    stream, found = connection.makefile("rb"), []
    while line := stream.readline():
        status = int(line.split()[1])
        length = 0
        while (header := stream.readline()) not in (b"\r\n", b""):
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        if status != 100:
            found.append((status, json.loads(stream.read(length) or b"null")))
    return found


def ask(server, request):
    """All answers to some bytes, after which the client sends no more."""
    with connect(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return answers(connection)


def with_length(body, head=HEAD, more=b""):
    return head + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body, head=HEAD, more=b""):
    return head + more + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "request_bytes",
    [
        with_length(BODY),
        chunked(BODY),
        with_length(ZIPPED, more=b"Content-Encoding: gzip\r\n"),
        chunked(ZIPPED, more=b"Content-Encoding: gzip\r\n"),
        with_length(BODY, more=b"Expect: 100-continue\r\n"),
        with_length(BODY, HEAD.replace(b"1.1", b"1.0")),
    ],
)
def test_bodies_that_the_real_server_takes(server, request_bytes):
    ((status, answer),) = ask(server, request_bytes)
    assert status == 200 and len(answer["outputs"]["item_id"][0]) == 2


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (HEAD + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY, 400),
        (HEAD + b"Content-Length: 0, 5\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + HIDDEN, 501),
        (HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + HIDDEN, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + HIDDEN, 400),
        (HEAD + b"Content-Length: +5\r\n\r\nabcde" + HIDDEN, 400),
        (HEAD + b"Content-Length: 0x5\r\n\r\nabcde" + HIDDEN, 400),
        (HEAD + b"Content-Length: 1_0\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Content-Length: \r\n\r\n" + HIDDEN, 400),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n" + HIDDEN, 400),
        (HEAD + b"\r\n" + HIDDEN, 411),
        (b"GET /healthz\r\n\r\n", 505),
        (b"GET /healthz\r\n\r\n" + HIDDEN, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n" + HIDDEN, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n" + HIDDEN, 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n" + HIDDEN, 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + HIDDEN, 400),
        (with_length(ZIPPED, more=b"Content-Encoding: br\r\n") + HIDDEN, 415),
    ],
)
def test_what_cannot_be_framed_ends_the_connection(server, request_bytes, status):
    ((found, answer),) = ask(server, request_bytes)
    assert found == status and answer["error"]


@pytest.mark.parametrize(
    "head, status",
    [
        (b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\n", 200),
        (b"POST /nothing HTTP/1.1\r\nHost: x\r\n", 404),
        (b"POST /v1/models/toy HTTP/1.1\r\nHost: x\r\n", 400),
        (b"POST /v1/models/other:predict HTTP/1.1\r\nHost: x\r\n", 404),
        (HEAD, 400),
    ],
)
def test_a_body_is_never_the_next_request(server, head, status):
    """Whether it is read or not: one answer to it, and one to the request that does follow."""
    for framed in (with_length, chunked):
        found = ask(server, framed(HIDDEN, head) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [code for code, _ in found] == [status, 200] and found[1][1] == {"status": "ok"}


@pytest.mark.parametrize(
    "body, words",
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"inputs": ' + b"[" * 500 + b"]" * 500 + b"}", "'examples'"),
        (b'{"inputs": NaN}', "'examples'"),
        (b"\xff\xfe", "not JSON"),
        (b"1" * 5000, "not JSON|object"),
        (b"null", "either 'instances' or 'inputs'"),
    ],
)
def test_odd_json_is_a_bad_request(server, body, words):
    ((status, answer),) = ask(server, with_length(body))
    assert status == 400 and any(word in answer["error"] for word in words.split("|"))


@pytest.mark.parametrize(
    "body",
    [ZIPPED[:-4], ZIPPED[:-12], b"not gzip", ZIPPED + b"rest", b""],
    ids=["cut", "cut more", "no gzip", "with a rest", "empty"],
)
def test_gzip_that_is_cut_or_none_is_refused(server, body):
    ((status, _),) = ask(server, with_length(body, more=b"Content-Encoding: gzip\r\n"))
    assert status == 400


def test_a_body_that_unpacks_to_too_much_is_refused(server):
    packed = gzip.compress(b" " * (64 << 20))
    ((status, answer),) = ask(server, with_length(packed, more=b"Content-Encoding: gzip\r\n"))
    assert status == 413 and "at most 1048576 bytes" in answer["error"]


def test_a_body_that_stops_coming_is_waited_for_only_shortly(server):
    start = time.monotonic()
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + BODY)
        ((status, _),) = answers(connection)
    assert status == 408 and time.monotonic() - start < 10 * BODY_SECONDS


def counted(server, status):
    """How many requests the metrics say ended so."""
    found = re.search(rf'status="{status}"}} (\d+)', server.metrics.text("toy"))
    return int(found[1]) if found else 0


def test_a_request_that_breaks_off_or_fails_is_not_counted_as_answered(server, monkeypatch):
    before = {status: counted(server, status) for status in ("OK", "CANCELLED", "INTERNAL")}
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        # With what has been read unread the end is a reset, as of a client that is killed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.3)
    with monkeypatch.context() as broken:
        broken.setattr(rest, "_predict", lambda *_: 1 / 0)
        assert [status for status, _ in ask(server, with_length(BODY))] == [500]
    deadline = time.monotonic() + 30
    while counted(server, "CANCELLED") == before["CANCELLED"]:
        assert time.monotonic() < deadline, server.metrics.text("toy")
        time.sleep(0.05)
    after = {status: counted(server, status) for status in before}
    assert after == {**before, "CANCELLED": before["CANCELLED"] + 1, "INTERNAL": before["INTERNAL"] + 1}


def test_bodies_in_memory_are_bounded_and_then_let_go(tmp_path):
    """Of five bodies of 0.9 MB that wait for their last byte no more than three fit into 3 MB."""
    limits = {"max_message_bytes": 1 << 20, "max_held_bytes": 3 << 20, "body_seconds": 60.0}
    with server_lib.Server(str(tmp_path), "toy", **limits) as server:
        _hold_bodies(server)


def _hold_bodies(server):
    size = 900_000
    large = json.dumps({"inputs": "x" * (size - 20)}).encode().ljust(size)
    waiting = [connect(server) for _ in range(5)]
    for connection in waiting:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size + large[:-1])
    refused, deadline = set(), time.monotonic() + 20
    while len(refused) < 2 and time.monotonic() < deadline:
        for number, connection in enumerate(waiting):
            connection.settimeout(0.05)
            try:
                refused |= {number} if connection.recv(12).endswith(b"429") else set()
            except OSError:
                continue
    assert len(refused) >= 2
    for connection in waiting:
        connection.close()
    deadline = time.monotonic() + 20
    while server._rest._held_bytes and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server._rest._held_bytes == 0
    # No version is loaded; the body is taken.
    assert ask(server, with_length(BODY))[0][0] == 503


def test_many_slow_connections_delay_nobody(server):
    """Of 200, a third has sent half a head, a third no byte, a third half a body."""
    parts = (HEAD[:20], b"", HEAD + b"Content-Length: 1000\r\n\r\nhalf")
    slow = [connect(server) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(parts[number % 3])
        assert [ask(server, with_length(BODY))[0][0] for _ in range(50)] == [200] * 50
    finally:
        for connection in slow:
            connection.close()


def test_many_clients_at_once_are_all_accepted(server):
    def one(number):
        return [code for code, _ in ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")]

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert list(pool.map(one, range(600))) == [[200]] * 600


def test_an_answer_is_not_held_back_on_a_connection_that_stays(server):
    """Head and body in one piece: in two, each waits 40 ms for the client's acknowledgement."""
    import http.client

    connection, taken = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30), []
    for _ in range(30):
        start = time.perf_counter()
        connection.request("GET", "/v1/models/toy")
        assert connection.getresponse().read()
        taken.append(time.perf_counter() - start)
    connection.close()
    # The best tenth, since other work shares the machine.
    assert statistics.quantiles(taken, n=10)[0] < 0.03
