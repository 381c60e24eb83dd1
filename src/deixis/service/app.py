"""The gateway as an ASGI application: routes, errors, documents, behind the gate.

Knows how the parts are put together. Does not know sockets (`server` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from deixis import __version__
from deixis.errors import BodyError, DeixisError, InputError
from deixis.service.chat_routes import chat_router
from deixis.service.documents import describe
from deixis.service.gate import Passed, refusal
from deixis.service.gateway import Gateway
from deixis.service.house_routes import house_router
from deixis.service.logs import log_request
from deixis.service.spatial_routes import spatial_router

TITLE = "Deixis"
TEXT = "Ask where, and get an answer that you can check: spatial questions about pictures and videos, and OpenAI's chat."
_HTTP_CODES = {404: "NotFoundError", 405: "MethodError"}


def create_app(gateway: Gateway) -> ASGIApp:
    """The application. Its models are loaded while it starts (in the background: it lives before it is ready)."""
    settings = gateway.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        loading = asyncio.create_task(gateway.models.start())
        try:
            yield
        finally:
            gateway.admission.draining = True
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await gateway.jobs.stop()
            await gateway.models.stop()

    api = FastAPI(title=TITLE, version=__version__, lifespan=lifespan, redoc_url=None)
    for router in (spatial_router(gateway), chat_router(gateway), house_router(gateway)):
        api.include_router(router)
    api.add_exception_handler(DeixisError, _told)
    api.add_exception_handler(HTTPException, _http)
    api.openapi = lambda: _document(api)  # type: ignore[method-assign]
    if settings.allowed_origins:
        api.add_middleware(CORSMiddleware, allow_origins=list(settings.allowed_origins), allow_methods=["*"], allow_headers=["*"])

    def ended(passed: Passed) -> None:
        gateway.metrics.ended(passed)
        log_request(passed)

    return gateway.gate(api, ended)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, DeixisError)
    passed: Passed = request.state.passed
    passed.error = type(error).__name__
    passed.end = "refused" if isinstance(error, InputError) else "failed"
    status, headers, body = refusal(error, error.param if isinstance(error, BodyError) else None)
    return JSONResponse(body, status, headers)


async def _http(request: Request, error: Exception) -> Response:
    """A route or a method that does not exist."""
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "InputError")
    request.state.passed.error = code
    text = f"{error.detail}; /docs lists what there is"
    fault = {"message": text, "type": "invalid_request_error", "code": code, "param": None}
    return JSONResponse({"error": fault}, error.status_code, error.headers)


def _document(api: FastAPI) -> dict[str, object]:
    if api.openapi_schema is None:
        api.openapi_schema = describe(api, TITLE, api.version, TEXT)
    return api.openapi_schema
