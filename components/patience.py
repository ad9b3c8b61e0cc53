"""How Google's services are asked what costs nothing to ask again: patiently, through an outage that passes."""

from typing import Any

# How long an outage is waited out, and one request may take.
_OUTAGE_SECONDS, REQUEST_SECONDS = 600.0, 60.0


def passes(error: Exception) -> bool:
    """Whether an error is of a request that did not come through, and not what the service says of it."""
    from google.api_core import exceptions, retry

    # The first is also what a request ends with that took longer than it may.
    lost = (exceptions.GatewayTimeout, exceptions.BadGateway, exceptions.Unknown)
    return retry.if_transient_error(error) or isinstance(error, lost)


def patiently(outage: float = _OUTAGE_SECONDS, each: float = REQUEST_SECONDS) -> dict[str, Any]:
    """Arguments of a method of Google's clients, so that it is asked again while errors pass.

    Args:
      outage: the seconds after which it is asked no more.
      each: the longest time of one request, of each anew: a number in its place is one of all of them together.
    """
    from google.api_core import retry, timeout

    return {"retry": retry.Retry(passes, timeout=outage), "timeout": timeout.ConstantTimeout(each)}
