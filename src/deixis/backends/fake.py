"""A scripted model for tests and for trying things out: public, beside the protocol it fakes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from deixis.backends.base import Completion, Conversation, ModelCard, Schema, TokenProb
from deixis.errors import BackendError

Script = Mapping[str, str | Completion] | Sequence[str | Completion] | Callable[[Conversation], str | Completion]

_TOKEN = re.compile(r"\d|[^\W\d_]+|\s+|.", re.DOTALL)  # digits single, as in Qwen's tokenizer


def completion_of(text: str, *, probability: float = 0.9, model: str = "fake") -> Completion:
    """`text` as a completion whose every token has the given probability (digits are single tokens)."""
    logprob = math.log(probability)
    return Completion(text, tuple(TokenProb(piece, logprob) for piece in _TOKEN.findall(text)), model=model)


class FakeBackend:
    """Answers from a script and keeps the conversations it was given in `asked`.

    The script is a mapping (the longest key that occurs in the conversation's text decides; "" is the default), a sequence
    (one reply a call), or a function. A text becomes a completion with probability `probability` a token. `schemas` holds the
    schema of each request, or None.
    """

    def __init__(self, script: Script, *, card: ModelCard | None = None, probability: float = 0.9) -> None:
        self._script = script
        self._card = card or ModelCard("fake", "scripted")
        self._probability = probability
        self.asked: list[Conversation] = []
        self.schemas: list[Schema | None] = []

    @property
    def card(self) -> ModelCard:
        return self._card

    def complete(
        self, conversation: Conversation, *, max_new_tokens: int, temperature: float = 0.0, schema: Schema | None = None
    ) -> Completion:
        """The scripted reply; a limit, a temperature or a schema changes nothing in a script."""
        del max_new_tokens, temperature
        self.schemas.append(schema)
        self.asked.append(conversation)
        reply = self._reply(conversation)
        if isinstance(reply, str):
            reply = completion_of(reply, probability=self._probability, model=self._card.name)
        return reply

    def _reply(self, conversation: Conversation) -> str | Completion:
        if callable(self._script):
            return self._script(conversation)
        if isinstance(self._script, Mapping):
            found = [key for key in self._script if key in conversation.text]
            if found:
                return self._script[max(found, key=len)]
            raise BackendError(f"the script has no reply to {conversation.text!r}: add a key that occurs in it, or ''")
        if len(self.asked) > len(self._script):
            raise BackendError(f"the script has {len(self._script)} replies, and this is request {len(self.asked)}")
        return self._script[len(self.asked) - 1]
