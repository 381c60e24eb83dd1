"""`/v1/spatial/*` and `/v1/jobs`: requests to what an engine's process is asked, and its JSON back as it is.

Knows HTTP. Knows nothing spatial.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from deixis.service.bodies import (
    AskBody,
    Asked,
    AskedPicture,
    AskTold,
    JobTold,
    LocateBody,
    LocateTold,
    SceneBody,
    SceneTold,
    WatchBody,
    WatchTold,
)
from deixis.service.documents import documented
from deixis.service.engine_process import end_of
from deixis.service.gate import Passed
from deixis.service.gateway import Gateway
from deixis.service.jobs import Tell
from deixis.service.requests import read_form_or_json
from deixis.service.served import Served

_OWN = {"image", "video", "model", "timeout_s", "max_pixels", "background"}  # what the gateway reads itself


def spatial_router(gateway: Gateway) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["spatial"])

    async def about_picture(request: Request, kind: type[AskedPicture], op: str) -> Response:
        passed: Passed = request.state.passed
        body, upload = await read_form_or_json(request, kind, "image")
        model = gateway.models.chosen(body.model, op)
        model.require_grounding()
        async with gateway.within(passed, gateway.deadline_s(body.timeout_s, gateway.settings.deadline_s)):
            picture = await gateway.contents.picture(body.image if upload is None else upload, body.max_pixels)
            gateway.metrics.pictures.labels("picture").inc()
            return _json(await gateway.value(model, passed, op, _asked(body), (picture,)))

    @router.post("/v1/spatial/ask", **documented(AskBody, AskTold, file="image"))
    async def ask(request: Request) -> Response:
        """Answer a question about a picture, with boxes, checked claims and a confidence."""
        return await about_picture(request, AskBody, "ask")

    @router.post("/v1/spatial/locate", **documented(LocateBody, LocateTold, file="image"))
    async def locate(request: Request) -> Response:
        """Every instance of something: boxes in pixels, or the word that it is absent."""
        return await about_picture(request, LocateBody, "locate")

    @router.post("/v1/spatial/scene", **documented(SceneBody, SceneTold, file="image"))
    async def scene(request: Request) -> Response:
        """Everything in a picture: boxes in 2D and 3D, relations, supports and the camera."""
        return await about_picture(request, SceneBody, "scene")

    @router.post("/v1/spatial/watch", **documented(WatchBody, WatchTold, file="video", job=True))
    async def watch(request: Request) -> Response:
        """A question about a video, answered from what was seen, with moments to look at. Long ones: `background`."""
        passed: Passed = request.state.passed
        body, upload = await read_form_or_json(request, WatchBody, "video")
        model = gateway.models.chosen(body.model, "watch")
        model.require_grounding()
        seconds = gateway.deadline_s(body.timeout_s, gateway.settings.watch_deadline_s)
        async with gateway.within(passed, seconds):
            video = await gateway.contents.video(body.video if upload is None else upload)
        gateway.metrics.pictures.labels("video").inc()

        async def work(tell: Tell) -> Any:
            async with gateway.within(passed, seconds):
                return json.loads(await _watched(gateway, model, passed, _asked(body), video, tell))

        if body.background:
            job = gateway.jobs.start(passed.caller, work)
            return JSONResponse(job.to_json(), 202, {"Location": f"/v1/jobs/{job.id}"})
        async with gateway.within(passed, seconds):
            return _json(await _watched(gateway, model, passed, _asked(body), video))

    @router.get("/v1/jobs/{number}", **documented(None, JobTold, missing=True))
    async def job(request: Request, number: str) -> Response:
        """Where a job stands, and its answer once it is there."""
        return JSONResponse(gateway.jobs.of(request.state.passed.caller, number).to_json())

    @router.delete("/v1/jobs/{number}", **documented(None, JobTold, missing=True))
    async def cancel(request: Request, number: str) -> Response:
        """End a job."""
        found = gateway.jobs.of(request.state.passed.caller, number)
        await gateway.jobs.cancel(found)
        return JSONResponse(found.to_json())

    @router.get("/v1/jobs/{number}/events", **documented(None, None, missing=True, stream=True))
    async def events(request: Request, number: str) -> Response:
        """A job's progress as server-sent events, to its end."""
        found = gateway.jobs.of(request.state.passed.caller, number)

        async def lines() -> AsyncIterator[bytes]:
            async for told in gateway.jobs.follow(found):
                yield f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode()

        return StreamingResponse(lines(), media_type="text/event-stream")

    return router


async def _watched(
    gateway: Gateway, model: Served, passed: Passed, asked: dict[str, Any], video: bytes, tell: Tell | None = None
) -> bytes:
    async with gateway.asking(model, passed, "watch", asked, (video,)) as events:
        return await end_of(events, None if tell is None else lambda event: tell(event["step"], event["share"]))


def _asked(body: Asked) -> dict[str, Any]:
    return body.model_dump(exclude=_OWN)


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json")
