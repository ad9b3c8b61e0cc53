"""What a server counts, as Prometheus reads it: under the names that TensorFlow Serving gives."""

import bisect
import collections
import threading
from collections.abc import Iterator

PATH = "/monitoring/prometheus/metrics"
# Upper bounds of the buckets of latency, in microseconds.
_BOUNDS = tuple(100 * 2**power for power in range(17))


class Metrics:
    """Requests to predict: how many ended in which way, and how long they took. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: collections.Counter[str] = collections.Counter()
        self._taken: dict[str, list[int]] = {}
        self._sum: collections.Counter[str] = collections.Counter()

    def add(self, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
          entrypoint: `GRPC` or `REST`.
          status: the name of a gRPC status code.
          seconds: that it took.
        """
        micros = int(1e6 * seconds)
        with self._lock:
            self._ended[status] += 1
            buckets = self._taken.setdefault(entrypoint, [0] * (len(_BOUNDS) + 1))
            buckets[bisect.bisect_left(_BOUNDS, micros)] += 1
            self._sum[entrypoint] += micros

    def text(self, model: str) -> str:
        """All of it, for the model of a name."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines(_escaped(model)))

    def _lines(self, model: str) -> Iterator[str]:
        yield "# TYPE :tensorflow:serving:request_count counter"
        for status, count in sorted(self._ended.items()):
            yield f':tensorflow:serving:request_count{{model_name="{model}",status="{status}"}} {count}'
        name = ":tensorflow:serving:request_latency"
        yield f"# TYPE {name} histogram"
        for entrypoint, buckets in sorted(self._taken.items()):
            labels, total = f'model_name="{model}",API="Predict",entrypoint="{entrypoint}"', 0
            for bound, count in zip((*_BOUNDS, "+Inf"), buckets):
                total += count
                yield f'{name}_bucket{{{labels},le="{bound}"}} {total}'
            yield f"{name}_sum{{{labels}}} {self._sum[entrypoint]}"
            yield f"{name}_count{{{labels}}} {total}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
