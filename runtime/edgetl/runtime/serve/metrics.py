"""Prometheus metrics of a server, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from edgetl.types import EngineFacts

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Everything a server counts. Label values come from what is served and from the routes, never from a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        model = ("model", "variant")
        self._requests = self._histogram(
            "request_seconds", "From a request's headers to its answer", ("route", "status")
        )
        self._queue = self._histogram("queue_seconds", "What a request waited for an engine", model)
        self._inference = self._histogram("inference_seconds", "One engine call", model)
        self._batch = self._histogram("batch_size", "Samples of one engine call", model, SIZES)
        self._preprocessing = self._histogram(
            "preprocessing_seconds", "Decoding and resizing one image, or splitting one text", ("model",)
        )
        self._errors = Counter(
            "edgetl_errors", "Requests that got no answer", ("route", "status"), registry=self.registry
        )
        self._facts = Gauge(
            "edgetl_model_info",
            "What an engine says it really runs",
            (*model, "engine", "version", "provider", "precision", "threads"),
            registry=self.registry,
        )
        self._routes: dict[tuple[str, int], Histogram] = {}
        self._variants: dict[tuple[str, str], VariantMetrics] = {}

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(f"edgetl_{name}", text, labels, buckets=buckets, registry=self.registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answered request; a status from 400 on is an error too."""
        key = route, status
        if key not in self._routes:
            self._routes[key] = self._requests.labels(route, str(status))
        self._routes[key].observe(seconds)
        if status >= 400:
            self._errors.labels(route, str(status)).inc()

    def preprocessed(self, model: str, seconds: float) -> None:
        self._preprocessing.labels(model).observe(seconds)

    def variant(self, model: str, variant: str) -> "VariantMetrics":
        key = model, variant
        if key not in self._variants:
            self._variants[key] = VariantMetrics(key, self._queue, self._inference, self._batch, self._facts)
        return self._variants[key]

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class VariantMetrics:
    """The metrics of one variant, their labels bound."""

    def __init__(
        self, key: tuple[str, str], queue: Histogram, inference: Histogram, batch: Histogram, facts: Gauge
    ) -> None:
        self._key, self._facts = key, facts
        self.queue = queue.labels(*key)
        self._inference, self._batch = inference.labels(*key), batch.labels(*key)

    def batch(self, samples: int, seconds: float) -> None:
        """One engine call; called in an engine thread."""
        self._batch.observe(samples)
        self._inference.observe(seconds)

    def describe(self, facts: EngineFacts) -> None:
        words = (facts.engine, facts.version, facts.provider, facts.precision, str(facts.threads))
        self._facts.labels(*self._key, *words).set(1)
