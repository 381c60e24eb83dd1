"""Servers of one model: which is asked, what is tried again, what is left alone, and how they differ."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from deixis.backends import Conversation
from deixis.backends.dialects import DIALECTS, OPENAI, dialect_of
from deixis.backends.openai import OpenAIBackend
from deixis.backends.remote import Remote, Reply
from deixis.backends.replicas import FAILURES, SLACK, Replicas
from deixis.errors import BackendError, OverloadError

URLS = [f"http://{name}/v1" for name in "abc"]


def picture(number: int) -> np.ndarray[Any, Any]:
    return np.full((8, 8, 3), number, np.uint8)


def test_the_one_with_least_to_do_is_asked() -> None:
    replicas = Replicas(URLS)
    with replicas.all[0].busy(), replicas.all[1].busy():
        assert replicas.choose() is replicas.all[2]
        with replicas.all[2].busy(), replicas.all[2].busy():
            assert replicas.choose() is replicas.all[0]
    assert [one.load for one in replicas.all] == [0, 0, 0]
    assert replicas.choose(tried=[replicas.all[0]]) is not replicas.all[0]


def test_a_picture_stays_with_its_server_unless_that_is_busy() -> None:
    replicas = Replicas(URLS)
    homes = {str(key): replicas.choose(str(key)) for key in range(60)}
    assert {one.url for one in homes.values()} == set(URLS)
    assert all(replicas.choose(key) is home for key, home in homes.items())
    home = homes["0"]
    home.load = SLACK
    assert replicas.choose("0") is home
    home.load = SLACK + 1
    assert replicas.choose("0") is not home
    home.load, home.open = 0, True
    moved = {key: replicas.choose(key) for key in homes}
    assert all(moved[key] is was for key, was in homes.items() if was is not home)  # the others keep theirs


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    replicas = Replicas(URLS[:1])
    (one,) = replicas.all
    assert [one.failed() for _ in range(FAILURES - 1)] == [False] * (FAILURES - 1)
    one.worked()
    assert [one.failed() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    with pytest.raises(BackendError, match="probe"):
        replicas.choose()
    one.worked()
    assert replicas.choose() is one


def remote(answer: Callable[[httpx.Request], httpx.Response], urls: list[str] = URLS, **given: Any) -> Remote:
    return Remote(urls, transport=httpx.MockTransport(answer), backoff_s=0.001, **given)


def test_what_may_succeed_later_is_asked_elsewhere() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(200 if len(asked) == 3 else 503, text="x")

    reply = remote(answer).request("POST", "/chat/completions", {})
    assert (reply.status, sorted(asked)) == (200, ["a", "b", "c"])


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (502, 3), (504, 3), (400, 1), (404, 1), (500, 1), (200, 1)])
def test_which_statuses_are_tried_again(status: int, tries: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, text="no", headers={"retry-after": "0"})

    assert remote(answer).request("GET", "/models").status == status
    assert len(asked) == tries


def test_a_server_that_asks_for_long_patience_is_not_waited_for() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"retry-after": "60"}, json={})

    backend = OpenAIBackend("http://a/v1", "m", transport=httpx.MockTransport(answer))
    with pytest.raises(OverloadError) as raised:
        backend.complete(Conversation.about(picture(0), "?"), max_new_tokens=1)
    assert raised.value.retry_after_s == 60


def test_a_server_that_is_gone_is_left_alone_until_it_answers_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.backends.remote._PROBES_S", (0.05,))
    up = {"a": False, "b": True}
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.host}")
        if not up[request.url.host]:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={})

    both = remote(answer, URLS[:2])
    a = both.replicas.all[0]
    for _ in range(FAILURES + 2):
        assert both.request("POST", "/x", {}).status == 200
    assert a.open and asked.count("POST a") == FAILURES
    up["a"] = True
    until = time.monotonic() + 10
    while a.open and time.monotonic() < until:
        time.sleep(0.01)
    assert not a.open and "GET a" in asked
    alone = remote(answer, URLS[:1])
    up["a"] = False
    with pytest.raises(BackendError, match="is the server running"):
        alone.request("POST", "/x", {})


def test_the_same_picture_goes_to_the_same_server() -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked.append((request.url.host, body["messages"][0]["content"][0]["image_url"]["url"]))
        return httpx.Response(200, json={"choices": [{"index": 0, "message": {"content": "Yes"}, "finish_reason": "stop"}]})

    backend = OpenAIBackend(",".join(URLS), "m", transport=httpx.MockTransport(answer))
    for _ in range(3):
        for number in range(8):
            backend.complete(Conversation.about(picture(number), "?"), max_new_tokens=1)
    homes = {shown: {host for host, other in asked if other == shown} for _, shown in asked}
    assert len(homes) == 8 and all(len(hosts) == 1 for hosts in homes.values())
    assert len({host for host, _ in asked}) > 1


def test_a_request_can_be_called_off() -> None:
    started, entered, called = (threading.Event() for _ in range(3))

    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("not reached")

    class Never(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            import asyncio

            started.set()
            await asyncio.sleep(60)
            return answer(request)

    held: list[Any] = []

    @contextmanager
    def holding(work: Any) -> Any:
        held.append(work)
        entered.set()
        yield

    waiting = Remote(URLS[:1], transport=Never())  # type: ignore[arg-type]
    waiting.holding = holding

    def ask() -> None:
        with pytest.raises(BackendError, match="called off"):
            waiting.request("GET", "/models")
        called.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert started.wait(5) and entered.wait(5)
    held[0].cancel()
    assert called.wait(5)
    thread.join()
    until = time.monotonic() + 5
    while waiting.replicas.all[0].load and time.monotonic() < until:
        time.sleep(0.01)
    assert waiting.replicas.all[0].load == 0


def test_lines_come_as_they_are_sent_and_refusals_as_replies() -> None:
    async def body() -> Any:
        for line in (b"data: 1\n\n", b"data: 2\n\n"):
            yield line

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body()) if request.url.path.endswith("/good") else httpx.Response(400, text="no")

    here = remote(answer)
    assert [line for line in here.lines("/good", {}) if line] == ["data: 1", "data: 2"]
    (refusal,) = here.lines("/bad", {})
    assert isinstance(refusal, Reply) and (refusal.status, refusal.text, refusal.is_error) == (400, "no", True)


SCHEMA = {"type": "array"}


@pytest.mark.parametrize(
    ("owner", "field", "frames"),
    [("vllm", "structured_outputs", True), ("sglang", "response_format", False), ("deixis", "response_format", True)],
)
def test_dialects(owner: str, field: str, frames: bool) -> None:
    dialect = dialect_of({"data": [{"id": "m", "owned_by": owner}]})
    assert dialect is DIALECTS[owner]
    assert field in dialect.schema(SCHEMA) and "array" in json.dumps(dialect.schema(SCHEMA))
    assert (dialect.frames is not None) is frames


@pytest.mark.parametrize(
    "listing", [None, [], {}, {"data": None}, {"data": [1, {"owned_by": None}]}, {"data": [{"owned_by": "x"}]}]
)
def test_whoever_is_not_known_speaks_openais_way(listing: Any) -> None:
    assert dialect_of(listing) is OPENAI


def test_a_server_that_refuses_openais_way_is_asked_in_its_own() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m", "owned_by": "vllm"}]})
        sent.append(json.loads(request.content))
        if "response_format" in sent[-1]:
            return httpx.Response(400, text="response_format: not here")
        return httpx.Response(200, json={"choices": [{"index": 0, "message": {"content": "[]"}, "finish_reason": "stop"}]})

    backend = OpenAIBackend("http://a/v1", "m", transport=httpx.MockTransport(answer))
    for _ in range(2):
        assert backend.complete(Conversation.about(picture(0), "?"), max_new_tokens=1, schema=SCHEMA).text == "[]"
    assert [("response_format" in body, "structured_outputs" in body) for body in sent] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert backend.card.enforces_schema
