"""How an engine is set up: memory, page size, rows of a step.

Knows budgets. Does not know requests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from deixis.engine.step import PAGE_TOKENS, KVPages
from deixis.errors import OptionError
from deixis.model import TextConfig

_CUDA_SHARE = 0.7  # of what is free once the weights are there: steps and pictures need the rest
_CPU_SHARE = 1 / 8  # of the machine's memory
_CPU_CONTEXTS = 4  # full contexts; more would only fill memory with what nobody asks for again


@dataclass(frozen=True)
class EngineSettings:
    """Memory for keys and values (None: a share of what is free) in pages of `page_tokens`; most rows of a step, most rows of
    one prompt in a step, most replies at a time, most that may wait (each holds its pictures); memory for the ViT's features of
    recent pictures; whether beginnings are shared; whether a step is launched before the one before is read (None: on a GPU).
    Raises OptionError for values out of range."""

    kv_bytes: int | None = None
    page_tokens: int = PAGE_TOKENS
    max_rows: int = 4096
    chunk_rows: int = 2048
    max_streams: int = 256
    max_waiting: int = 1024
    vision_cache_bytes: int = 256 * 2**20
    prefix_cache: bool = True
    overlap: bool | None = None

    def __post_init__(self) -> None:
        for name in ("page_tokens", "max_rows", "chunk_rows", "max_streams", "max_waiting"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.vision_cache_bytes < 0:
            raise OptionError(f"vision_cache_bytes is {self.vision_cache_bytes}, expected 0 or more")
        if self.max_streams > self.max_rows:
            raise OptionError(f"max_streams is {self.max_streams} and max_rows {self.max_rows}: each stream needs a row")

    def page_bytes(self, config: TextConfig, dtype: torch.dtype) -> int:
        """What a page costs."""
        return KVPages.page_bytes(config, dtype, self.page_tokens)

    def pages(self, config: TextConfig, dtype: torch.dtype, device: torch.device) -> int:
        """Pages that the memory holds. Raises OptionError for fewer than one."""
        page = self.page_bytes(config, dtype)
        most = self.kv_bytes
        if most is None and device.type == "cuda":
            most = int(torch.cuda.mem_get_info(device)[0] * _CUDA_SHARE)
        elif most is None:
            contexts = _CPU_CONTEXTS * config.max_position_embeddings * page // self.page_tokens
            most = min(int(_machine_bytes() * _CPU_SHARE), contexts)
        if most < page:
            raise OptionError(f"kv_bytes is {most} and one page of {self.page_tokens} tokens needs {page}: give more memory")
        return most // page


def _machine_bytes() -> int:
    """The machine's memory; where the system does not tell, little is assumed."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 8 * 2**30
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
