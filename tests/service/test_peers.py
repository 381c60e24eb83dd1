"""The gateway before other servers: a second gateway, and servers that break off, dawdle, refuse or talk nonsense."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from deixis.backends import FakeBackend, ModelCard
from deixis.spatial.grounding.canary import canaries, measured_and_kept
from tests.media.clips import write_clip
from tests.service.serving import Running, data_uri, png, running, wait_for

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
ASK = {"image": data_uri(png()), "question": "Is there a red square?"}
Handler = http.server.BaseHTTPRequestHandler


@pytest.fixture(scope="module")
def behind() -> Iterator[Running]:
    """The peer: a second gateway whose engine is scripted."""
    with running(models=["m=fake"], fetch=False) as there:
        yield there


@pytest.fixture(scope="module")
def here(behind: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The gateway in front of it. Where the scripted model points was measured before, with replies that are right."""
    replies = [
        json.dumps(
            [
                {
                    "bbox_2d": [
                        round(v * 1000 / side) for v, side in zip(box, (one.picture.width, one.picture.height) * 2, strict=True)
                    ]
                }
                | {"label": "thing"}
                for box in one.boxes_px
            ]
        )
        for one in canaries()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        card = ModelCard("m", identity=f"{behind.url}/v1#m")
        assert measured_and_kept(FakeBackend(replies, card=card)).scale == "0-1000"
        yield from _front(behind)


def _front(behind: Running) -> Iterator[Running]:
    with running(models=[f"{behind.url}/v1#m"], fake=False) as here:
        yield here


def test_ask_and_locate_through_a_peer(here: Running, behind: Running) -> None:
    with here.client() as client, behind.client() as direct:
        for path, body in (("ask", ASK), ("locate", {"image": ASK["image"], "what": "red square"})):
            told, own = (one.post(f"/v1/spatial/{path}", json=body).json() for one in (client, direct))
            assert told["objects"] == own["objects"] and told["model"] == "m"
            assert told.get("verdict") == own.get("verdict")


def test_chat_through_a_peer(here: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, 30)
    video = {"type": "video_url", "video_url": {"url": data_uri(path.read_bytes(), "video/mp4")}}
    shown = {"type": "image_url", "image_url": {"url": ASK["image"]}}
    text = {"type": "text", "text": "What is it"}
    body = {"messages": [{"role": "user", "content": [shown, video, text]}], "logprobs": True, "n": 2, "stop": ["xyz"]}
    with here.client() as client:
        reply = client.post("/v1/chat/completions", json=body).json()
        assert [choice["message"]["content"] for choice in reply["choices"]] == ["A red square."] * 2
        assert reply["choices"][0]["logprobs"]["content"][0]["token"] == "A"
        assert reply["usage"]["completion_tokens"] == 12
        streamed = client.post("/v1/chat/completions", json=CHAT | {"stream": True}).text
        chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "A red square."
        assert streamed.rstrip().endswith("data: [DONE]")


def test_a_client_that_goes_away_ends_the_work_of_the_peer() -> None:
    with running(models=["m=fake:slow=60"]) as there, running(models=[f"{there.url}/v1#m"], fake=False) as front:
        working = there.gateway.models.served[0]
        for path, body in (("/v1/chat/completions", CHAT), ("/v1/spatial/ask", ASK)):
            with front.client() as client, pytest.raises(httpx.ReadTimeout):
                client.post(path, json=body, timeout=1.5)
            wait_for(lambda: working.running == 0 and there.gateway.admission.taken == 0, 2)
        assert there.gateway.admission.accepted == 2


# --- servers that misbehave ---------------------------------------------------------------------------------------------------


def chunk(text: str, **choice: object) -> bytes:
    row = {"index": 0, "delta": {"content": text}, "finish_reason": None} | choice
    return f"data: {json.dumps({'choices': [row]})}\n\n".encode()


def says(status: int, data: bytes, kind: str = "application/json", **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def breaks_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    handler.wfile.write(chunk("A ") + chunk("red"))
    handler.wfile.flush()
    time.sleep(0.1)
    handler.connection.close()


def dawdles(handler: Handler) -> None:
    time.sleep(3)
    says(200, b"{}")(handler)


@contextmanager
def server(answer: Callable[[Handler], None]) -> Iterator[str]:
    class Peer(Handler):
        def do_GET(self) -> None:
            says(200, b'{"data": [{"id": "m", "owned_by": "somebody"}]}')(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *args: object) -> None:
            del args

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer) as peer:
        thread = threading.Thread(target=peer.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{peer.server_address[1]}/v1#m"
        peer.shutdown()
        thread.join()


BAD: list[tuple[str, Callable[[Handler], None], int, str]] = [
    ("nonsense", says(200, b"<html>no</html>"), 502, "BackendError"),
    ("nothing", says(200, b""), 502, "BackendError"),
    ("other JSON", says(200, b'{"choices": "many"}'), 502, "BackendError"),
    ("no choices", says(200, b'{"choices": [{}]}'), 502, "BackendError"),
    ("a list", says(200, b"[]"), 502, "BackendError"),
    ("a fault", says(500, b"Traceback"), 502, "BackendError"),
    ("full", says(503, b"{}", Retry_After="7"), 503, "OverloadError"),
    ("the model is not there", says(404, b"{}"), 404, "ModelNotFoundError"),
    ("slow", dawdles, 504, "DeadlineError"),
    ("broken off", breaks_off, 502, "BackendError"),
]


@pytest.fixture(scope="module")
def fronts() -> Iterator[tuple[Running, list[Callable[[Handler], None]]]]:
    """One gateway before one server, whose answer tests choose."""
    chosen: list[Callable[[Handler], None]] = []
    with server(lambda handler: chosen[-1](handler)) as url, running(models=[url], fake=False) as here:
        yield here, chosen


@pytest.mark.parametrize(("answer", "status", "code"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
@pytest.mark.parametrize("stream", [False, True])
def test_a_peer_that_misbehaves(fronts, answer: Callable[[Handler], None], status: int, code: str, stream: bool) -> None:
    here, chosen = fronts
    chosen.append(answer)
    with here.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT | {"stream": stream, "timeout_s": 2})
        if stream and reply.status_code == 200:  # it had begun: the error comes in the stream, and no [DONE]
            last = json.loads(reply.text.rstrip().rpartition("\n\n")[2].removeprefix("data: "))
            assert last["error"]["code"] == code and "[DONE]" not in reply.text
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
            if status == 503:
                assert reply.headers["retry-after"] == "7"
        told = client.post("/v1/spatial/ask", json=ASK | {"timeout_s": 2})
        assert (told.status_code, told.json()["error"]["code"]) == (status, code)
        wait_for(lambda: here.gateway.admission.taken == 0, 5)
        assert client.get("/health/ready").status_code == 200


def test_a_stream_that_ends_well_from_a_server_without_manners(fronts) -> None:
    def answer(handler: Handler) -> None:
        calls = [{"index": 0, "id": "c", "function": {"name": "zoom", "arguments": '{"x"'}}]
        more = [{"index": 0, "function": {"arguments": ": 1}"}}]
        data = b": ping\n\n" + chunk("Hm", delta={"reasoning_content": "Hm"}) + chunk("", delta={"tool_calls": calls})
        data += chunk("", delta={"tool_calls": more}) + chunk("", finish_reason="tool_calls", delta={}) + b"data: [DONE]\n\n"
        says(200, data, "text/event-stream")(handler)

    here, chosen = fronts
    chosen.append(answer)
    with here.client() as client:
        streamed = client.post("/v1/chat/completions", json=CHAT | {"stream": True}).text
    chunks = [json.loads(line[6:])["choices"][0] for line in streamed.splitlines() if line.startswith("data: {")]
    deltas = [one["delta"] for one in chunks]
    assert {"reasoning_content": "Hm"} in deltas
    (call,) = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert call["function"] == {"name": "zoom", "arguments": '{"x": 1}'} and chunks[-1]["finish_reason"] == "tool_calls"
