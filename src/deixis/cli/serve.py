"""`deixis serve`: the gateway on one port; `deixis mcp`: its tools for assistants.

Knows options. Does not know how requests are served. What is not given here comes from the environment (`DEIXIS_…`).
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from deixis.errors import OptionError

_MODEL = "auto, nano, a directory, a hub id or http://host:8000/v1#name; other=… gives it another name. Several: repeat."


def serve_command(
    host: Annotated[str | None, typer.Option(help="Where to listen; off this machine only with API keys.")] = None,
    port: Annotated[int | None, typer.Option(help="The port.")] = None,
    model: Annotated[list[str] | None, typer.Option(help=_MODEL)] = None,
) -> None:
    """Serve pictures' answers and OpenAI's chat over HTTP, on 127.0.0.1:8080. Settings: DEIXIS_… (docs/gateway.md)."""
    try:
        from deixis.service import read_settings, serve
    except ModuleNotFoundError as error:
        raise missing_extra(error, "serve") from error
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings = read_settings(**_given(host, port, model))
    typer.echo(f"deixis: http://{settings.host}:{settings.port} (documents: /docs)", err=True)
    serve(settings)


def mcp_command(
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP at /mcp, instead of stdin and stdout.")] = False,
    host: Annotated[str | None, typer.Option(help="With --http: where to listen.")] = None,
    port: Annotated[int | None, typer.Option(help="With --http: the port.")] = None,
    model: Annotated[list[str] | None, typer.Option(help=_MODEL)] = None,
) -> None:
    """Serve ask, locate, scene and watch as tools of the Model Context Protocol."""
    if not http and (host is not None or port is not None):
        raise OptionError("--host and --port go with --http")
    try:
        from deixis.service import read_settings, serve_mcp
    except ModuleNotFoundError as error:
        raise missing_extra(error, "serve") from error
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    serve_mcp(read_settings(**_given(host, port, model)), http=http)


def _given(host: str | None, port: int | None, model: list[str] | None) -> dict[str, Any]:
    given = {"host": host, "port": port, "models": tuple(model) if model else None}
    return {name: value for name, value in given.items() if value is not None}


def missing_extra(error: ModuleNotFoundError, extra: str) -> OptionError:
    """What to install."""
    return OptionError(f"this command needs {error.name}, which is not installed; `pip install 'deixis[{extra}]'`")
