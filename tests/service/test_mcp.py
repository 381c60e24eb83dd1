"""Deixis as tools: the official client over stdio, over streamable HTTP, and in this process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from deixis.service.gateway import Gateway
from deixis.service.mcp_server import loaded, mcp_app, mcp_server
from deixis.service.server import server_for
from deixis.service.settings import read_settings
from tests.media.clips import write_clip
from tests.service.serving import ROOT, data_uri, fake_command, png, wait_for

TOOLS = {"ask", "locate", "scene", "watch"}
STDIO = (
    "import asyncio; from deixis.service.gateway import Gateway; from deixis.service.mcp_server import serve_stdio;"
    "from deixis.service import read_settings; from tests.service.serving import fake_command;"
    "asyncio.run(serve_stdio(Gateway.build(read_settings(models=('fake',), canary=False), fake_command)))"
)


async def tried(client: Client, picture: str, video: str) -> None:
    """Everything that a client does."""
    listed = (await client.list_tools()).tools
    assert {tool.name for tool in listed} == TOOLS
    assert all(tool.description and tool.input_schema["properties"] for tool in listed)
    asked = await client.call_tool("ask", {"image": picture, "question": "Is there a red square?"})
    assert answer(asked)["verdict"] == "yes"
    found = await client.call_tool("locate", {"image": picture, "what": "red square", "camera": [64, 64, 32, 32]})
    assert answer(found)["objects"][0]["label"] == "red square"
    scene = await client.call_tool("scene", {"image": picture})
    assert answer(scene)["schema"] == "deixis.scene/1"
    watched = await client.call_tool("watch", {"video": video, "question": "What happened?", "frames": 3})
    assert answer(watched)["tracks"]
    for wrong in (
        {"image": "http://127.0.0.1:1/a.png", "question": "a"},
        {"image": "data:,x", "question": "a"},
        {"image": picture},
    ):
        refused = await client.call_tool("ask", wrong)
        assert refused.is_error, wrong


def answer(result: Any) -> dict[str, Any]:
    assert not result.is_error, result.content
    found = result.structured_content
    return found.get("result", found)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, 30)
    return path


def test_over_stdio_with_files(clip: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png())

    async def run() -> None:
        parameters = StdioServerParameters(command=sys.executable, args=["-c", STDIO], cwd=ROOT, env=dict(os.environ))
        async with Client(stdio_client(parameters)) as client:
            await tried(client, str(picture), str(clip))
            missing = await client.call_tool("ask", {"image": str(tmp_path / "none.png"), "question": "a"})
            assert missing.is_error

    asyncio.run(run())


def test_over_http_behind_the_gate(clip: Path, tmp_path: Path) -> None:
    key, video = "a-key-of-some-length", data_uri(clip.read_bytes(), "video/mp4")

    async def run() -> None:
        gateway = Gateway.build(read_settings(port=0, models=("fake",), canary=False, api_keys=(key,)), fake_command)
        server = server_for(gateway, mcp_app(gateway))
        serving = asyncio.create_task(server.serve())
        await asyncio.to_thread(wait_for, lambda: server.started, 30)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
        try:
            known = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60)
            async with known, Client(streamable_http_client(url, http_client=known)) as client:
                await tried(client, data_uri(png()), video)
                file = await client.call_tool("ask", {"image": "/etc/passwd", "question": "a"})
                assert file.is_error and "reads no files" in file.content[0].text
            async with httpx2.AsyncClient() as http:
                assert (await http.post(url, json={})).status_code == 401
                evil = {"Authorization": f"Bearer {key}", "Origin": "https://evil.example"}
                assert (await http.post(url, json={}, headers=evil)).status_code == 403
        finally:
            server.should_exit = True
            await serving
        assert gateway.admission.accepted == gateway.admission.ended > 0

    asyncio.run(run())


def test_in_this_process(clip: Path) -> None:
    video = data_uri(clip.read_bytes(), "video/mp4")

    async def run() -> None:
        gateway = Gateway.build(read_settings(models=("fake",), canary=False), fake_command)
        async with loaded(gateway), Client(mcp_server(gateway, files=False)) as client:
            await tried(client, data_uri(png()), video)

    asyncio.run(run())
