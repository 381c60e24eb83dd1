"""Local inference: one conversation at a time, each picture seen once."""

from deixis.engine.attention import Attention, AttentionTap
from deixis.engine.constrain import can_constrain
from deixis.engine.local import LocalEngine, Reply

__all__ = ["Attention", "AttentionTap", "LocalEngine", "Reply", "can_constrain"]
