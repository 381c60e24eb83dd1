"""What an engine's process does for `/v1/chat/completions`: a conversation in, pieces of the replies out.

Knows backends and the engine's tickets. Does not know HTTP. The conversation comes as `deixis.model.Processor` reads it, with
{"type": "image", "blob": i} and {"type": "video", "blob": i, "fps"} in the place of pixels.

Events: {"event": "start", "prompt_tokens"} once the conversation is read, {"event": "delta", "index", "reasoning" | "content",
"logprobs"} as the replies come (where they are streamed). The value at the end: {"choices": [{"index", "content", "reasoning",
"tool_calls", "logprobs", "finish"}], "usage": {"prompt_tokens", "completion_tokens", "cached_tokens"}}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from deixis.backends import Backend, Clip, Completion, Conversation, Pixels, TokenProb, Turn
from deixis.backends.openai import OpenAIBackend
from deixis.errors import DeadlineError, InputError
from deixis.media import load_picture
from deixis.service.call import Call
from deixis.service.relay import relay
from deixis.service.reply_parts import ReplyParts, call_of
from deixis.service.video_parts import clip_of

Arguments = Mapping[str, Any]


@runtime_checkable
class Submitting(Backend, Protocol):
    """The backend in this process, which is asked without waiting. (Its class is not named here: torch is imported with it.)"""

    engine: Any

    def submit(self, messages: Sequence[Mapping[str, Any]], sampling: Any, tools: Any = None) -> Any:
        """A ticket."""

    def read(self, reply: Any, *, held: bool) -> Completion:
        """A reply as text."""


def chat(backend: Backend, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """Answer a conversation with whatever the backend is."""
    if isinstance(backend, OpenAIBackend):
        return relay(backend, call, asked, blobs)
    messages = [_message(message, blobs, asked["max_frames"]) for message in asked["messages"]]
    if isinstance(backend, Submitting):
        return _local(backend, call, asked, messages)
    return _plain(backend, call, asked, messages)


def _message(message: Mapping[str, Any], blobs: Sequence[bytes], max_frames: int) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = [_part(part, blobs, max_frames) for part in content]
    return {**message, "content": content}


def _part(part: Mapping[str, Any], blobs: Sequence[bytes], max_frames: int) -> dict[str, Any]:
    if part["type"] == "image":
        return {"type": "image", "image": load_picture(blobs[part["blob"]]).pixels}
    if part["type"] == "video":
        return clip_of(blobs[part["blob"]], part["fps"], max_frames)
    return dict(part)


# --- the embedded engine ------------------------------------------------------------------------------------------------------


def _local(backend: Submitting, call: Call, asked: Arguments, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from deixis.engine import Sampling

    settings = dict(asked["sampling"])
    schema, tools = asked.get("schema"), asked.get("tools")
    sampling = Sampling(**settings, schema=schema, logprobs=asked["logprobs"], alternatives=asked["top_logprobs"])
    ticket = backend.submit(messages, sampling, tools)
    call.send({"event": "start", "prompt_tokens": ticket.prompt_tokens})
    parts = [_parts(backend, asked) for _ in range(sampling.n)]
    with call.holding(ticket):
        if asked["stream"]:
            _stream(backend, call, ticket, parts, sampling)
        replies = ticket.results()
    choices = []
    for index, (reply, part) in enumerate(zip(replies, parts, strict=True)):
        if reply.finish == "deadline":
            raise DeadlineError("the reply was not whole in time; ask for fewer tokens, or allow more time")
        read = backend.read(reply, held=schema is not None)
        logprobs = [logprob_json(token, asked["top_logprobs"]) for token in read.tokens] if asked["logprobs"] else None
        if asked["stream"]:
            choices.append(_choice(index, part, "", "", None, reply.finish))
            continue
        pieces = [*part.add(reply.text), *part.rest()]
        reasoning, content = (_joined(pieces, kind) for kind in ("reasoning", "content"))
        choices.append(_choice(index, part, content, reasoning, logprobs, reply.finish))
    said = sum(len(reply.ids) for reply in replies)
    return {"choices": choices, "usage": _usage(ticket.prompt_tokens, said, replies[0].reused_tokens)}


def _stream(backend: Submitting, call: Call, ticket: Any, parts: Sequence[ReplyParts], sampling: Any) -> None:
    decode: Callable[[list[int]], str] = backend.engine.checkpoint.processor.decode
    for token in ticket.events():
        logprobs = None
        if token.id is not None and sampling.logprobs:
            top = tuple((decode([number]), logprob) for number, logprob in token.top)
            logprobs = [logprob_json(TokenProb(decode([token.id]), token.logprob, top), sampling.alternatives)]
        _tell(call, token.reply, parts[token.reply].add(token.text), logprobs)
    for index, part in enumerate(parts):
        _tell(call, index, part.rest(), None)


def _tell(call: Call, index: int, pieces: Sequence[tuple[str, str]], logprobs: list[dict[str, Any]] | None) -> None:
    for kind, text in pieces or ([("content", "")] if logprobs else []):
        call.send({"event": "delta", "index": index, kind: text, "logprobs": logprobs})
        logprobs = None


def _parts(backend: Backend, asked: Arguments) -> ReplyParts:
    return ReplyParts(
        thinking=backend.card.thinking,
        held=asked.get("schema") is not None and backend.card.enforces_schema,
        tools=bool(asked.get("tools")) and asked.get("schema") is None,
    )


# --- any other backend --------------------------------------------------------------------------------------------------------


def _plain(backend: Backend, call: Call, asked: Arguments, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Through the protocol of backends, which knows neither tools nor streams: a reply comes in one piece."""
    if asked.get("tools") or any(message["role"] == "tool" for message in messages):
        raise InputError(f"{backend.card.name} cannot call tools; leave out tools")
    conversation = Conversation(tuple(_turn(message) for message in messages))
    settings = asked["sampling"]
    choices, said = [], 0
    for index in range(settings["n"]):
        call.check()
        reply: Completion = backend.complete(
            conversation,
            max_new_tokens=settings["max_new_tokens"],
            temperature=settings["temperature"],
            schema=asked.get("schema"),
        )
        said += len(reply.tokens)
        logprobs = [logprob_json(token, asked["top_logprobs"]) for token in reply.tokens] if asked["logprobs"] else None
        if asked["stream"]:
            _tell(call, index, [("reasoning", reply.reasoning)] if reply.reasoning else [], None)
            _tell(call, index, [("content", reply.text)], logprobs)
        choices.append(_choice(index, ReplyParts(), reply.text, reply.reasoning, logprobs, reply.finish))
    return {"choices": choices, "usage": _usage(0, said, 0)}


