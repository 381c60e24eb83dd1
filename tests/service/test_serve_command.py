"""`deixis serve`, `deixis mcp` and `deixis top` on the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from deixis.cli import run
from deixis.cli.top import read_figures, shown
from tests.service.serving import ROOT, Running, data_uri, png, wait_for


def test_serve_refuses_to_be_reached_without_a_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEIXIS_API_KEYS", raising=False)
    assert run(["serve", "--host", "0.0.0.0"]) == 2
    assert "no API key is set" in capsys.readouterr().err
    assert run(["serve", "--port", "99999"]) == 2
    assert run(["mcp", "--port", "1"]) == 2
    assert "--http" in capsys.readouterr().err
    monkeypatch.setenv("DEIXIS_API_KEYS", "short")
    assert run(["serve", "--host", "0.0.0.0"]) == 2
    error = capsys.readouterr().err
    assert "16 or more" in error and len(error.strip().splitlines()) == 1 + error.count("http://")


def test_top_shows_what_the_gateway_does(served: Running, capsys: pytest.CaptureFixture[str]) -> None:
    with served.client() as client:
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], "stream": True})
        client.post("/v1/spatial/ask", json={"image": data_uri(png()), "question": ""})
    assert run(["top", "--once", "--url", served.url]) == 0
    told = capsys.readouterr().out
    assert "fake" in told and "ready" in told and "BodyError" in told and "accepted" in told
    assert run(["top", "--json", "--url", served.url]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["deixis_accepted_total"][0]["value"] >= 2
    before = read_figures(served.url)
    assert shown(before, before, 1.0) is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert run(["top", "--once", "--url", f"http://127.0.0.1:{free.getsockname()[1]}"]) == 1
    assert "is `deixis serve` running?" in capsys.readouterr().err


@pytest.mark.slow
def test_the_program_serves_nano_and_ends_when_told() -> None:
    """The whole of it as users start it: the embedded checkpoint, one question, one stream under a schema, SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deixis.cli", "serve", "--port", str(port), "--model", "nano"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DEIXIS_CANARY": "false"})  # it takes four more questions
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:

            def up() -> bool:
                try:
                    return client.get("/health/ready").status_code == 200
                except httpx.HTTPError:
                    assert process.poll() is None
                    return False

            wait_for(up, 120)
            picture = (ROOT / "examples" / "desk.png").read_bytes()
            answer = client.post(
                "/v1/spatial/ask",
                files={"image": picture},
                data={"question": "Is the yellow cup in front of the black box?"},
            ).json()
            assert answer["verdict"] == "yes" and answer["model"] == "nano" and answer["objects"]
            box = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
            fields = {"bbox_2d": box, "label": {"type": "string", "maxLength": 20}}
            thing = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
            schema = {"type": "array", "items": thing, "maxItems": 2}
            asked = {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": data_uri(picture)}},
                            {"type": "text", "text": "Locate all objects, output in JSON."},
                        ],
                    }
                ],
                "response_format": {"type": "json_schema", "json_schema": {"name": "boxes", "schema": schema}},
                "max_tokens": 200,
            }
            whole = client.post("/v1/chat/completions", json=asked | {"logprobs": True, "top_logprobs": 3}).json()
            message = whole["choices"][0]["message"]["content"]
            assert isinstance(json.loads(message), list)
            tokens = whole["choices"][0]["logprobs"]["content"]
            assert "".join(token["token"] for token in tokens) == message and len(tokens[0]["top_logprobs"]) == 3
            streamed = client.post(
                "/v1/chat/completions", json=asked | {"stream": True, "stream_options": {"include_usage": True}}
            ).text
            chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
            said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
            assert said == message and chunks[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"] > 0
            assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0  # the picture was seen before
            spelled, plain = (
                client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}], "max_tokens": 1})
                for text in ("<|im_end|>", "a")
            )  # the name of a special token is text, of several tokens
            tokens = [reply.json()["usage"]["prompt_tokens"] for reply in (spelled, plain)]
            assert tokens[0] > tokens[1] + 1
            figures = client.get("/metrics").text
            assert "deixis_engine_pages_in_use" in figures and 'deixis_model_state{model="nano",state="ready"} 1.0' in figures
            tool = {"type": "function", "function": {"name": "zoom", "parameters": {"type": "object", "maxProperties": 0}}}
            called = client.post(
                "/v1/chat/completions", json={"messages": asked["messages"], "tools": [tool], "tool_choice": "required"}
            ).json()
            (call,) = called["choices"][0]["message"]["tool_calls"]
            assert call["function"]["name"] == "zoom" and called["choices"][0]["finish_reason"] == "tool_calls"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
