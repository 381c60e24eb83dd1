"""`/v1/chat/completions` as OpenAI's clients know it.

Knows OpenAI's answers and server-sent events. Does not know how replies are made.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from deixis.errors import BodyError, DeixisError, InputError
from deixis.service.bodies import Told, error_body
from deixis.service.chat_bodies import ChatBody, ChatMessage, ImagePart, TextPart
from deixis.service.chat_task import forced_call
from deixis.service.documents import documented
from deixis.service.gate import Passed
from deixis.service.gateway import Gateway
from deixis.service.requests import read_json
from deixis.service.served import Served
from deixis.service.wire import Frame

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


class ChatTold(Told):
    """A completion in OpenAI's fields."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


def chat_router(gateway: Gateway) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["openai"])

    @router.post("/v1/chat/completions", **documented(ChatBody, ChatTold, stream=True))
    async def chat(request: Request) -> Response:
        """Continue a conversation with text, pictures and videos, as OpenAI's API does."""
        passed: Passed = request.state.passed
        body = await read_json(request, ChatBody)
        model = gateway.models.chosen(body.model, "chat")
        seconds = gateway.deadline_s(body.timeout_s, gateway.settings.deadline_s)
        talk = Talk(gateway, model, body, passed, seconds)
        return await (talk.streamed() if body.stream else talk.whole())

    return router


