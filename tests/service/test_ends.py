"""Every accepted request has one end: engines that die, clients that go, servers that are ended, places that run out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.service.serving import ROOT, Running, data_uri, png, running, wait_for

ASK = {"image": data_uri(png()), "question": "Is there a red square?"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def ends(here: Running) -> dict[str, float]:
    rows = here.gateway.metrics.ends.collect()[0].samples
    return {row.labels["end"]: row.value for row in rows if row.name.endswith("_total")}


def balanced(here: Running) -> bool:
    admission = here.gateway.admission
    return admission.taken == 0 and admission.accepted == admission.ended == sum(ends(here).values())


def test_an_engine_that_is_killed_under_load() -> None:
    with running(models=["fake:slow=60"], slots=4, queue=8) as here:
        model = here.gateway.models.served[0]
        statuses: list[int] = []

        def ask(stream: bool) -> None:
            with here.client() as client:
                response = client.post("/v1/chat/completions", json=CHAT | {"stream": stream})
                statuses.append(response.status_code)
                assert response.json()["error"]["code"] in ("EngineLostError", "OverloadError")

        threads = [threading.Thread(target=ask, args=(bool(i % 2),)) for i in range(10)]
        for thread in threads:
            thread.start()
        wait_for(lambda: model.running == 4 and model.waiting == 6, 20)
        first = model.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        for thread in threads:
            thread.join(10)
        assert statuses == [503] * 10  # none waits for its minute; bench/serve_load.py --kill measures how long they wait
        with here.client() as client:
            assert client.get("/health/live").status_code == 200
            wait_for(lambda: model.state == "ready" and model.pid != first, 60)
            assert client.get("/health/ready").status_code == 200
        assert model.restarts == 1 and balanced(here)


def test_readiness_flips_while_there_is_no_engine() -> None:
    with running(models=["fake"]) as here, here.client() as client:
        model = here.gateway.models.served[0]
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        wait_for(lambda: model.state != "ready", 2)
        ready = client.get("/health/ready")
        if ready.status_code == 503:  # not yet back
            assert ready.json()["status"] == "loading" and ready.headers["retry-after"]
            assert client.post("/v1/spatial/ask", json=ASK).status_code == 503
        wait_for(lambda: client.get("/health/ready").status_code == 200, 60)
        assert client.post("/v1/spatial/ask", json=ASK).status_code == 200


def test_a_stream_whose_engine_dies_ends_with_an_error() -> None:
    with running(models=["fake:dies"]) as here, here.client() as client:
        response = client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        assert response.status_code == 503 and response.json()["error"]["code"] == "EngineLostError"


def test_a_model_that_cannot_be_loaded_says_so() -> None:
    with running(models=["fake:broken"]) as here, here.client() as client:
        state = client.get("/v1/models").json()["data"][0]["deixis"]
        assert state["state"] == "failed" and "lacks 3 tensors" in state["error"]
        refused = client.post("/v1/spatial/ask", json=ASK)
        assert refused.status_code == 503 and "lacks 3 tensors" in refused.json()["error"]["message"]
        assert client.get("/health/ready").status_code == 503
        assert client.post("/v1/models/load", json={"model": "fake:broken"}).status_code == 422


def raw_post(port: int, body: dict[str, object]) -> socket.socket:
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def test_a_client_that_goes_away_frees_its_slot_at_once() -> None:
    with running(models=["fake:slow=60"], slots=1, queue=4) as here:
        model, port = here.gateway.models.served[0], here.gateway.settings.port
        for stream in (False, True):
            working = raw_post(port, CHAT | {"stream": stream})
            wait_for(lambda: model.running == 1, 10)
            waiting = raw_post(port, CHAT)
            wait_for(lambda: model.waiting == 1, 10)
            waiting.close()
            wait_for(lambda: model.waiting == 0, 1.0)
            working.close()
            wait_for(lambda: model.running == 0 and here.gateway.admission.taken == 0, 1.0)
        assert ends(here)["gone"] == 4 and balanced(here)


def test_what_is_not_let_in_is_told_when_to_come_again() -> None:
    with running(models=["fake:slow=60"], slots=1, queue=1) as here, here.client() as client:
        held = [raw_post(here.gateway.settings.port, CHAT) for _ in range(2)]
        wait_for(lambda: here.gateway.admission.taken == 2, 10)
        refused = client.post("/v1/spatial/ask", json=ASK)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "overloaded_error"
        assert client.get("/health/ready").status_code == 200  # answers for others are not in the queue
        for one in held:
            one.close()
        wait_for(lambda: balanced(here), 5)


def test_deadlines() -> None:
    with running(models=["fake:slow=60"], deadline_s=30) as here, here.client() as client:
        late = client.post("/v1/spatial/ask", json=ASK | {"timeout_s": 0.3})
        assert late.status_code == 504 and late.json()["error"]["code"] == "DeadlineError"
        assert client.post("/v1/chat/completions", json=CHAT | {"timeout_s": 0.3}).status_code == 504
        streamed = client.post("/v1/chat/completions", json=CHAT | {"timeout_s": 0.3, "stream": True})
        assert streamed.status_code == 504
        raised = client.post("/v1/spatial/ask", json=ASK | {"timeout_s": 31})
        assert raised.status_code == 400 and "allows 30" in raised.json()["error"]["message"]
        wait_for(lambda: here.gateway.models.served[0].running == 0 and balanced(here), 1.0)


def test_a_client_that_does_not_read() -> None:
    """Megabytes of stream, nobody who reads them: the place is free again after a while."""
    with running(body_s=0.5, models=["fake:long"]) as here:
        connection = raw_post(here.gateway.settings.port, CHAT | {"stream": True, "n": 8, "logprobs": True, "top_logprobs": 0})
        wait_for(lambda: ends(here).get("gone") == 1, 20)
        connection.close()
        wait_for(lambda: balanced(here) and here.gateway.models.served[0].running == 0, 5)


def test_a_body_that_does_not_come() -> None:
    with running(body_s=0.3) as here:
        connection = socket.create_connection(("127.0.0.1", here.gateway.settings.port))
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert b" 400 " in connection.recv(1000)
        connection.close()
        wait_for(lambda: balanced(here), 5)


def test_a_server_that_is_ended_drains() -> None:
    """SIGTERM: the request in flight is answered, the process ends by itself, and its engine with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "from deixis.service.gateway import Gateway; from deixis.service.server import server_for;"
        "from deixis.service import read_settings; from tests.service.serving import fake_command;"
        f"server_for(Gateway.build(read_settings(port={port}, models=('fake:slow=1.5',), canary=False), fake_command)).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:

            def ready() -> bool:
                try:
                    return client.get("/health/ready").status_code == 200
                except httpx.HTTPError:
                    return False

            wait_for(ready, 60)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(httpx.post, f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT, timeout=30)
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                assert asked.result().json()["choices"][0]["message"]["content"] == "A red square."
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def test_many_at_once_and_a_third_of_them_cancelled() -> None:
    """200 requests, 60 of them given up: all have an end, and nothing is left open."""
    with running(models=["fake:slow=0.02"], slots=8, queue=64) as here:

        async def one(client: httpx.AsyncClient, number: int) -> int:
            try:
                async with asyncio.timeout(0.05 if number % 10 < 3 else 60):
                    body = CHAT | {"stream": number % 2 == 0}
                    return (await client.post("/v1/chat/completions", json=body)).status_code
            except TimeoutError:
                return 0

        async def all_of_them() -> list[int]:
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(base_url=here.url, timeout=60, trust_env=False, limits=limits) as client:
                return await asyncio.gather(*(one(client, number) for number in range(200)))

        asyncio.run(all_of_them())
        wait_for(lambda: balanced(here), 5)
        before = len(os.listdir(f"/proc/{os.getpid()}/fd"))  # noqa: PTH208
        statuses = asyncio.run(all_of_them())
        assert set(statuses) <= {0, 200, 503} and statuses.count(200) >= 20
        wait_for(lambda: balanced(here), 5)
        wait_for(lambda: len(os.listdir(f"/proc/{os.getpid()}/fd")) <= before, 20)  # noqa: PTH208
        assert here.gateway.models.served[0].waiting == 0
