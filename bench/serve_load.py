"""Load on a gateway: many clients for a while, some of whom give up; then what is left open. Prints JSON.

    python bench/serve_load.py --clients 200 --seconds 60 [--cancel 0.3] [--mixed] [--kill] [--url http://127.0.0.1:8080]

Without `--url` it starts `deixis serve --model nano` by itself; then `--kill` ends its engine with kill -9 in the middle, and
after the load it is measured how soon a client that goes away has freed its place. `--mixed` asks about pictures and streams chat
in turn; otherwise short chats. In the end it waits until the queue is empty and compares pages of the cache and open files with
the start's.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
PICTURE = "data:image/png;base64," + base64.b64encode((ROOT / "examples" / "desk.png").read_bytes()).decode()
CHAT = {"messages": [{"role": "user", "content": "How many cups are there?"}], "max_tokens": 8}
REFUSED = (429, 503)
ASK = {"image": PICTURE, "question": "Is the yellow cup in front of the black box?", "evidence": False}

CHATS = [json.dumps(CHAT | {"stream": stream}).encode() for stream in (False, True)]
ASKED = json.dumps(ASK).encode()


def longest(told: list[tuple[str, float, float]], at: float) -> float | None:
    """Of the requests that were under way then and failed: how long after it they were told."""
    return max((round(end - at, 3) for end_, ms, end in told if end_ == "503" and end - ms / 1000 < at < end), default=None)


def percentile(values: list[float], share: float) -> float | None:
    """The value below which that share lies; None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else None


async def asked(address: tuple[str, int], path: str, body: bytes) -> tuple[int, float, bytes]:
    """Status, milliseconds to its line, and the rest. By hand: a client that costs more than the server measures itself."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address)
    try:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        line = await reader.readline()
        first_ms = (time.perf_counter() - began) * 1000
        return int(line.split()[1]), first_ms, await reader.read()
    finally:
        writer.close()


async def one_client(
    address: tuple[str, int], until: float, chance: float, mixed: bool, seed: int, told: list[tuple[str, float, float]]
) -> None:
    """Ask again and again; refused, wait about as long as asked to."""
    drawn = random.Random(seed)
    await asyncio.sleep(drawn.random())
    while time.monotonic() < until:
        stream = drawn.random() < 0.5
        path, body = ("/v1/spatial/ask", ASKED) if mixed and drawn.random() < 0.3 else ("/v1/chat/completions", CHATS[stream])
        gives_up_s = drawn.uniform(0.05, 2.0) if drawn.random() < chance else 600.0
        began = time.perf_counter()
        try:
            async with asyncio.timeout(gives_up_s):
                status, first_ms, answer = await asked(address, path, body)
            took_ms = first_ms if status in REFUSED else (time.perf_counter() - began) * 1000
            cut_off = status == 200 and body == CHATS[True] and b"[DONE]" not in answer
            told.append(("cut off" if cut_off else str(status), took_ms, time.perf_counter()))
        except TimeoutError:
            told.append(("gave up", gives_up_s * 1000, time.perf_counter()))
        except (OSError, ValueError, IndexError) as error:
            told.append((type(error).__name__, 0.0, time.perf_counter()))
        if told[-1][0] in map(str, REFUSED):
            await asyncio.sleep(drawn.uniform(0.5, 1.5))


async def kill_engine(client: httpx.AsyncClient, gateway: int, after_s: float) -> dict[str, float]:
    """kill -9 of the engine's process: when it was, and how long until the gateway is ready again."""
    await asyncio.sleep(after_s)
    (engine,) = children(gateway)
    at = time.perf_counter()
    os.kill(engine, signal.SIGKILL)
    flipped_s = None
    while True:
        ready = (await client.get("/health/ready")).status_code == 200
        passed_s = time.perf_counter() - at
        if not ready and flipped_s is None:
            flipped_s = passed_s
        if ready and flipped_s is not None:
            return {"at": at, "not_ready_after_s": round(flipped_s, 3), "ready_again_after_s": round(passed_s, 3)}
        await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