class Talk:
    """One request."""

    def __init__(self, gateway: Gateway, model: Served, body: ChatBody, passed: Passed, seconds: float) -> None:
        self._gateway = gateway
        self._model = model
        self._body = body
        self._passed = passed
        self._seconds = seconds
        self._asked = body.asked(gateway.settings)
        self._id = f"chatcmpl-{uuid4().hex}"
        self._created = int(time.time())

    async def whole(self) -> Response:
        """The completion in one piece."""
        async with self._gateway.within(self._passed, self._seconds):
            blobs = await self._blobs()
            value = json.loads(await self._gateway.value(self._model, self._passed, "chat", self._asked, blobs))
        self._count(value["usage"])
        choices = [self._choice(choice) for choice in value["choices"]]
        return JSONResponse(self._told("chat.completion") | {"choices": choices, "usage": _usage(value["usage"])})

    async def streamed(self) -> Response:
        """The completion as it comes. What goes wrong before its first piece has a status of its own."""
        stack = AsyncExitStack()
        try:
            async with self._gateway.within(self._passed, self._seconds):
                blobs = await self._blobs()
                asking = self._gateway.asking(self._model, self._passed, "chat", self._asked, blobs)
                events = await stack.enter_async_context(asking)
                first = await anext(events)
        except BaseException:
            await stack.aclose()
            raise
        return StreamingResponse(self._lines(stack, first, events), media_type="text/event-stream")

    async def _lines(self, stack: AsyncExitStack, first: Frame, events: AsyncIterator[Frame]) -> AsyncIterator[bytes]:
        forced = [""] * self._body.n  # a call that must be made is told once it is whole
        began = 0.0
        value: dict[str, Any] = {}
        try:
            async with stack:
                for index in range(self._body.n):
                    yield self._piece(index, {"role": "assistant", "content": ""})
                async for frame in self._frames(first, events):
                    if "end" in frame.head:
                        value = json.loads(frame.blobs[0])
                    elif frame.head["event"] == "delta":
                        if not began:
                            began = time.monotonic()
                            self._gateway.metrics.first.labels(self._model.name).observe(began - self._passed.began)
                        if self._body.forced:
                            forced[frame.head["index"]] += frame.head.get("content", "")
                        else:
                            yield self._delta(frame.head)
        except DeixisError as error:
            self._passed.error, self._passed.end = type(error).__name__, "failed"
            yield _line(error_body(error))
            return
        self._count(value["usage"])
        if began:
            rate = value["usage"]["completion_tokens"] / max(time.monotonic() - began, 1e-3)
            self._gateway.metrics.rate.labels(self._model.name).observe(rate)
        for choice, content in zip(value["choices"], forced, strict=True):
            calls = forced_call(content) if self._body.forced else choice["tool_calls"]
            if calls:
                yield self._piece(choice["index"], {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]})
            yield self._piece(choice["index"], {}, "tool_calls" if calls else _FINISH[choice["finish"]])
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield _line(self._told("chat.completion.chunk") | {"choices": [], "usage": _usage(value["usage"])})
        yield b"data: [DONE]\n\n"

    async def _frames(self, first: Frame, events: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        """To the end, each within the request's time. (A response is sent by a task of its own: no limit spans the two.)"""
        frame = first
        while True:
            yield frame
            if "end" in frame.head:
                return
            async with self._gateway.within(self._passed, self._seconds):
                frame = await anext(events)

    async def _blobs(self) -> list[bytes]:
        """The pictures and videos, in their order; the messages then name them by number. Raises what contents raise."""
        blobs: list[bytes] = []
        messages = []
        for message in self._body.messages:
            row = _message(message)
            if isinstance(message.content, list):
                row["content"] = [await self._part(part, blobs) for part in message.content]
            messages.append(row)
        self._asked["messages"] = messages
        return blobs

    async def _part(self, part: Any, blobs: list[bytes]) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if len(blobs) >= self._gateway.settings.max_pictures:
            raise InputError(f"the conversation has more than {self._gateway.settings.max_pictures} pictures and videos")
        if isinstance(part, ImagePart):
            blobs.append(await self._gateway.contents.picture(part.image_url.url))
            self._gateway.metrics.pictures.labels("picture").inc()
            return {"type": "image", "blob": len(blobs) - 1}
        blobs.append(await self._gateway.contents.video(part.video_url.url))
        self._gateway.metrics.pictures.labels("video").inc()
        frames = self._body.mm_processor_kwargs
        return {"type": "video", "blob": len(blobs) - 1, "fps": 2.0 if frames is None else frames.fps}

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        calls, content = choice["tool_calls"], choice["content"]
        if self._body.forced and (found := forced_call(content)):
            calls, content, choice["finish"] = found, "", "tool_calls"
        message: dict[str, Any] = {"role": "assistant", "content": content or None if calls else content, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        if choice["reasoning"]:
            message["reasoning_content"] = choice["reasoning"]
        logprobs = None if choice["logprobs"] is None else {"content": choice["logprobs"], "refusal": None}
        return {"index": choice["index"], "message": message, "logprobs": logprobs, "finish_reason": _FINISH[choice["finish"]]}

    def _delta(self, head: Mapping[str, Any]) -> bytes:
        delta = {name: head[kind] for kind, name in (("content", "content"), ("reasoning", "reasoning_content")) if kind in head}
        return self._piece(head["index"], delta, logprobs=head["logprobs"])

    def _piece(self, index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        told = None if logprobs is None else {"content": logprobs, "refusal": None}
        choice = {"index": index, "delta": delta, "logprobs": told, "finish_reason": finish}
        return _line(self._told("chat.completion.chunk") | {"choices": [choice]})

    def _told(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model.name}

    def _count(self, usage: Mapping[str, int]) -> None:
        metrics, name = self._gateway.metrics, self._model.name
        metrics.tokens.labels(name).inc(usage["completion_tokens"])
        metrics.prompt_tokens.labels(name).inc(usage["prompt_tokens"])
        metrics.cached_tokens.labels(name).inc(usage["cached_tokens"])


def _message(message: ChatMessage) -> dict[str, Any]:
    """As Qwen3's template reads it: arguments of calls as values, not as text. Raises BodyError."""
    row: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role, "content": message.content}
    if message.reasoning_content:
        row["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        calls = []
        for call in message.tool_calls:
            try:
                arguments = json.loads(call.function.arguments or "{}")
            except (ValueError, RecursionError):
                raise BodyError("the arguments of a tool call are not JSON") from None
            calls.append({"type": "function", "function": {"name": call.function.name, "arguments": arguments}})
        row["tool_calls"] = calls
    return row


def _usage(usage: Mapping[str, int]) -> dict[str, Any]:
    prompt, said = usage["prompt_tokens"], usage["completion_tokens"]
    told = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return told | {"prompt_tokens_details": {"cached_tokens": usage["cached_tokens"]}}


def _line(value: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
