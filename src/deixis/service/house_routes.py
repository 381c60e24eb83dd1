"""`/v1/models`, `/health/*` and `/metrics`: what the gateway is, and who answers.

Knows HTTP. Does not know how models are run.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from deixis.service.bodies import HealthTold, ModelBody, ModelsTold, ModelTold
from deixis.service.documents import documented
from deixis.service.gateway import Gateway
from deixis.service.requests import read_json
from deixis.service.served import Served


def house_router(gateway: Gateway) -> APIRouter:
    """The routes."""
    router = APIRouter()
    models, created = gateway.models, int(time.time())

    def told(one: Served) -> dict[str, Any]:
        state = {**one.to_json(), "default": one.name == models.default}
        return {"id": one.name, "object": "model", "created": created, "owned_by": "deixis", "deixis": state}

    @router.get("/v1/models", tags=["models"], **documented(None, ModelsTold))
    async def listed() -> Response:
        """All models, their state, and where they point."""
        return JSONResponse({"object": "list", "data": [told(one) for one in models.served]})

    @router.get("/v1/models/{name:path}", tags=["models"], **documented(None, ModelTold, missing=True))
    async def one(name: str) -> Response:
        """One model."""
        return JSONResponse(told(models.named(name)))

    @router.post("/v1/models/load", tags=["models"], **documented(ModelBody, ModelTold, errors=(404, 409, 422, 502, 503)))
    async def load(request: Request) -> Response:
        """Make a model ready; others that nobody asked for longest make room."""
        return JSONResponse(told(await models.load((await read_json(request, ModelBody)).model)))

    @router.post("/v1/models/unload", tags=["models"], **documented(ModelBody, ModelTold, errors=(404, 409)))
    async def unload(request: Request) -> Response:
        """Let a model go, once the requests in flight are over."""
        name = (await read_json(request, ModelBody)).model
        return JSONResponse(told(await models.unload(name, gateway.settings.drain_s)))

    @router.post("/v1/models/pin", tags=["models"], **documented(ModelBody, ModelTold, errors=(404,)))
    async def pin(request: Request) -> Response:
        """Keep a model, whatever else is loaded."""
        found = models.named((await read_json(request, ModelBody)).model)
        found.pinned = True
        return JSONResponse(told(found))

    @router.post("/v1/models/unpin", tags=["models"], **documented(ModelBody, ModelTold, errors=(404,)))
    async def unpin(request: Request) -> Response:
        """Let a model make room for others again."""
        found = models.named((await read_json(request, ModelBody)).model)
        found.pinned = False
        return JSONResponse(told(found))

    @router.post("/v1/models/default", tags=["models"], **documented(ModelBody, ModelTold, errors=(404, 409)))
    async def switch(request: Request) -> Response:
        """Answer with another model from now on; requests in flight stay where they are."""
        return JSONResponse(told(models.switch((await read_json(request, ModelBody)).model)))

    @router.get("/health/live", tags=["health"], **documented(None, HealthTold))
    async def live() -> Response:
        """Whether the server runs."""
        return JSONResponse({"status": "live"})

    @router.get("/health/ready", tags=["health"], **documented(None, HealthTold, errors=(503,)))
    async def ready() -> Response:
        """Whether the default model answers, and new requests are taken."""
        state = "draining" if gateway.admission.draining else models.named(models.default).state
        good = state == "ready"
        return JSONResponse({"status": state}, 200 if good else 503, {} if good else {"Retry-After": "2"})

    @router.get("/metrics", tags=["health"], responses={200: {"content": {"text/plain": {}}}}, response_model=None)
    async def metrics() -> Response:
        """Figures in Prometheus' text format."""
        text = await gateway.metrics.text(gateway.admission, models.served)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
