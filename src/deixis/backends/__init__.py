"""One protocol for every model, and the way from a model's name to it."""

from deixis.backends.base import (
    Backend,
    Clip,
    Completion,
    Conversation,
    Look,
    Looking,
    ModelCard,
    Pixels,
    Schema,
    TokenProb,
    Turn,
)
from deixis.backends.fake import FakeBackend, completion_of
from deixis.backends.registry import resolve_model
from deixis.backends.tokens import TokenTexts, tokens_under

__all__ = [
    "Backend",
    "Clip",
    "Completion",
    "Conversation",
    "FakeBackend",
    "Look",
    "Looking",
    "ModelCard",
    "Pixels",
    "Schema",
    "TokenProb",
    "TokenTexts",
    "Turn",
    "completion_of",
    "resolve_model",
    "tokens_under",
]
