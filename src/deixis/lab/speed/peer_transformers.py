"""transformers' rows of the table: a program of its own, whose memory goes when it ends.

`python -m deixis.lab.speed.peer_transformers FOLDER ASKING.json DEVICE DTYPE`: each row goes to standard output as a line of JSON
as it is measured. Pictures and texts are prepared by this house's processor, whose ids are transformers' own and which is faster,
inside the time as everywhere. transformers keeps nothing between calls, so a second question costs what the first does, and
requests come one after another.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from deixis.lab.speed.asked import read_calls
from deixis.lab.speed.asking import Asking, picture, question
from deixis.lab.speed.machine import timed_s
from deixis.lab.speed.peer_vllm import tell
from deixis.model import Processor

MOST_REQUESTS = 8  # of a burst: the others would take as long each
_BLOCK = 2**20


def main(folder: str, asking_file: str, device_name: str, dtype_name: str, calls: str = "") -> None:
    """Measure and tell; with a folder of `calls` (asked.py), how long these take too."""
    plan = Asking(**json.loads(Path(asking_file).read_text(encoding="utf-8")))
    device, dtype = torch.device(device_name), getattr(torch, dtype_name)
    transformers = import_module("transformers")
    tell("version", transformers.__version__)
    model = loaded(transformers, Path(folder), device, dtype)
    processor = Processor.from_directory(folder)
    image_id = processor.config.image_token_id
    numbers = itertools.count(10_000)

    def asked(pixels: Any, row: str, tokens: int) -> None:
        parts = [{"type": "image", "image": pixels}, {"type": "text", "text": question(next(numbers), row)}]
        answered([{"role": "user", "content": parts}], tokens)

    def answered(messages: list[dict[str, Any]], tokens: int) -> None:
        inputs = processor.encode(messages)
        assert inputs.patches is not None
        ids = inputs.input_ids[None].to(device)
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=inputs.patches.to(device, dtype),
            image_grid_thw=torch.tensor(inputs.image_grids, device=device),
            mm_token_type_ids=(ids == image_id).int(),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )

    def new_picture() -> Any:
        return picture(next(numbers), plan.side_px)

    def took_s(pixels: Any, row: str, tokens: int) -> float:
        return timed_s(lambda: asked(pixels, row, tokens), device)

    median = statistics.median
    # Where one burst is enough for this house, one answer of the peer takes minutes.
    repeats, count = (1, 1) if plan.burst_repeats == 1 else (plan.repeats, min(plan.requests, MOST_REQUESTS))
    with torch.inference_mode():
        if plan.burst_repeats > 1:
            took_s(new_picture(), "warm", 2)
        if calls:
            known = read_calls(Path(calls))

            def all_calls() -> None:
                for messages, tokens in known:
                    answered(messages, tokens)

            tell("ask", 1e3 * median([timed_s(all_calls, device) for _ in range(plan.burst_repeats)]))
        tell("first", 1e3 * median([took_s(new_picture(), "first", 1) for _ in range(repeats)]))
        same = new_picture()
        tell("second", 1e3 * median([took_s(same, "second", 1) for _ in range(repeats)]))
        short = median([took_s(same, "decode", 1) for _ in range(plan.burst_repeats)])
        long = median([took_s(same, "decode", 1 + plan.decode_tokens) for _ in range(plan.burst_repeats)])
        tell("decode", plan.decode_tokens / (long - short))
        for row in ("many", "one"):
            times = [took_s(same if row == "one" else new_picture(), row, plan.request_tokens) for _ in range(count)]
            tell(row, count / sum(times))


@torch.no_grad()
def loaded(transformers: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """nano's weights, or random ones where the folder has none; drawing is skipped, the same numbers are used over and over."""
    kind = transformers.Qwen3VLForConditionalGeneration
    if any(folder.glob("*.safetensors")):
        model = kind.from_pretrained(folder, dtype=dtype).to(device)
    else:
        config = transformers.Qwen3VLConfig.from_pretrained(folder)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        undone = [_silenced(name) for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_")]
        try:
            with device:
                model = kind(config)
        finally:
            torch.set_default_dtype(before)
            for name, original in undone:
                setattr(torch.nn.init, name, original)
        block = torch.empty(_BLOCK, device=device).normal_(0, 0.02).to(dtype)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1 if "norm" in name and name.endswith("weight") else 0)
                continue
            for piece in parameter.view(-1).split(_BLOCK):
                piece.copy_(block[: len(piece)])
        model = model.to(dtype)
    with suppress(AttributeError):
        model.generation_config.eos_token_id = None  # so many tokens are made, whatever they say
    return model.eval()


def _silenced(name: str) -> tuple[str, Any]:
    original = getattr(torch.nn.init, name)
    setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    return name, original


if __name__ == "__main__":
    main(*sys.argv[1:])
