"""Hostile requests, each with the status that it gets, and a server on this machine that nobody may reach.

A row is (name, status, request). The canary server listens on loopback; what is fetched in spite of the rules is noted there.
"""

from __future__ import annotations

import http.server
import io
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence

import pytest
from PIL import Image

from deixis.service.fetching import Fetcher, system_resolve
from tests.service.serving import Running, data_uri, png, running

QUESTION = {"question": "Is there a red square?"}
Request = Callable[[Running, int], int]


class Canary(http.server.BaseHTTPRequestHandler):
    """Notes every connection."""

    hits: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(png())

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture(scope="module")
def canary() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    turns: dict[str, int] = {}

    async def resolve(host: str, port: int) -> Sequence[str]:
        """rebind.test is public when it is first asked for, and this machine ever after."""
        if host == "rebind.test":
            turns[host] = turns.get(host, 0) + 1
            return ["203.0.113.7"] if turns[host] == 1 else ["127.0.0.1"]
        if host == "inside.test":
            return ["127.0.0.1"]
        return await system_resolve(host, port)

    fetcher = Fetcher(resolve=resolve, within_s=2)
    with running(models=["fake"], max_body_bytes=2**20, max_pixels=4_000_000, fetcher=fetcher, body_s=1.0) as here:
        yield here


# --- how requests are made ----------------------------------------------------------------------------------------------------


def posted(path: str, **given: object) -> Request:
    def run(here: Running, canary: int) -> int:
        with here.client() as client:
            return client.post(path, **given).status_code  # type: ignore[arg-type]

    return run


def got(path: str, method: str = "GET", **given: object) -> Request:
    def run(here: Running, canary: int) -> int:
        with here.client() as client:
            return client.request(method, path, **given).status_code  # type: ignore[arg-type]

    return run


def ask(**fields: object) -> Request:
    return posted("/v1/spatial/ask", json={"image": data_uri(png()), **QUESTION, **fields})


def image(source: str) -> Request:
    def run(here: Running, canary: int) -> int:
        with here.client() as client:
            return client.post("/v1/spatial/ask", json={"image": source.replace("PORT", str(canary)), **QUESTION}).status_code

    return run


def picture(data: bytes) -> Request:
    return posted("/v1/spatial/ask", files={"image": data}, data=QUESTION)


def video(data: bytes) -> Request:
    return posted("/v1/spatial/watch", files={"video": data}, data=QUESTION)


def chat(**fields: object) -> Request:
    return posted("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], **fields})


def content(*parts: object) -> Request:
    return posted("/v1/chat/completions", json={"messages": [{"role": "user", "content": list(parts)}]})


def raw(text: str, body: bytes = b"") -> Request:
    """A request byte by byte; 0 where the server just closes."""

    def run(here: Running, canary: int) -> int:
        port = here.gateway.settings.port
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(text.replace("\n", "\r\n").replace("HOST", f"127.0.0.1:{port}").encode("latin-1") + body)
            answer = connection.recv(100)
        return int(answer.split()[1]) if answer else 0

    return run


# --- what is sent -------------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, pixels: bytes = b"\0" * 100) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def saved(kind: str, **given: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, kind, **given)
    return buffer.getvalue()


def animation(frames: int) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.new("P", (64, 64), i % 250) for i in range(frames)]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=10)
    return buffer.getvalue()


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