def _turn(message: Mapping[str, Any]) -> Turn:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return Turn(message["role"], tuple(_shown(part) for part in parts))


def _shown(part: Mapping[str, Any]) -> str | Pixels | Clip:
    if part["type"] == "text":
        return str(part["text"])
    if part["type"] == "image":
        return np.asarray(part["image"])
    return Clip(tuple(part["frames"]), tuple(part["timestamps_s"]))


# --- what comes back ----------------------------------------------------------------------------------------------------------


def logprob_json(token: TokenProb, top: int) -> dict[str, Any]:
    """A token as OpenAI writes it."""
    others = [{"token": text, "logprob": logprob, "bytes": list(text.encode())} for text, logprob in token.top[:top]]
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode()), "top_logprobs": others}


def _choice(
    index: int, parts: ReplyParts, content: str, reasoning: str, logprobs: list[dict[str, Any]] | None, finish: str
) -> dict[str, Any]:
    return {
        "index": index,
        "content": content,
        "reasoning": reasoning,
        "tool_calls": parts.calls,
        "logprobs": logprobs,
        "finish": "tool_calls" if parts.calls else finish,
    }


def _joined(pieces: Sequence[tuple[str, str]], kind: str) -> str:
    return "".join(text for which, text in pieces if which == kind).strip("\n" if kind == "reasoning" else "")


def _usage(prompt: int, said: int, cached: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": said, "cached_tokens": cached}


def forced_call(content: str) -> list[dict[str, Any]]:
    """The call that a schema forced; none where the reply was cut short."""
    found = call_of(content)
    return [] if found is None else [found]
