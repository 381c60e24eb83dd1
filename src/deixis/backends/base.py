"""One protocol for every model: a conversation goes in, text with token probabilities comes out.

Knows what a conversation and a completion are. Does not know what is asked, nor how a model computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from deixis.errors import PictureError
from deixis.geometry import FrontAxis

Pixels = npt.NDArray[np.uint8]
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]
Schema = Mapping[str, Any]  # a JSON schema that a reply must match

THINKING_TOKENS = 8_192  # on top of an answer's, for models that reason first


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video, each (h, w, 3) uint8 and all of one size, with their times. Raises PictureError where they differ."""

    frames: tuple[Pixels, ...]
    timestamps_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """See the class."""
        if len(self.frames) != len(self.timestamps_s) or len(self.frames) < 2:
            raise PictureError(
                f"the clip has {len(self.frames)} frames and {len(self.timestamps_s)} times; expected at least two of each"
                " (show a single frame as a picture)"
            )
        if len(shapes := {frame.shape for frame in self.frames}) > 1:
            raise PictureError(f"the clip's frames have shapes {sorted(shapes)}; expected all of one size")


Part = str | Pixels | Clip


@dataclass(frozen=True, eq=False)
class Turn:
    """One message: the parts stand in the order in which the model reads them: text, a picture (h, w, 3) uint8, or a clip."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Conversation:
    """What a model is asked, independent of any chat template."""

    turns: tuple[Turn, ...]

    @classmethod
    def about(cls, shown: Pixels | Clip, text: str) -> Conversation:
        """The commonest conversation: one picture (h, w, 3) or clip, one request."""
        return cls((Turn("user", (shown, text)),))

    @property
    def text(self) -> str:
        """All text of the conversation, for logs and scripted answers."""
        return "\n".join(part for turn in self.turns for part in turn.parts if isinstance(part, str))

    def to_messages(self) -> list[dict[str, Any]]:
        """Qwen-style messages, as `deixis.model.Processor.encode` reads them."""
        return [
            {
                "role": turn.role,
                "content": [_message_part(part) for part in turn.parts],
            }
            for turn in self.turns
        ]


def _message_part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Clip):
        return {"type": "video", "frames": part.frames, "timestamps_s": part.timestamps_s}
    return {"type": "image", "image": part}


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
        reasoning = self.reasoning or head.removeprefix("<think>").strip("\n")
        return replace(self.cut(len(self.text) - len(tail.lstrip("\n")), len(self.text)), reasoning=reasoning)

    def cut(self, start: int, end: int) -> Completion:
        """The same reply with text[start:end] alone; a token that reaches over the border keeps its part."""
        tokens, at = [], 0
        for token in self.tokens:
            low, high = max(start - at, 0), min(end - at, len(token.text))
            if low < high:
                tokens.append(replace(token, text=token.text[low:high]))
            at += len(token.text)
        return replace(self, text=self.text[start:end], tokens=tuple(tokens))


@dataclass(frozen=True)
class ModelCard:
    """What an answer must say of the model behind it.

    `why` tells how the model was chosen. `virtual_focal` is the focal length of the camera in which the model answers
    3D questions, over the longer side of the picture; None where it is not known. `knows` names what the model was
    trained to see ("rendered worlds"), empty for a general one. A `thinking` model reasons before it answers, and needs
    room for that. `box_front` is the axis of its 3D boxes on which an object's front lies; None where their heading does not
    tell a front from a back or a side. `directory` is where a local checkpoint lies, and what was measured of it beside it.
    `identity` is the same for the same weights or the same served model and for no other; "" where nothing measured is to be
    kept. `sizes` are the (width, height) of pictures that a model knows, where it knows only these: what it is shown is resized
    to the one of nearest shape, which changes none of its relative coordinates. `words` are the (English, Chinese) names of what
    it knows, where it knows only these. `enforces_schema`: a schema given to `complete` binds the reply; elsewhere it is not
    used at all.
    """

    name: str
    why: str = "named by the caller"
    virtual_focal: float | None = None
    knows: str = ""
    thinking: bool = False
    box_front: FrontAxis | None = None
    directory: Path | None = None
    identity: str = ""
    enforces_schema: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    words: tuple[tuple[str, str], ...] = ()

    def room_for(self, tokens: int) -> int:
        """So many tokens for the answer, and more for a model that reasons first."""
        return tokens + THINKING_TOKENS if self.thinking else tokens


@runtime_checkable
class Backend(Protocol):
    """Anything that completes a conversation. Raises BackendError where the model or its server fails."""

    @property
    def card(self) -> ModelCard: ...

    def complete(
        self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0, schema: Schema | None = None
    ) -> Completion:
        """The model's reply. It matches `schema` where the card says that schemas are enforced."""


@dataclass(frozen=True, eq=False)
class Look:
    """Where a model looked in a conversation's first picture while it replied, by patches; the grid covers the whole picture.

    `answer` (layers, tokens, rows, columns) is the attention of the reply's tokens, `unasked` (layers, rows, columns) that of a
    token which had read no question yet. Both are means over heads.
    """

    reply: str
    answer: npt.NDArray[np.float32]
    unasked: npt.NDArray[np.float32]


@runtime_checkable
class Looking(Protocol):
    """A backend that holds its model's weights, and so can say where it looked."""

    def look(self, conversation: Conversation, *, max_new_tokens: int) -> Look: ...
