"""Several models: loaded, let go, pinned, switched, chosen by task, within a budget, without dropping anyone."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from deixis.errors import ConflictError, ModelNotFoundError, OptionError
from deixis.service.models import Models, expected_bytes, name_and_spec
from tests.service.serving import data_uri, fake_command, png, running, wait_for

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
PICTURE = data_uri(png())


@pytest.mark.parametrize(
    ("written", "name", "spec"),
    [
        ("nano", "nano", "nano"),
        ("small=nano", "small", "nano"),
        ("Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-2B-Instruct"),
        ("fake:slow=1", "fake:slow=1", "fake:slow=1"),
        ("Qwen/Big=http://a/v1#b", "Qwen/Big", "http://a/v1#b"),
        ("http://a:8000/v1#name", "name", "http://a:8000/v1#name"),
        ("http://a/v1,http://b/v1#name", "name", "http://a/v1,http://b/v1#name"),
        ("http://a:8000/v1", "a:8000", "http://a:8000/v1"),
        ("/tmp", "tmp", "/tmp"),
    ],
)
def test_names(written: str, name: str, spec: str) -> None:
    assert name_and_spec(written) == (name, spec)


def test_what_models_are_expected_to_take() -> None:
    assert expected_bytes("nano") > 2**30
    assert 0 < expected_bytes("http://a/v1#b") < 2**30
    assert expected_bytes("auto") == expected_bytes("Qwen/never-pulled") == 0


def post(client: httpx.Client, verb: str, model: str) -> httpx.Response:
    return client.post(f"/v1/models/{verb}", json={"model": model})


def test_a_switch_to_a_warm_model_drops_nobody() -> None:
    with running(models=["first=fake:slow=1.5", "second=fake"], slots=2) as here, here.client() as client:
        answers: list[Any] = []

        def ask() -> None:
            with here.client() as own:
                answers.append(own.post("/v1/chat/completions", json=CHAT).json())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        first, second = here.gateway.models.served
        wait_for(lambda: first.running == 2 and first.waiting == 2, 10)
        assert post(client, "default", "second").json()["deixis"]["default"]
        assert client.post("/v1/chat/completions", json=CHAT).json()["model"] == "second"
        assert client.post("/v1/chat/completions", json=CHAT | {"model": "auto"}).json()["model"] == "second"
        assert post(client, "unload", "first").json()["deixis"]["state"] == "cold"  # only now are the four over
        for thread in threads:
            thread.join(10)
        assert [answer["model"] for answer in answers] == ["first"] * 4
        assert client.post("/v1/chat/completions", json=CHAT | {"model": "first"}).status_code == 503
        assert first.pid is None or first.state == "cold"
        assert post(client, "load", "first").json()["deixis"]["state"] == "ready"
        assert client.get("/v1/models/second").json()["deixis"]["default"] is True
        assert second.state == "ready"


def test_what_cannot_be_done_with_a_model() -> None:
    with running(models=["a=fake", "b=fake"]) as here, here.client() as client:
        for verb in ("load", "unload", "pin", "unpin", "default"):
            assert post(client, verb, "none").status_code == 404
            assert post(client, verb, "../../etc").status_code == 404
        assert post(client, "unload", "a").status_code == 409  # the default
        assert post(client, "pin", "b").json()["deixis"]["pinned"]
        assert post(client, "unload", "b").status_code == 409
        assert not post(client, "unpin", "b").json()["deixis"]["pinned"]
        assert post(client, "unload", "b").status_code == 200
        assert post(client, "default", "b").status_code == 409  # cold
    with pytest.raises(OptionError, match="two models"):
        Models(["fake", "fake"], 1, 2**40, command=fake_command)


def test_the_budget_makes_room_for_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.service.models.expected_bytes", lambda spec: 2**30 * (9 if "huge" in spec else 1))
    names = ["a=fake", "b=fake", "c=fake", "huge=fake:huge"]
    with running(models=names, memory_gib=2.5) as here, here.client() as client:
        wait_for(lambda: here.gateway.models.named("b").state == "ready", 20)

        def states() -> list[str]:
            return [one.state for one in here.gateway.models.served]

        wait_for(lambda: states() == ["ready", "ready", "cold", "cold"], 20)
        assert "taken" in client.get("/v1/models/c").json()["deixis"]["error"]
        assert post(client, "load", "huge").status_code == 409
        assert post(client, "load", "c").status_code == 200
        assert states()[:3] == ["ready", "cold", "ready"]  # b was idle, a is the default
        assert post(client, "pin", "c").status_code == 200
        refused = post(client, "load", "b")
        assert refused.status_code == 409 and "unpin" in refused.json()["error"]["message"]
        assert states()[:3] == ["ready", "cold", "ready"]


def test_instruct_and_thinking_by_task() -> None:
    models = ["Q-Instruct=fake", "Q-Thinking=fake:thinking", "other=fake"]
    with running(models=models) as here, here.client() as client:
        chosen = here.gateway.models.chosen
        assert chosen(None, "ask").name == chosen("Q", "ask").name == "Q-Thinking"
        for task in ("locate", "scene", "watch", "chat"):
            assert chosen(None, task).name == chosen("Q", task).name == "Q-Instruct"
        assert chosen("Q-Instruct", "ask").name == "Q-Instruct"
        assert chosen("other", "ask").name == "other"
        with pytest.raises(ModelNotFoundError):
            chosen("other-Thinking", "ask")
        reply = client.post("/v1/chat/completions", json=CHAT | {"model": "Q"}).json()
        assert reply["model"] == "Q-Instruct"
        assert post(client, "unload", "Q-Thinking").status_code == 200
        assert chosen(None, "ask").name == "Q-Instruct"
        with pytest.raises(ModelNotFoundError):
            chosen("Q", "ask")
        with pytest.raises(ConflictError):
            here.gateway.models.switch("Q-Thinking")


def test_the_canary_is_run_at_each_load_and_is_told() -> None:
    with running(models=["fake"], canary=True) as here, here.client() as client:
        model = here.gateway.models.served[0]
        wait_for(lambda: model.grounding is not None, 60)
        told = client.get("/v1/models/fake").json()["deixis"]["grounding"]
        assert told["pictures"] == 4 and told["scale"] is None  # it says the same box of every picture
        refused = client.post("/v1/spatial/ask", json={"image": PICTURE, "question": "Is it?"})
        assert refused.status_code == 502 and "does not point" in refused.json()["error"]["message"]
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
