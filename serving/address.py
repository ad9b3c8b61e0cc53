"""Where a server is asked, as people write it; free of TensorFlow."""

import re

GRPC_PORT, REST_PORT = 8500, 8501
# Names that gRPC itself resolves.
_RESOLVED = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>[0-9]+)", re.ASCII)


def check(address: str) -> str:
    """An address, if a client can ask there.

    Args:
      address: `host:port` of the gRPC interface, or a name with a scheme of gRPC's own.

    Returns:
      It, as it is.

    Raises:
      ValueError: saying what was found and how it would be right.

    >>> check("localhost:8500")
    'localhost:8500'
    """
    if address.startswith(_RESOLVED):
        return address
    wanted = f"an address is host:port of the server's gRPC interface, as localhost:{GRPC_PORT}"
    scheme, separator, rest = address.partition("://")
    if separator:
        host = rest.split("/")[0].rsplit(":", 1)[0] or "localhost"
        kept = "; TLS is spoken by Client(credentials=...)" if scheme == "https" else ""
        raise ValueError(f"{address}: {wanted}, without {scheme}://{kept}. Perhaps {host}:{GRPC_PORT}?")
    match = _HOST_PORT.fullmatch(address)
    if match is None:
        if "/" in address or any(c.isspace() for c in address) or not address:
            raise ValueError(f"{address!r}: {wanted}")
        if ":" not in address.rstrip(":"):
            raise ValueError(
                f"{address}: {wanted}; the port is missing. Perhaps {address.rstrip(':')}:{GRPC_PORT}?"
            )
        raise ValueError(f"{address}: {wanted}; an IPv6 host stands in brackets, as [::1]:{GRPC_PORT}")
    if not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"{address}: {wanted}; a port is a number from 1 to 65535, found {match['port']}")
    return address
