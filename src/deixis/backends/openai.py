"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Deixis itself): `http://host:8000/v1#name`.

Knows the chat-completions protocol. Does not know what is asked. httpx is imported on first use.
"""

from __future__ import annotations

import base64
import codecs
import io
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from deixis.backends.base import Clip, Completion, Conversation, Finish, ModelCard, Part, Pixels, Schema, TokenProb
from deixis.errors import BackendError, ModelNotFoundError, OptionError, OverloadError

if TYPE_CHECKING:
    import httpx

_ALTERNATIVES = 10  # all ten digits of a coordinate
_TIMEOUT_S = 300.0
_SCHEMA_REFUSED = re.compile(r"response_format|json_schema|schema|grammar", re.IGNORECASE)


class OpenAIBackend:
    """Asks `POST {url}/chat/completions`. Pictures travel as PNG data URIs, so no pixel is changed.

    Without a model name the server must offer exactly one. `transport` is httpx's, for tests. Raises OptionError for an
    address that is none, BackendError where the server cannot be reached or breaks the protocol, ModelNotFoundError
    where it does not serve the model, OverloadError where it is full.
    """

    def __init__(
        self, url: str, model: str = "", *, api_key: str = "", why: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        import httpx

        self._url = url.rstrip("/")
        try:
            parsed = httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise OptionError(f"{url!r} is no address ({error}); expected http://host:port/v1#name") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise OptionError(f"{url!r} is no address; expected http://host:port/v1#name")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S, transport=transport)
        self._logprobs = True
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
        response = self._request("POST", "/chat/completions", body | self._wishes(schema))
        if response.status_code == 400 and self._logprobs and "logprob" in response.text:
            # Some servers refuse probabilities: the answer then comes without, and says so by `tokens` being empty.
            self._logprobs = False
            response = self._request("POST", "/chat/completions", body | self._wishes(schema))
        if (
            response.status_code == 400
            and schema is not None
            and self._card.enforces_schema
            and _SCHEMA_REFUSED.search(response.text)
        ):
            # Others refuse schemas, or know none: the card says from now on that a reply is not held to one.
            self._card = replace(self._card, enforces_schema=False)
            response = self._request("POST", "/chat/completions", body | self._wishes(schema))
        reply = self._json(response)
        return _completion(reply, self._card.name, (time.perf_counter() - started) * 1000)

    def _wishes(self, schema: Schema | None) -> dict[str, Any]:
        """What not every server grants: probabilities, and replies that match a schema."""
        wishes: dict[str, Any] = {"logprobs": True, "top_logprobs": _ALTERNATIVES} if self._logprobs else {}
        if schema is not None and self._card.enforces_schema:
            named = {"name": "reply", "schema": dict(schema), "strict": True}
            wishes["response_format"] = {"type": "json_schema", "json_schema": named}
        return wishes

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _only_model(self) -> str:
        listed = self._json(self._request("GET", "/models")).get("data")
        names = [str(entry.get("id")) for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
        if len(names) != 1:
            raise ModelNotFoundError(f"{self._url} serves {', '.join(names) or 'no model'}; choose one with {self._url}#name")
        return names[0]

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        import httpx

        try:
            return self._client.request(method, self._url + path, json=body)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise BackendError(f"{self._url} did not answer ({why}); is the server running?") from error

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        what = f"{self._url} answered {response.status_code}: {response.text[:300]}"
        if response.status_code == 404:
            raise ModelNotFoundError(f"{what}; expected an OpenAI-compatible server that serves this model")
        if response.status_code in (429, 503):
            raise OverloadError(f"{what}; try again later")
        if response.is_error:
            raise BackendError(what)
        try:
            reply = response.json()
        except ValueError as error:
            raise BackendError(f"{what}; expected JSON") from error
        if not isinstance(reply, dict):
            raise BackendError(f"{what}; expected a JSON object")
        return reply


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
