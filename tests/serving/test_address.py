"""Addresses as people write them."""

import pytest

from serving import address


@pytest.mark.parametrize(
    "text",
    [
        "localhost:8500",
        "10.0.0.1:1",
        "[::1]:8500",
        "model.prod.svc.cluster.local:65535",
        "dns:///a:1",
        "unix:/s",
    ],
)
def test_an_address_stays_as_it_is(text):
    assert address.check(text) == text


@pytest.mark.parametrize(
    "text, words",
    [
        ("http://models:8501", "without http://. Perhaps models:8500?"),
        ("http://models:8501/v1/models/m", "Perhaps models:8500?"),
        (
            "https://models",
            "without https://; TLS is spoken by Client(credentials=...). Perhaps models:8500?",
        ),
        ("grpc://models:8500", "without grpc://"),
        ("localhost", "the port is missing. Perhaps localhost:8500?"),
        ("localhost:", "the port is missing"),
        ("localhost:http", "host:port"),
        ("localhost:0", "from 1 to 65535, found 0"),
        ("localhost:99999", "from 1 to 65535, found 99999"),
        ("::1:8500", "an IPv6 host stands in brackets"),
        ("localhost:8500/v1", "host:port of the server's gRPC interface"),
        ("local host:8500", "host:port"),
        ("localhost:٨", "host:port"),
        ("", "host:port"),
    ],
)
def test_another_one_is_put_right(text, words):
    with pytest.raises(ValueError) as caught:
        address.check(text)
    assert words in str(caught.value)
