"""The API's own description: schemathesis asks everything that it allows, and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.service.serving import Running, running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(models=["fake", "other=fake"], fetch=False) as here:
        yield here


@pytest.fixture(scope="module")
def document(here: Running) -> dict:
    with here.client() as client:
        return client.get("/openapi.json").json()


def test_every_route_is_described(here: Running, document: dict) -> None:
    assert set(document["paths"]) == {
        "/v1/chat/completions",
        "/v1/spatial/ask",
        "/v1/spatial/locate",
        "/v1/spatial/scene",
        "/v1/spatial/watch",
        "/v1/jobs/{number}",
        "/v1/jobs/{number}/events",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/models/load",
        "/v1/models/unload",
        "/v1/models/pin",
        "/v1/models/unpin",
        "/v1/models/default",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path} says nothing"
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                assert kind != "application/json" or content["example"], f"{method} {path} has no example"


def test_every_example_is_answered(here: Running, document: dict) -> None:
    with here.client() as client:
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                content = operation.get("requestBody", {}).get("content", {}).get("application/json")
                if content is None or path in ("/v1/spatial/watch",):  # its example is an address
                    continue
                body = content["example"] | ({"model": "other"} if path.startswith("/v1/models") else {})
                if path == "/v1/models/default":
                    assert client.post("/v1/models/load", json=body).status_code == 200
                answer = client.request(method, path, json=body)
                assert answer.status_code == 200, (path, answer.text)


@pytest.mark.slow
def test_schemathesis_finds_no_fault(here: Running, document: dict) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=here.url)
    asked = 0

    def check(case: schemathesis.Case) -> None:
        nonlocal asked
        asked += 1
        case.call_and_validate(checks=CHECKS, timeout=60)

    few = settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in schema.get_all_operations():
        operation = result.ok()
        # Where nothing is sent, nothing can be sent wrongly.
        for mode in schemathesis.GenerationMode if operation.body else [schemathesis.GenerationMode.POSITIVE]:
            few(given(case=operation.as_strategy(generation_mode=mode))(check))()
    assert asked > 100
    assert httpx.get(f"{here.url}/health/ready", trust_env=False).status_code == 200
    assert here.gateway.models.served[0].restarts == 0
