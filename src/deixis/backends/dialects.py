"""How servers differ where OpenAI's protocol says nothing: replies held to a schema, and a video's frames.

Knows vLLM's, SGLang's and Deixis' own fields. Does not send anything. Sources: vLLM's `structured_outputs` and
`mm_processor_kwargs` (QwenLM/Qwen3-VL pull request 1644), SGLang's `response_format`; SGLang's frame rate is its server's own
(`--mm-process-config`), so that frames travel to it as pictures, each behind its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]


def _response_format(schema: Mapping[str, Any]) -> Fields:
    named = {"name": "reply", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _structured_outputs(schema: Mapping[str, Any]) -> Fields:
    return {"structured_outputs": {"json": dict(schema)}}


def _frame_rate(fps: float) -> Fields:
    return {"mm_processor_kwargs": {"fps": fps, "do_sample_frames": True}}


@dataclass(frozen=True)
class Dialect:
    """`schema` are the fields that hold a reply to a schema; `frames` those that set a video's rate, None where videos travel as
    pictures with times."""

    name: str
    schema: Callable[[Mapping[str, Any]], Fields] = _response_format
    frames: Callable[[float], Fields] | None = None


OPENAI = Dialect("openai")
DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect("vllm", _structured_outputs, _frame_rate),
    "sglang": Dialect("sglang"),
    "deixis": Dialect("deixis", _response_format, _frame_rate),
}


def dialect_of(listing: object) -> Dialect:
    """By who owns the models that `GET /models` lists; OpenAI's own for whoever is not known."""
    rows = listing.get("data") if isinstance(listing, Mapping) else None
    owners = {str(row.get("owned_by")).lower() for row in rows if isinstance(row, Mapping)} if isinstance(rows, list) else set()
    return next((DIALECTS[owner] for owner in sorted(owners) if owner in DIALECTS), OPENAI)
