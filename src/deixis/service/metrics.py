"""The gateway's figures, for Prometheus and `deixis top`.

Knows names and labels. Does not know how requests are served. Labels come from the server's own lists, never from a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deixis.errors import DeixisError
from deixis.service.admission import Admission
from deixis.service.engine_process import resident_bytes
from deixis.service.gate import Passed
from deixis.service.served import Served

ROUTES = (
    "/v1/chat/completions",
    "/v1/spatial/ask",
    "/v1/spatial/locate",
    "/v1/spatial/scene",
    "/v1/spatial/watch",
    "/v1/models",
    "/v1/jobs",
    "/health",
    "/metrics",
    "/mcp",
)
_STATES = ("cold", "loading", "ready", "draining", "failed")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STATS_S = 2.0
_ENGINE = {
    "pages_in_use": "pages of the key-value cache that replies hold",
    "pages_cached": "pages kept for prompts that begin alike",
    "rows": "tokens computed",
    "rows_reused": "tokens of prompts found in the cache",
    "pictures_seen": "pictures computed",
    "waiting": "replies that wait for a step",
    "running": "replies in progress",
}


class Metrics:
    """One registry for one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "status")
        self.requests = Counter("deixis_requests", "Requests by route and status.", labels, registry=self.registry)
        self.ends = Counter("deixis_ends", "Ends of requests that had a place.", ("end",), registry=self.registry)
        self.errors = Counter("deixis_errors", "Errors by class.", ("type",), registry=self.registry)
        self.seconds = self._histogram("deixis_request_seconds", "From the request's arrival to its end.", ("route",))
        self.queued = self._histogram("deixis_queue_seconds", "From a request's arrival to its slot.", ("model",))
        self.first = self._histogram("deixis_first_token_seconds", "From arrival to the first piece of a stream.", ("model",))
        self.tokens = self._counter("deixis_tokens", "Tokens of replies.", ("model",))
        self.prompt_tokens = self._counter("deixis_prompt_tokens", "Tokens of conversations.", ("model",))
        self.cached_tokens = self._counter("deixis_cached_tokens", "Of these, found in the prefix cache.", ("model",))
        self.rate = self._histogram("deixis_tokens_per_second", "Of each streamed reply.", ("model",), (1, 3, 10, 30, 100, 300))
        self.pictures = self._counter("deixis_pictures", "Pictures and videos that were let in.", ("kind",))
        self._gauges: dict[str, Gauge] = {}

    def ended(self, passed: Passed) -> None:
        """A request has come to its end."""
        route = next((known for known in ROUTES if passed.path.startswith(known)), "other")
        self.requests.labels(route, str(passed.status or 499)).inc()
        if passed.place:
            self.ends.labels(passed.end).inc()
            self.seconds.labels(route).observe(time.monotonic() - passed.began)
        if passed.error:
            self.errors.labels(passed.error).inc()

    async def text(self, admission: Admission, served: Iterable[Served]) -> bytes:
        """Everything, in Prometheus' text format."""
        self._set("deixis_places_taken", "Requests that have a place.", admission.taken)
        self._set("deixis_places", "Places.", admission.places)
        self._set("deixis_accepted_total", "Requests that were given a place.", admission.accepted)
        self._set("deixis_ended_total", "Requests that gave it back.", admission.ended)
        for one in served:
            self._set("deixis_model_running", "Requests that a model works on.", one.running, model=one.name)
            self._set("deixis_model_waiting", "Requests that wait for a slot.", one.waiting, model=one.name)
            self._set("deixis_model_restarts", "Engines that ended by themselves.", one.restarts, model=one.name)
            self._set("deixis_model_memory_bytes", "Memory of its engine.", resident_bytes(one.pid), model=one.name)
            for state in _STATES:
                self._set("deixis_model_state", "1 for the state it is in.", one.state == state, model=one.name, state=state)
            for name, value in (await _stats(one)).items():
                if name in _ENGINE:
                    self._set(f"deixis_engine_{name}", f"The engine's {_ENGINE[name]}.", value, model=one.name)
        return generate_latest(self.registry)

    def _set(self, name: str, what: str, value: float, **labels: str) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, what, tuple(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def _counter(self, name: str, what: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, labels: tuple[str, ...], buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(name, what, labels, buckets=buckets, registry=self.registry)


async def _stats(one: Served) -> dict[str, float]:
    try:
        async with asyncio.timeout(_STATS_S):
            return await one.stats()
    except (DeixisError, TimeoutError):  # it is being started again, or hangs: its state says so
        return {}
