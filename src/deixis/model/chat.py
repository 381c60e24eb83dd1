"""Conversations through a checkpoint's chat template.

Knows roles, message parts and Jinja. Does not know token ids or pixels. Templates come with downloaded checkpoints, so they run
in Jinja's sandbox. Source: transformers 5.17 ``chat_template_utils.py`` (environment, ``tojson``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox

from deixis.errors import CheckpointError, InputError
from deixis.model.tokenizer import Shield

Message = Mapping[str, Any]
"""``{"role", "content"}``: content is text or a list of parts ``{"type": "text" | "image" | "video", …}``. An assistant's may
have ``tool_calls`` and ``reasoning_content``."""

ROLES = ("system", "user", "assistant", "tool")
TRUSTED_ROLES = ("system", "assistant")

_PARTS = {"text": {"type", "text"}, "image": {"type", "image"}, "video": {"type", "frames", "timestamps_s"}}
_KEYS = {role: {"role", "content"} for role in ROLES}
_KEYS["assistant"] |= {"tool_calls", "reasoning_content"}
_KEYS["tool"] |= {"name", "tool_call_id"}  # OpenAI's clients send them; the calls' order says the same


class ChatTemplate:
    """One compiled template."""

    def __init__(self, source: str) -> None:
        """Raises CheckpointError where the source is not a template."""
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # local, as in transformers
        self.source = source
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template cannot be compiled ({error}): fetch the checkpoint again") from error

    @classmethod
    def from_directory(cls, directory: Path) -> ChatTemplate:
        """The template of a checkpoint: ``chat_template.jinja``, else ``chat_template.json``, else ``tokenizer_config.json``."""
        plain = directory / "chat_template.jinja"
        if plain.is_file():
            return cls(plain.read_text(encoding="utf-8"))
        for name in ("chat_template.json", "tokenizer_config.json"):
            if (directory / name).is_file():
                found = read_json(directory / name).get("chat_template")
                if isinstance(found, list):  # several named ones
                    found = {str(t.get("name")): t.get("template") for t in found if isinstance(t, Mapping)}.get("default")
                if isinstance(found, str):
                    return cls(found)
        raise CheckpointError(f"{directory} has no chat template, expected chat_template.jinja: fetch the checkpoint again")

    @classmethod
    def builtin(cls) -> ChatTemplate:
        """The template that this package writes into its own checkpoints."""
        return cls(builtin_template())

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None, add_generation_prompt: bool
    ) -> str:
        """The conversation as the text that is tokenized. Raises InputError with the template's own words where it refuses."""
        try:
            return self._template.render(messages=messages, tools=tools or None, add_generation_prompt=add_generation_prompt)
        except jinja2.TemplateError as error:
            raise InputError(f"the chat template refuses this conversation: {error}") from error


def builtin_template() -> str:
    """Source of the ChatML template in this package, equal in behaviour to Qwen3-VL's."""
    return (resources.files("deixis.model") / "chat_template.jinja").read_text(encoding="utf-8")


def check_messages(messages: Sequence[Message]) -> None:
    """Raise InputError for a message that would be read wrongly or not at all."""
    if not messages:
        raise InputError("the conversation is empty, expected at least one message")
    for i, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            raise InputError(f"message {i} has role {role!r}, expected one of {', '.join(ROLES)}")
        if unknown := set(message) - _KEYS[role]:
            raise InputError(f"message {i} has unknown field(s) {sorted(unknown)}, expected {sorted(_KEYS[role])}")
        content = message.get("content")
        if content is None and role == "assistant" and message.get("tool_calls"):
            continue
        if isinstance(content, str):
            continue
        if not isinstance(content, Sequence):
            raise InputError(f"message {i} has content of type {type(content).__name__}, expected text or a list of parts")
        for part in content:
            _check_part(i, role, part)


def parts_of(messages: Sequence[Message], kind: str) -> Iterator[Mapping[str, Any]]:
    """All message parts of one type, in the order in which they stand."""
    for message in messages:
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            yield from (part for part in content if part["type"] == kind)


def texts_of(value: object) -> Iterator[str]:
    """Every string in a nest of mappings and lists, keys included; pictures are passed over."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts_of(key)
            yield from texts_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner)


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The same nest with every string, keys included, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {map_texts(key, change): map_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(inner, change) for inner in value]
    return value


def for_template(message: Message, shield: Shield) -> dict[str, Any]:
    """A message as templates expect it: pictures without their pixels, the sender's strings shielded."""
    trusted = message["role"] in TRUSTED_ROLES
    content = message.get("content")
    given: dict[str, Any] = {"role": message["role"], "content": ""}
    if isinstance(content, str):
        given["content"] = shield(content, trusted=trusted)
    elif content is not None:
        given["content"] = [
            {"type": "text", "text": shield(part["text"], trusted=trusted)} if part["type"] == "text" else {"type": part["type"]}
            for part in content
        ]
    for key in ("tool_calls", "reasoning_content"):
        if message.get(key) is not None:
            given[key] = map_texts(message[key], lambda text: shield(text, trusted=False))
    return given


def split_thinking(text: str) -> tuple[str, str]:
    """(thinking, answer) of a reply. Without ``</think>`` everything is answer, unless ``<think>`` was opened and cut off."""
    thinking, closed, answer = text.rpartition("</think>")
    if closed:
        return thinking.removeprefix("<think>").strip(), answer.strip()
    if text.lstrip().startswith("<think>"):
        return text.lstrip().removeprefix("<think>").strip(), ""
    return "", text.strip()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a checkpoint's JSON file. Raises CheckpointError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}): fetch the checkpoint again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, expected an object: fetch the checkpoint again")
    return value


def _check_part(i: int, role: str, part: object) -> None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or kind not in _PARTS:
        raise InputError(f"message {i} has a part of type {kind!r}, expected one of {', '.join(_PARTS)}")
    if set(part) != _PARTS[kind]:
        raise InputError(f"message {i} has a {kind} part with fields {sorted(part)}, expected {sorted(_PARTS[kind])}")
    if kind == "text" and not isinstance(part["text"], str):
        raise InputError(f"message {i} has a text part of type {type(part['text']).__name__}, expected text")
    if kind != "text" and role not in ("user", "tool"):
        raise InputError(f"message {i} is from {role!r} and holds a {kind}, expected pictures from 'user' or 'tool' only")


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes < > & for HTML and non-ASCII letters: not what the checkpoints were trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
