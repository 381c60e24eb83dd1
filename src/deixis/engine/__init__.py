"""Local inference: many requests through one checkpoint, each picture and each shared beginning paid for once."""

from deixis.engine.attention import Attention, AttentionTap
from deixis.engine.constrain import can_constrain
from deixis.engine.engine import Engine
from deixis.engine.local import LocalEngine
from deixis.engine.request import EngineStats, Reply, Sampling, Token
from deixis.engine.settings import EngineSettings
from deixis.engine.ticket import Ticket

__all__ = [
    "Attention",
    "AttentionTap",
    "Engine",
    "EngineSettings",
    "EngineStats",
    "LocalEngine",
    "Reply",
    "Sampling",
    "Ticket",
    "Token",
    "can_constrain",
]
