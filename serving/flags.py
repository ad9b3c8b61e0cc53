"""The flags of TensorFlow Serving: those of the files in `deploy` and those with which a candidate is tried.

Requests are not batched by the server. It pads the rows of unequal requests with the first element of each
tensor, so that the oldest event of a short history is appended as its newest, and it fails all requests of a batch
for one that is broken. A client that has many rows sends them in one request instead.
"""

from collections.abc import Mapping, Sequence

FLAGS: Mapping[str, str] = {
    "enable_batching": "false",
    "enable_model_warmup": "true",
    # Requests at work or waiting; more are refused with RESOURCE_EXHAUSTED. The default is four per CPU.
    "grpc_max_threads": "256",
    "rest_api_num_threads": "32",
    "rest_api_timeout_in_ms": "10000",
    # A client connects anew after a while, so that new replicas get traffic and those that end lose it.
    "grpc_channel_arguments": "grpc.max_connection_age_ms=10000,grpc.max_connection_age_grace_ms=10000",
    # A version that does not load is tried again for 10 minutes: a slow disk, or memory that is short for a while.
    "max_num_load_retries": "60",
    "load_retry_interval_micros": "10000000",
}


def arguments(**more: str) -> Sequence[str]:
    """The flags as a command has them, and more of them."""
    return [f"--{name}={value}" for name, value in {**FLAGS, **more}.items()]
