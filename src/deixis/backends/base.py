"""One protocol for every model: a conversation goes in, text with token probabilities comes out.

Knows what a conversation and a completion are. Does not know what is asked, nor how a model computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]


@dataclass(frozen=True, eq=False)
class Turn:
    """One message: the parts stand in the order in which the model reads them. A part is text or a picture (h, w, 3) uint8."""

    role: Role
    parts: tuple[str | Pixels, ...]


@dataclass(frozen=True, eq=False)
class Conversation:
    """What a model is asked, independent of any chat template."""

    turns: tuple[Turn, ...]

    @classmethod
    def about(cls, pixels: Pixels, text: str) -> Conversation:
        """The commonest conversation: one picture (h, w, 3), one request."""
        return cls((Turn("user", (pixels, text)),))

    @property
    def text(self) -> str:
        """All text of the conversation, for logs and scripted answers."""
        return "\n".join(part for turn in self.turns for part in turn.parts if isinstance(part, str))

    def to_messages(self) -> list[dict[str, Any]]:
        """Qwen-style messages, as `deixis.model.Processor.encode` reads them."""
        return [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part}
                    for part in turn.parts
                ],
            }
            for turn in self.turns
        ]


@dataclass(frozen=True)
class TokenProb:
    """One generated token: its own text, its natural-log probability, and the likeliest tokens that stood at its place.

    `top` is empty where the server gives no alternatives. The texts of a completion's tokens, joined, are its text.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """A model's reply. `tokens` is empty where a server gives no probabilities. `reasoning` is what stood before `</think>`."""

    text: str
    tokens: tuple[TokenProb, ...] = ()
    finish: Finish = "stop"
    model: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    reasoning: str = ""

    def split(self) -> Completion:
        """The same reply with everything up to `</think>` moved to `reasoning`, token by token."""
        head, mark, tail = self.text.rpartition("</think>")
        if not mark:
            return self
        answer = tail.lstrip("\n")
        at, skip = 0, len(self.text) - len(answer)
        tokens = []
        for token in self.tokens:
            at += len(token.text)
            if at > skip:
                tokens.append(replace(token, text=token.text[-(at - skip) :]) if at - len(token.text) < skip else token)
        reasoning = self.reasoning or head.removeprefix("<think>").strip("\n")
        return replace(self, text=answer, tokens=tuple(tokens), reasoning=reasoning)


@dataclass(frozen=True)
class ModelCard:
    """What an answer must say of the model behind it.

    `why` tells how the model was chosen. `virtual_focal` is the focal length of the camera in which the model answers
    3D questions, over the longer side of the picture; None where it is not known. `knows` names what the model was
    trained to see ("rendered worlds"), empty for a general one. A `thinking` model reasons before it answers, and needs
    room for that.
    """

    name: str
    why: str = "named by the caller"
    virtual_focal: float | None = None
    knows: str = ""
    thinking: bool = False


@runtime_checkable
class Backend(Protocol):
    """Anything that completes a conversation. Raises BackendError where the model or its server fails."""

    @property
    def card(self) -> ModelCard: ...

    def complete(self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0) -> Completion: ...
