"""A conversation passed on to a model server elsewhere: its pictures as they came, its reply as it comes.

Knows OpenAI's chat completions from the asking side. Does not know HTTP's server side. What a server answers is checked before
it is told: it may be garbage.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from deixis.backends.dialects import OPENAI, Dialect
from deixis.backends.openai import OpenAIBackend
from deixis.backends.remote import Reply
from deixis.errors import BackendError
from deixis.service.call import Call
from deixis.service.contents import kind_of
from deixis.service.video_parts import clip_parts

Arguments = Mapping[str, Any]
_FINISHES = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


def relay(backend: OpenAIBackend, call: Call, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    """See `chat_task.chat`."""
    body = _body(backend, asked, blobs)
    key = hashlib.blake2b(blobs[0], digest_size=16).hexdigest() if blobs else ""
    if asked["stream"]:
        return _streamed(backend, call, body, key, asked["sampling"]["n"])
    reply = backend.json_of(backend.remote.request("POST", "/chat/completions", body, key))
    try:
        choices = [_choice(choice, choice["message"]) for choice in reply["choices"]]
        return {"choices": choices, "usage": _usage(reply.get("usage"))}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BackendError(f"the model server's reply is no chat completion ({type(error).__name__})") from error


def _body(backend: OpenAIBackend, asked: Arguments, blobs: Sequence[bytes]) -> dict[str, Any]:
    sampling = asked["sampling"]
    body: dict[str, Any] = {
        "model": backend.card.name,
        "messages": [_message(backend, message, blobs, asked["max_frames"]) for message in asked["messages"]],
        "max_tokens": sampling["max_new_tokens"],
        "temperature": sampling["temperature"],
        "top_p": sampling["top_p"],
        "seed": sampling["seed"],
        "n": sampling["n"],
    }
    if sampling["top_k"]:
        body["top_k"] = sampling["top_k"]
    if sampling["stop"]:
        body["stop"] = sampling["stop"]
    if asked["tools"]:
        body["tools"] = asked["tools"]
    if asked["schema"] is not None:
        body |= OPENAI.schema(asked["schema"])  # the way that all of them know
        body.pop("tools", None)  # a call that must be made is a schema here
    if asked["logprobs"]:
        body |= {"logprobs": True, "top_logprobs": asked["top_logprobs"]}
    if asked["stream"]:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    rates = [part["fps"] for message in asked["messages"] for part in _videos(message)]
    if rates and (frames := _dialect(backend).frames) is not None:
        body |= frames(max(rates))
    return body


@lru_cache(maxsize=16)
def _dialect(backend: OpenAIBackend) -> Dialect:
    return backend.dialect()


def _videos(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if part["type"] == "video"] if isinstance(content, list) else []


def _message(backend: OpenAIBackend, message: Mapping[str, Any], blobs: Sequence[bytes], max_frames: int) -> dict[str, Any]:
    row = dict(message)
    if isinstance(row["content"], list):
        row["content"] = [sent for part in row["content"] for sent in _parts(backend, part, blobs, max_frames)]
    if row.get("tool_calls"):
        row["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": _function(call)} for i, call in enumerate(row["tool_calls"])
        ]
    return row


def _function(call: Mapping[str, Any]) -> dict[str, str]:
    return {"name": call["function"]["name"], "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False)}


def _parts(backend: OpenAIBackend, part: Mapping[str, Any], blobs: Sequence[bytes], max_frames: int) -> Iterator[dict[str, Any]]:
    if part["type"] == "image":
        yield {"type": "image_url", "image_url": {"url": _data_uri(blobs[part["blob"]])}}
    elif part["type"] == "video" and _dialect(backend).frames is not None:
        yield {"type": "video_url", "video_url": {"url": _data_uri(blobs[part["blob"]])}}
    elif part["type"] == "video":
        yield from clip_parts(blobs[part["blob"]], part["fps"], max_frames)
    else:
        yield dict(part)


def _data_uri(data: bytes) -> str:
    return f"data:{kind_of(data)};base64,{base64.b64encode(data).decode('ascii')}"


def _streamed(backend: OpenAIBackend, call: Call, body: Mapping[str, Any], key: str, count: int) -> dict[str, Any]:
    call.send({"event": "start", "prompt_tokens": 0})
    finishes: dict[int, str] = {}
    calls: dict[int, list[dict[str, Any]]] = {}
    usage: Any = None
    whole = False
    for line in backend.remote.lines("/chat/completions", body, key):
        if isinstance(line, Reply):
            backend.json_of(line)
            raise BackendError("the model server answered a request for a stream with none")
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            whole = True
            break
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise BackendError("the model server failed in the middle of its reply")
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                _tell(call, choice, calls)
                if choice.get("finish_reason"):
                    finishes[int(choice["index"])] = _FINISHES.get(choice["finish_reason"], "stop")
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise BackendError(f"the model server's stream is no chat completion ({type(error).__name__})") from error
    if not whole and len(finishes) < count:
        raise BackendError("the model server broke off in the middle of its reply")
    choices = [
        {
            "index": i,
            "content": "",
            "reasoning": "",
            "tool_calls": calls.get(i, []),
            "logprobs": None,
            "finish": finishes.get(i, "stop"),
        }
        for i in range(count)
    ]
    return {"choices": choices, "usage": _usage(usage)}


def _tell(call: Call, choice: Mapping[str, Any], calls: dict[int, list[dict[str, Any]]]) -> None:
    delta, index = choice["delta"], int(choice["index"])
    logprobs = (choice.get("logprobs") or {}).get("content")
    for kind, text in (
        ("reasoning", delta.get("reasoning_content") or delta.get("reasoning")),
        ("content", delta.get("content")),
    ):
        if text:
            call.send({"event": "delta", "index": index, kind: str(text), "logprobs": logprobs})
            logprobs = None
    for piece in delta.get("tool_calls") or ():
        known = calls.setdefault(index, [])
        while len(known) <= int(piece.get("index", 0)):
            known.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        one = known[int(piece.get("index", 0))]
        one["id"] = one["id"] or str(piece.get("id") or "")
        for field, text in (piece.get("function") or {}).items():
            if field in one["function"]:
                one["function"][field] += str(text or "")


def _choice(choice: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": str(call["id"]),
            "type": "function",
            "function": {"name": str(call["function"]["name"]), "arguments": str(call["function"]["arguments"])},
        }
        for call in message.get("tool_calls") or ()
    ]
    return {
        "index": int(choice["index"]),
        "content": str(message.get("content") or ""),
        "reasoning": str(message.get("reasoning_content") or message.get("reasoning") or ""),
        "tool_calls": calls,
        "logprobs": (choice.get("logprobs") or {}).get("content"),
        "finish": _FINISHES.get(choice.get("finish_reason") or "stop", "stop"),
    }


def _usage(usage: Any) -> dict[str, int]:
    found = usage if isinstance(usage, Mapping) else {}
    cached = found.get("prompt_tokens_details")
    return {
        "prompt_tokens": int(found.get("prompt_tokens") or 0),
        "completion_tokens": int(found.get("completion_tokens") or 0),
        "cached_tokens": int((cached if isinstance(cached, Mapping) else {}).get("cached_tokens") or 0),
    }
