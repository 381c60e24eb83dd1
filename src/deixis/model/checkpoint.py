"""A checkpoint directory, opened: config, network with its weights, processor, stop tokens.

Knows the directory's layout. Does not know where directories come from (hub ids and names are the backends' matter).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deixis.errors import CheckpointError
from deixis.model.chat import read_json
from deixis.model.config import Qwen3VLConfig
from deixis.model.processor import Processor
from deixis.model.qwen3vl import Qwen3VL
from deixis.model.tokenizer import Tokenizer
from deixis.model.weights import empty_model, load_weights

# Up to here a CPU computes in float32, which it does fastest; beyond, memory decides for bfloat16.
FLOAT32_PARAMETERS = 1_000_000_000


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to answer with one checkpoint."""

    directory: Path
    config: Qwen3VLConfig
    model: Qwen3VL
    processor: Processor
    stop_ids: frozenset[int]


def open_checkpoint(directory: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Checkpoint:
    """Load a Qwen3-VL checkpoint directory.

    ``dtype`` None means bfloat16, on the CPU float32 for networks of at most FLOAT32_PARAMETERS.
    Raises CheckpointError for a directory that is not a whole Qwen3-VL checkpoint.
    """
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"{directory} has no config.json, expected a Qwen3-VL checkpoint directory: check the path")
    config = Qwen3VLConfig.from_dict(read_json(directory / "config.json"))
    processor = Processor.from_directory(directory, config)
    model = empty_model(config)
    if dtype is None:
        small = sum(p.numel() for p in model.parameters()) <= FLOAT32_PARAMETERS
        dtype = torch.float32 if small and torch.device(device).type == "cpu" else torch.bfloat16
    load_weights(model, directory, dtype=dtype, device=device)
    return Checkpoint(directory, config, model, processor, stop_ids(directory, processor.tokenizer))


def stop_ids(directory: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that end an answer: ``generation_config.json``'s ``eos_token_id``, else ``<|im_end|>`` and ``<|endoftext|>``."""
    path = directory / "generation_config.json"
    found: Any = read_json(path).get("eos_token_id") if path.is_file() else None
    if found is None:
        found = [number for name in ("<|im_end|>", "<|endoftext|>") if (number := tokenizer.token_id(name)) is not None]
    ids = frozenset(int(i) for i in (found if isinstance(found, Iterable) else [found]))
    if not ids:
        raise CheckpointError(f"{directory} names no token that ends an answer, expected eos_token_id in {path.name}")
    return ids
