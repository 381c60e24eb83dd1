"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Deixis itself): `http://host:8000/v1#name`.

Knows the chat-completions protocol. Does not know what is asked. httpx is imported on first use.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from deixis.backends.base import Clip, Completion, Conversation, Finish, ModelCard, Part, Pixels, Schema, TokenProb
from deixis.backends.dialects import OPENAI, Dialect, dialect_of
from deixis.backends.remote import Remote, Reply, refused
from deixis.errors import BackendError, ModelNotFoundError, OptionError

if TYPE_CHECKING:
    import httpx

_ALTERNATIVES = 10  # all ten digits of a coordinate
_SCHEMA_REFUSED = re.compile(r"response_format|json_schema|schema|grammar", re.IGNORECASE)


class OpenAIBackend:
    """Asks `POST {url}/chat/completions`. Pictures travel as PNG data URIs, so no pixel is changed.

    `url` may name several servers of one model, with commas between (see `replicas`). Without a model name the server must offer
    exactly one. `transport` is httpx's, for tests. Raises OptionError for an address that is none, BackendError where the
    server cannot be reached or breaks the protocol, ModelNotFoundError where it does not serve the model, OverloadError where it
    is full.
    """

    def __init__(
        self, url: str, model: str = "", *, api_key: str = "", why: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        urls = [_checked(one.strip()) for one in url.split(",")]
        self.remote = Remote(urls, api_key=api_key, transport=transport)
        self._url = ",".join(urls)
        self._logprobs = True
        self._schema_fields = OPENAI.schema
        name = model or self._only_model()
        self._card = ModelCard(
            name,
            why or f"served at {self._url}",
            thinking="thinking" in name.lower(),
            identity=f"{self._url}#{name}",
            enforces_schema=True,
        )

    @property
    def card(self) -> ModelCard:
        return self._card

    def dialect(self) -> Dialect:
        """The server's own ways, as far as its list of models tells."""
        reply = self.remote.request("GET", "/models")
        try:
            return OPENAI if reply.is_error else dialect_of(json.loads(reply.text))
        except (ValueError, RecursionError):
            return OPENAI

    def complete(
        self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0, schema: Schema | None = None
    ) -> Completion:
        started = time.perf_counter()
        body: dict[str, Any] = {
            "model": self._card.name,
            "messages": [
                {"role": turn.role, "content": [sent for part in turn.parts for sent in _parts(part)]}
                for turn in conversation.turns
            ],
            "max_tokens": max_new_tokens,
            "temperature": temperature,
        }
        key = _picture_key(conversation)
        schema = schema if self._card.enforces_schema else None
        reply = self._asked(body | self._wishes(schema), key)
        if reply.status == 400 and self._logprobs and "logprob" in reply.text:
            # Some servers refuse probabilities: the answer then comes without, and says so by `tokens` being empty.
            self._logprobs = False
            reply = self._asked(body | self._wishes(schema), key)
        if schema is not None and _refuses_schemas(reply) and self._schema_fields is OPENAI.schema:
            # OpenAI's way is the one that most know; others have one of their own.
            self._schema_fields = self.dialect().schema
            if self._schema_fields is not OPENAI.schema:
                reply = self._asked(body | self._wishes(schema), key)
        if schema is not None and _refuses_schemas(reply):
            # Or they know none: the card says from now on that a reply is not held to one.
            self._card = replace(self._card, enforces_schema=False)
            reply = self._asked(body | self._wishes(None), key)
        return _completion(self.json_of(reply), self._card.name, (time.perf_counter() - started) * 1000)

    def _asked(self, body: Mapping[str, Any], key: str) -> Reply:
        return self.remote.request("POST", "/chat/completions", body, key)

    def _wishes(self, schema: Schema | None) -> dict[str, Any]:
        """What not every server grants: probabilities, and replies that match a schema."""
        wishes: dict[str, Any] = {"logprobs": True, "top_logprobs": _ALTERNATIVES} if self._logprobs else {}
        return wishes if schema is None else wishes | self._schema_fields(schema)

    def close(self) -> None:
        """Close the connections."""
        self.remote.close()

    def _only_model(self) -> str:
        listed = self.json_of(self.remote.request("GET", "/models")).get("data")
        names = [str(entry.get("id")) for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
        if len(names) != 1:
            raise ModelNotFoundError(f"{self._url} serves {', '.join(names) or 'no model'}; choose one with {self._url}#name")
        return names[0]

    def json_of(self, reply: Reply) -> dict[str, Any]:
        """A reply's JSON object. Raises what the server's status says."""
        what = f"{self._url} answered {reply.status}: {reply.text[:300]}"
        if reply.status == 404:
            raise ModelNotFoundError(f"{what}; expected an OpenAI-compatible server that serves this model")
        if reply.status in (429, 503):
            raise refused(reply)
        if reply.is_error:
            raise BackendError(what)
        try:
            found = json.loads(reply.text)
        except (ValueError, RecursionError) as error:
            raise BackendError(f"{what}; expected JSON") from error
        if not isinstance(found, dict):
            raise BackendError(f"{what}; expected a JSON object")
        return found


def _checked(url: str) -> str:
    import httpx

    try:
        parsed = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise OptionError(f"{url!r} is no address ({error}); expected http://host:port/v1#name") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise OptionError(f"{url!r} is no address; expected http://host:port/v1#name")
    return url.rstrip("/")


def _refuses_schemas(reply: Reply) -> bool:
    return reply.status == 400 and _SCHEMA_REFUSED.search(reply.text) is not None


def _picture_key(conversation: Conversation) -> str:
    """The same for conversations about the same picture."""
    parts = (part for turn in conversation.turns for part in turn.parts)
    shown = next((part.frames[0] if isinstance(part, Clip) else part for part in parts if not isinstance(part, str)), None)
    return "" if shown is None else hashlib.blake2b(shown.tobytes(), digest_size=16).hexdigest()


def _parts(part: Part) -> Iterator[dict[str, Any]]:
    """A clip travels as pictures, each behind its time in the words of Qwen3-VL's own videos: servers differ in taking videos."""
    if isinstance(part, str):
        yield {"type": "text", "text": part}
    elif isinstance(part, Clip):
        for frame, time_s in zip(part.frames, part.timestamps_s, strict=True):
            yield {"type": "text", "text": f"<{time_s:.1f} seconds>"}
            yield _picture(frame)
    else:
        yield _picture(part)


def _picture(pixels: Pixels) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _completion(reply: Mapping[str, Any], name: str, total_ms: float) -> Completion:
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = str(message.get("content") or "")
        reasoning = str(message.get("reasoning_content") or message.get("reasoning") or "")
        finish: Finish = "length" if choice.get("finish_reason") == "length" else "stop"
        tokens = _tokens((choice.get("logprobs") or {}).get("content") or [])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BackendError(f"the server's reply is no chat completion ({error!r}): {str(reply)[:300]}") from error
    return Completion(text, tokens, finish, str(reply.get("model") or name), {"total": total_ms}, reasoning).split()


def _tokens(entries: list[Mapping[str, Any]]) -> tuple[TokenProb, ...]:
    # A character split over tokens belongs to the token that completes it.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    tokens: list[TokenProb] = []
    for entry in entries:
        raw = entry.get("bytes")
        piece = decoder.decode(bytes(raw)) if raw is not None else str(entry["token"])
        top = tuple((str(other["token"]), float(other["logprob"])) for other in entry.get("top_logprobs") or ())
        tokens.append(TokenProb(piece, float(entry["logprob"]), top))
    return tuple(tokens)