def deep_schema(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def json_body(text: str | bytes) -> Request:
    return posted("/v1/spatial/ask", content=text, headers={"content-type": "application/json"})


SCRIPT = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/x"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) run\n"
HEAD = "POST /v1/spatial/ask HTTP/1.1\nHost: HOST\nContent-Type: application/json\n"

TABLE: list[tuple[str, int, Request]] = [
    # addresses inside
    *[
        (f"fetch {url}", 400, image(url))
        for url in (
            "http://127.0.0.1:PORT/a.png", "http://localhost:PORT/a.png", "http://127.1:PORT/a.png", "http://2130706433:PORT/a.png",
            "http://0x7f000001:PORT/a.png", "http://0x7f.0.0.1:PORT/a.png", "http://0177.0.0.1:PORT/a.png", "http://0:PORT/a.png",
            "http://0.0.0.0:PORT/a.png", "http://[::1]:PORT/a.png", "http://[::ffff:127.0.0.1]:PORT/a.png", "http://[::]:PORT/a.png",
            "http://127.0.0.1.:PORT/a.png", "http://①②⑦.⓪.⓪.①:PORT/a.png", "http://user@127.0.0.1:PORT/a.png",
            "http://inside.test:PORT/a.png", "http://rebind.test:PORT/a.png", "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/a.png", "http://[64:ff9b::7f00:1]:PORT/a.png", "http://127.0.0.1:PORT\\@example.com/a.png",
            "file:///etc/passwd", "ftp://127.0.0.1:PORT/a.png", "gopher://127.0.0.1:PORT/_GET", "../../etc/passwd",
            "/proc/self/environ", "http://127.0.0.1:PORT/%0d%0aHost:%20x", "unix:///var/run/docker.sock", "data:text/html,hello",
            "jar:http://127.0.0.1:PORT/a!/b", "http://",
        )
    ],
    ("fetch rebind.test again", 400, image("http://rebind.test:PORT/b.png")),
    ("a video from inside", 400, posted("/v1/spatial/watch", json={"video": "http://127.0.0.1:1/a.mp4", **QUESTION})),
    ("a picture of a chat from inside", 400, content({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}})),
    ("a stream from a camera inside", 400, posted("/v1/spatial/watch", json={"video": "rtsp://127.0.0.1/", **QUESTION})),
    ("a webcam", 400, posted("/v1/spatial/watch", json={"video": "0", **QUESTION})),
    # pictures
    ("a bomb of 60,000 x 60,000 pixels", 400, picture(png_claiming(60_000, 60_000))),
    ("more pixels than this server takes", 400, picture(png_claiming(3000, 3000))),
    ("a picture of one pixel", 400, picture(png_claiming(1, 1))),
    ("a header without a picture", 400, picture(png_claiming(64, 64))),
    ("a truncated PNG", 400, picture(png(400, 400)[:300])),
    ("a truncated JPEG", 400, picture(saved("JPEG")[:200])),
    ("a PNG whose checksum is wrong", 400, picture(png()[:40] + b"\xff" + png()[41:])),
    ("an animation of 200 frames is one picture", 200, picture(animation(200))),
    ("text that unfolds in a PNG", 400, picture(
        png()[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 70_000_000, 9)) + png()[33:]
    )),
    ("SVG", 400, picture(SVG)),
    ("PostScript", 400, picture(EPS)),
    ("HTML called a picture", 400, picture(b"<html>")),
    ("nothing at all", 400, picture(b"")),
    ("zeros", 400, picture(b"\0" * 1000)),
    ("PPM, which is not on the list", 400, picture(b"P6 64 64 255\n" + b"\0" * 12288)),
    ("a data URI that is not base64", 400, image("data:image/png;base64,@@@@")),
    ("a data URI without a comma", 400, image("data:image/png;base64")),
    ("a file called ../../x", 200, posted(
        "/v1/spatial/ask", files={"image": ("../../../../tmp/x.png", png())}, data=QUESTION
    )),
    # videos
    ("a playlist that names files", 400, video(SCRIPT)),
    ("a list for FFmpeg's concat", 400, video(b"ffconcat version 1.0\nfile /etc/passwd\n")),
    ("a picture called a video", 400, video(png())),
    ("a video of zeros", 400, video(b"\0\0\0\x20ftypisom" + b"\0" * 1000)),
    # bodies
    ("no body", 400, json_body("")),
    ("JSON that breaks off", 400, json_body('{"image": "')),
    ("JSON 100,000 deep", 400, json_body(deep(100_000))),
    ("a question 10,000 deep", 400, json_body('{"image": "data:,", "question": ' + deep(10_000) + "}")),
    ("a number of 100,000 digits", 400, json_body('{"image": "data:,", "question": "a", "fov_deg": ' + "9" * 100_000 + "}")),
    ("NaN", 400, json_body('{"image": "data:,", "question": "a", "fov_deg": NaN}')),
    ("a list", 400, json_body("[]")),
    ("bytes that are no UTF-8", 400, json_body(b'{"image": "\xff"}')),
    ("half a surrogate", 400, json_body('{"image": "data:,", "question": "\\ud800"}')),
    ("two megabytes", 413, json_body('{"image": "' + "a" * 2_000_000 + '"}')),
    ("an unknown field", 400, ask(model_path="/etc")),
    ("a question that is a number", 400, ask(question=7)),
    ("a question of 100 kB", 400, ask(question="a" * 100_000)),
    ("an empty question", 400, ask(question="")),
    ("a camera of three numbers", 400, ask(camera=[1, 2, 3])),
    ("a camera of zeros", 400, ask(camera=[0, 0, 0, 0])),
    ("camera and field of view", 400, ask(camera=[1, 1, 1, 1], fov_deg=60)),
    ("a field of view of 1e308", 400, ask(fov_deg=1e308)),
    ("a limit raised", 400, ask(timeout_s=10**6)),
    ("a limit on pixels that cannot be raised", 400, posted(
        "/v1/spatial/ask", json={"image": data_uri(png_claiming(3000, 3000)), "max_pixels": 10**9, **QUESTION}
    )),
    ("a limit on pixels that is lowered", 400, ask(max_pixels=100)),
    ("XML", 400, posted("/v1/spatial/ask", content="<a/>", headers={"content-type": "application/xml"})),
    ("a form without a boundary", 400, posted(
        "/v1/spatial/ask", content="x", headers={"content-type": "multipart/form-data"}
    )),
    ("a form that breaks off", 400, posted(
        "/v1/spatial/ask", content="--a\r\nContent-Disp", headers={"content-type": "multipart/form-data; boundary=a"}
    )),
    ("a form of 1,000 fields", 400, posted(
        "/v1/spatial/ask", files={"image": png()}, data={f"f{i}": "x" for i in range(1000)}
    )),
    ("two files", 400, posted("/v1/spatial/ask", files=[("image", png()), ("image", png())], data=QUESTION)),
    ("a file where words belong", 400, posted("/v1/spatial/ask", files={"image": png(), "question": b"x"})),
    # models
    ("a model by its path", 404, ask(model="/etc/passwd")),
    ("a model above", 404, ask(model="../../../etc")),
    ("a model to be downloaded", 404, ask(model="evil/remote-code")),
    ("a model at an address", 404, ask(model="http://127.0.0.1:1/v1#x")),
    ("loading a model by its path", 404, posted("/v1/models/load", json={"model": "/tmp"})),
    ("a model of 10,000 letters", 400, ask(model="m" * 10_000)),
    # chat
    ("a role that does not exist", 400, posted("/v1/chat/completions", json={"messages": [{"role": "root", "content": "x"}]})),
    ("a message without content", 400, posted("/v1/chat/completions", json={"messages": [{"role": "user"}]})),
    ("a picture from the system", 400, posted("/v1/chat/completions", json={
        "messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": data_uri(png())}}]}]
    })),
    ("33 pictures", 400, content(*[{"type": "image_url", "image_url": {"url": data_uri(png(8, 8))}}] * 33)),
    ("a part of an unknown kind", 400, content({"type": "input_audio", "input_audio": {"data": ""}})),
    ("a million replies", 400, chat(n=10**6)),
    ("a billion tokens", 400, chat(max_tokens=10**9)),
    ("a temperature of 1e400", 400, posted(
        "/v1/chat/completions",
        content='{"messages": [{"role": "user", "content": "x"}], "temperature": 1e400}',
        headers={"content-type": "application/json"},
    )),
    ("a thousand stops", 400, chat(stop=["a"] * 1000)),
    ("an empty stop", 400, chat(stop=[""])),
    ("a format without a schema", 400, chat(response_format={"type": "json_schema"})),
    ("a tool called ../", 400, chat(tools=[{"type": "function", "function": {"name": "../x"}}])),
    ("a tool that is not there", 400, chat(
        tools=[{"type": "function", "function": {"name": "a"}}],
        tool_choice={"type": "function", "function": {"name": "b"}},
    )),
    ("messages 1,001 long", 400, posted("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}] * 1001})),
    # names, pages and methods
    ("another host", 403, got("/v1/models", headers={"host": "evil.example"})),
    ("a host that begins alike", 403, got("/v1/models", headers={"host": "localhost.evil.example"})),
    ("an empty host", 403, got("/v1/models", headers={"host": ""})),
    ("health under another host", 403, got("/health/live", headers={"host": "evil.example"})),
    ("a page elsewhere", 403, got("/v1/models", headers={"origin": "https://evil.example"})),
    ("a page in a sandbox", 403, got("/v1/models", headers={"origin": "null"})),
    ("what browsers ask first", 403, got(
        "/v1/spatial/ask", "OPTIONS", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )),
    ("a page on another port", 403, got("/v1/models", headers={"origin": "http://127.0.0.1:1"})),
    ("DELETE", 405, got("/v1/spatial/ask", "DELETE")),
    ("TRACE", 405, got("/v1/models", "TRACE")),
    ("a path above", 404, got("/v1/../../etc/passwd")),
    ("a path above, encoded", 404, got("/%2e%2e/%2e%2e/etc/passwd")),
    ("a job with a path for a name", 404, got("/v1/jobs/..%2f..%2fetc")),
    # requests that two servers read in two ways
    ("Content-Length and Transfer-Encoding", 400, raw(HEAD + "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n")),
    ("two lengths", 400, raw(HEAD + "Content-Length: 5\nContent-Length: 6\n\nhello")),
    ("a negative length", 400, raw(HEAD + "Content-Length: -5\n\n")),
    ("a length in hexadecimal", 400, raw(HEAD + "Content-Length: 0x5\n\nhello")),
    ("two hosts", 400, raw("GET /v1/models HTTP/1.1\nHost: HOST\nHost: evil.example\n\n")),
    ("no host", 400, raw("GET /v1/models HTTP/1.1\n\n")),
    ("a folded header, which makes another host", 403, raw("GET /v1/models HTTP/1.1\nHost: HOST\n X: y\n\n")),
    ("a blank before the colon", 400, raw("GET /v1/models HTTP/1.1\nHost : HOST\n\n")),
    ("an unknown coding", 400, raw(HEAD + "Transfer-Encoding: chunked, identity\n\n0\n\n")),
    ("a chunk of an absurd length", 400, raw(HEAD + "Transfer-Encoding: chunked\n\nFFFFFFFFFFFFFFFFF\nabc\n\n")),
    ("a header of 100 kB", 400, raw("GET /v1/models HTTP/1.1\nHost: HOST\nX: " + "a" * 100_000 + "\n\n")),
    ("no HTTP", 400, raw("hello\n\n")),
    ("two authorizations", 400, raw("GET /v1/models HTTP/1.1\nHost: HOST\nAuthorization: a\nAuthorization: b\n\n")),
    ("a body that never comes", 400, raw(HEAD + "Content-Length: 100\n\n{")),
]  # fmt: skip


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 60
    assert len({name for name, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("status", "request_"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_hostile_request(here: Running, canary: int, status: int, request_: Request) -> None:
    assert request_(here, canary) == status


def test_afterwards_it_serves_as_before_and_nobody_was_reached(here: Running, canary: int) -> None:
    assert Canary.hits == []
    with here.client() as client:
        answer = client.post("/v1/spatial/ask", json={"image": data_uri(png()), **QUESTION})
        assert answer.status_code == 200 and answer.json()["verdict"] == "yes"
    assert here.gateway.models.served[0].restarts == 0
    assert here.gateway.admission.taken == 0 and here.gateway.admission.bytes_taken == 0
    # The canary itself works: where the owner allows it, it is reached.
    with running(models=["fake"], fetch_private=True) as open_, open_.client() as client:
        url = f"http://127.0.0.1:{canary}/a.png"
        assert client.post("/v1/spatial/ask", json={"image": url, **QUESTION}).status_code == 200
    assert Canary.hits == ["/a.png"]
    Canary.hits.clear()


def test_errors_say_nothing_of_what_was_sent(here: Running) -> None:
    secret = "hunter2-hunter2-hunter2"
    with here.client() as client:
        for body in (
            {"image": secret, "question": "a"},
            {"image": data_uri(png()), "question": [secret]},
            {"image": f"http://{secret}/"},
        ):
            assert secret not in client.post("/v1/spatial/ask", json=body).text
        chat_body = {"messages": [{"role": "user", "content": [{"type": secret}]}]}
        assert secret not in client.post("/v1/chat/completions", json=chat_body).text


def test_pages_that_are_allowed() -> None:
    page = "https://page.example"
    key = "a-key-of-some-length"
    allowed = {"allowed_origins": (page,), "allowed_hosts": ("gateway.example",), "api_keys": (key,)}
    with running(models=["fake"], **allowed) as here, here.client() as client:
        asked_first = {"origin": page, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        first = client.options("/v1/models", headers=asked_first)
        assert first.status_code == 200 and "authorization" in first.headers["access-control-allow-headers"]
        assert client.get("/v1/models", headers={"origin": page}).status_code == 401
        client.headers["Authorization"] = f"Bearer {key}"
        answer = client.get("/v1/models", headers={"origin": page})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == page
        assert client.get("/v1/models", headers={"host": "gateway.example"}).status_code == 200
        other = client.get("/v1/models", headers={"origin": "https://other.example"})
        assert other.status_code == 403 and "access-control-allow-origin" not in other.headers
