"""OpenAI's chat completions: the fields that are taken, and how they become what an engine's process is asked.

Knows OpenAI's names and Qwen3-VL's. A field that cannot take effect is refused, unless it is at the value that changes nothing.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from deixis.errors import OptionError
from deixis.service.bodies import EXAMPLE_PICTURE, Body
from deixis.service.settings import Settings

MAX_MESSAGES = 1_000
MAX_TEXT = 1_000_000
_CALL_PROPERTIES = ("name", "arguments")


class Url(Body):
    """An address or a data URI."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high"] | None = None  # Qwen3-VL reads every picture at its own size


class TextPart(Body):
    """Words."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_TEXT)


class ImagePart(Body):
    """A picture."""

    type: Literal["image_url"]
    image_url: Url


class VideoPart(Body):
    """A video."""

    type: Literal["video_url"]
    video_url: Url


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


class Called(Body):
    """The function of a call, its arguments as JSON text."""

    name: str = Field(min_length=1, max_length=200)
    arguments: str = Field(max_length=MAX_TEXT)


class ToolCall(Body):
    """A call that the assistant made before."""

    id: str = Field(max_length=200)
    type: Literal["function"] = "function"
    function: Called


class ChatMessage(Body):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=MAX_TEXT)] | Annotated[list[Part], Field(max_length=MAX_MESSAGES)] | None = None
    name: str | None = Field(None, max_length=200)
    tool_calls: list[ToolCall] | None = Field(None, max_length=100)
    tool_call_id: str | None = Field(None, max_length=200)
    reasoning_content: str | None = Field(None, max_length=MAX_TEXT)

    @model_validator(mode="after")
    def _fits(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError(f"a message of role {self.role} has no content")
        if self.role != "assistant" and (self.tool_calls or self.reasoning_content):
            raise ValueError("tool_calls and reasoning_content belong to messages of role assistant")
        parts = self.content if isinstance(self.content, list) else ()
        if self.role not in ("user", "tool") and any(part.type != "text" for part in parts):
            raise ValueError(f"a message of role {self.role} holds a picture; expected pictures in messages of role user")
        return self


class Function(Body):
    """A function that may be called."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    description: str | None = Field(None, max_length=10_000)
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    """A function's name."""

    name: str = Field(min_length=1, max_length=64)


class NamedTool(Body):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Body):
    """A schema by name."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = Field(None, max_length=10_000)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """What a reply must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _fits(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError('json_schema is given with type "json_schema", and with no other')
        return self


class StreamOptions(Body):
    """What a stream tells besides."""

    include_usage: bool = False


class FrameOptions(Body):
    """How vLLM is told of a video's frames."""

    fps: float = Field(2.0, gt=0, le=60)
    do_sample_frames: bool = True


class ChatBody(Body):
    """A conversation to be continued."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "image_url", "image_url": {"url": EXAMPLE_PICTURE}},
                                {"type": "text", "text": "What is in this picture?"},
                            ],
                        }
                    ],
                    "max_tokens": 32,
                }
            ]
        }
    )
    model: str | None = Field(None, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1, le=1_000_000)  # -1, as vLLM writes it: all
    seed: int | None = Field(None, ge=0, lt=2**62)
    n: int = Field(1, ge=1)
    stop: (
        Annotated[str, Field(min_length=1, max_length=256)] | list[Annotated[str, Field(min_length=1, max_length=256)]] | None
    ) = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    mm_processor_kwargs: FrameOptions | None = None
    timeout_s: float | None = Field(None, gt=0)
    # No effect: who asks, and settings that change nothing at these values.
    user: str | None = Field(None, max_length=1_000)
    store: Literal[False] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    repetition_penalty: Annotated[float, Field(ge=1, le=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> ChatBody:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs is given without logprobs")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is given without stream")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice is given without tools")
        if isinstance(self.stop, list) and len(self.stop) > 16:
            raise ValueError(f"stop has {len(self.stop)} entries; expected at most 16")
        return self

    def asked(self, limits: Settings) -> dict[str, Any]:
        """What an engine's process reads, all but the messages. Raises OptionError beyond the server's limits."""
        most = self.max_completion_tokens or self.max_tokens
        if most is not None and most > limits.max_tokens:
            raise OptionError(f"max_tokens is {most}; this server allows {limits.max_tokens}")
        if self.n > limits.max_replies:
            raise OptionError(f"n is {self.n}; this server allows {limits.max_replies}")
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {
            "sampling": {
                "temperature": self.temperature,
                "top_p": self.top_p,
                "top_k": max(self.top_k, 0),
                "seed": secrets.randbits(31) if self.seed is None else self.seed,
                "max_new_tokens": most or min(1024, limits.max_tokens),
                "stop": stop,
                "n": self.n,
            },
            "schema": self.schema_wanted,
            "tools": [tool.model_dump(exclude_none=True) for tool in self.tools_offered],
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs or 0,
            "stream": self.stream,
            "max_frames": limits.max_frames,
        }

    @property
    def tools_offered(self) -> list[Tool]:
        """Those that may be called."""
        return [] if self.tool_choice == "none" else self.tools or []

    @property
    def forced(self) -> bool:
        """Whether the reply must be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The schema that the reply is held to: of a call that must be made, else of the format. Raises OptionError."""
        if self.forced:
            wanted = [tool.function for tool in self.tools or []]
            if isinstance(self.tool_choice, NamedTool):
                name = self.tool_choice.function.name
                wanted = [function for function in wanted if function.name == name]
                if not wanted:
                    raise OptionError(f"tool_choice names {name!r}, which is not among the tools")
            calls = [_call_schema(function) for function in wanted]
            return calls[0] if len(calls) == 1 else {"anyOf": calls}
        found = self.response_format
        if found is None or found.type == "text":
            return None
        return {"type": "object"} if found.json_schema is None else found.json_schema.schema_


def _call_schema(function: Function) -> dict[str, Any]:
    arguments = function.parameters or {"type": "object", "properties": {}}
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": arguments},
        "required": list(_CALL_PROPERTIES),
        "additionalProperties": False,
    }