async def freed_ms(client: httpx.AsyncClient, address: tuple[str, int]) -> list[float]:
    """How long after a client has gone its place and its pages are free, seen through /metrics: 20 streams that are given up."""
    body = json.dumps(
        CHAT | {"stream": True, "max_tokens": 1000, "messages": [{"role": "user", "content": "Count to 1000."}]}
    ).encode()
    found = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection(*address)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readuntil(b'"delta"')
        began = time.perf_counter()
        writer.close()
        while (now := await state(client, None))["places_taken"] or now["engine_pages_in_use"]:
            pass
        found.append(round((time.perf_counter() - began) * 1000, 1))
    return sorted(found)


async def state(client: httpx.AsyncClient, pid: int | None) -> dict[str, float]:
    """The figures that must come back to where they were."""
    text = (await client.get("/metrics", timeout=60)).text
    wanted = ("accepted_total", "ended_total", "places_taken", "engine_pages_in_use", "model_memory_bytes", "model_restarts")
    rows = {
        name: sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"deixis_{name}"))
        for name in wanted
    }
    if pid is not None:
        rows |= process_state(pid)
    return rows


def process_state(pid: int) -> dict[str, float]:
    """Open files and memory of the gateway's own process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return {"open_files": len(list(Path(f"/proc/{pid}/fd").iterdir())), "gateway_bytes": pages * os.sysconf("SC_PAGE_SIZE")}


async def load(url: str, pid: int | None, arguments: argparse.Namespace) -> dict[str, Any]:
    """The load, and what is left of it."""
    told: list[tuple[str, float, float]] = []
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
        # The first answers load what is loaded once.
        for body, path in ((CHAT, "/v1/chat/completions"), (ASK, "/v1/spatial/ask")):
            (await client.post(path, json=body)).raise_for_status()
        await asyncio.sleep(2)
        before = await state(client, pid)
        began = time.monotonic()
        until = began + arguments.seconds
        address = (str(client.base_url.host), client.base_url.port or 80)
        clients = [one_client(address, until, arguments.cancel, arguments.mixed, seed, told) for seed in range(arguments.clients)]
        running = asyncio.gather(*clients)
        killing = asyncio.create_task(kill_engine(client, pid, arguments.seconds / 2)) if arguments.kill and pid else None
        memory: list[float] = []
        while not running.done():
            await asyncio.sleep(min(5.0, arguments.seconds / 4))
            memory.append((await state(client, pid)).get("model_memory_bytes", 0.0))
        await running
        killed = await killing if killing is not None else None
        took = time.monotonic() - began
        for _ in range(100):
            after = await state(client, pid)
            if after["places_taken"] == 0 and after.get("open_files", 0) <= before.get("open_files", 0):
                break
            await asyncio.sleep(0.2)
        freed = await freed_ms(client, address) if pid else []
    ends = Counter(end for end, _, _ in told)
    refused = [ms for end, ms, _ in told if end in map(str, REFUSED)]
    answered = [ms for end, ms, _ in told if end == "200"]
    return {
        "clients": arguments.clients,
        "seconds": round(took, 1),
        "requests": len(told),
        "ends": dict(ends),
        "answered_per_s": round(len(answered) / took, 2),
        "answered_ms": {"p50": percentile(answered, 0.5), "p99": percentile(answered, 0.99)},
        "refused_ms": {"p50": percentile(refused, 0.5), "p99": percentile(refused, 0.99)},
        "engine_memory_mib": [round(value / 2**20) for value in memory],
        "without_an_end": after["accepted_total"] - after["ended_total"],
        "freed_ms": {"p50": percentile(freed, 0.5), "most": max(freed, default=None)},
        "killed": killed
        and {key: value for key, value in killed.items() if key != "at"} | {"longest_wait_s": longest(told, killed["at"])},
        "before": before,
        "after": after,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cancel", type=float, default=0.0, help="share of the requests that are given up")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    process = None
    url = arguments.url
    if not url:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = os.environ | {"DEIXIS_CANARY": "false", "DEIXIS_LOG_LEVEL": "ERROR"}
        command = [sys.executable, "-m", "deixis.cli", "serve", "--port", str(port), "--model", "nano"]
        process = subprocess.Popen(command, env=environment)
        url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                    break
            time.sleep(0.2)
        print(json.dumps(asyncio.run(load(url, None if process is None else process.pid, arguments)), indent=1))
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
