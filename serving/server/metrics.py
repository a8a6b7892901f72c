"""What Prometheus reads, under TF Serving's names."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

BUCKETS = [10.0 * 1.8**power for power in range(33)]
"""Upper bounds in microseconds, as TF Serving has them."""


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # TF Serving has none
        self.registry = CollectorRegistry()
        self.requests = Counter(
            ":tensorflow:serving:request_count", "Requests.", ["model_name", "status"], registry=self.registry
        )
        self.latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Time from a request to its answer, in microseconds.",
            ["model_name", "API", "entrypoint"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            ":tensorflow:serving:batching_session:processed_batch_size",
            "Rows of a batch.",
            ["model_name"],
            buckets=[2.0**power for power in range(11)],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """The page."""
        # The library ends every counter's name in _total; TF Serving does not.
        return generate_latest(self.registry).replace(b":request_count_total", b":request_count")
