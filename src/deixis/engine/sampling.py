"""The next token of many streams at once, from their logits, on whatever device these are.

Knows logits, settings and masks. Does not know pages or text. The reference is `model.generate` (test): greedy is its argmax, and
a seed draws the same tokens as there, because `torch.multinomial` of one sample is the argmax of the probabilities over
exponential noise from the generator, and the noise is drawn on the CPU here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.engine.constrain import Held, fill_masks
from deixis.engine.ops import TorchOps, allowed_only
from deixis.engine.request import ALTERNATIVES
from deixis.engine.step import sent
from deixis.engine.stream import Stream
from deixis.errors import SchemaError


@dataclass(frozen=True, eq=False)
class Chosen:
    """What was chosen: `ids` (w,) int64 on the device, and `told` (w, 2 + 2 x alternatives) int32, on its way to the host:
    a row's id and log-probability, and the ids and log-probabilities of the likeliest; log-probabilities as their bits."""

    ids: Tensor
    told: Tensor
    told_at: torch.cuda.Event | None

    @classmethod
    def telling(cls, ids: Tensor, told: Tensor) -> Chosen:
        """Starts the copy to the host now: one that began when it is read would wait for the steps launched since."""
        if told.device.type != "cuda":
            return cls(ids, told, None)
        host = torch.empty(told.shape, dtype=told.dtype, pin_memory=True)
        host.copy_(told, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return cls(ids, host, event)

    def read(self) -> tuple[list[int], list[float], NDArray[np.int32], NDArray[np.float32]]:
        """ids, log-probabilities, ids of the likeliest (w, k), their log-probabilities (w, k). Waits for their step alone."""
        if self.told_at is not None:
            self.told_at.synchronize()
        told = self.told.numpy()
        count = (told.shape[1] - 2) // 2
        likeliest = told[:, 2 : 2 + count]
        return told[:, 0].tolist(), told[:, 1].view(np.float32).tolist(), likeliest, told[:, 2 + count :].view(np.float32)


Masks = Callable[[], tuple[Tensor, dict[int, SchemaError]]]
"""Waits for masks: bits (w, vocab/32) int32 on the host, as `fill_masks` writes them, and what went wrong in which row."""


def begin_masks(logits: Tensor, streams: Sequence[Stream]) -> Masks | None:
    """Compute, elsewhere and meanwhile, which tokens may come next in each row; None where no mask is needed."""
    # On the CPU a schema is asked about the network's first choices before a mask is computed: nearly always one of them may.
    held = {row: one for row, one in _held(streams).items() if logits.is_cuda or streams[row].generator is not None}
    if not held:
        return None
    bits = torch.empty(len(logits), -(-logits.shape[1] // 32), dtype=torch.int32, pin_memory=logits.is_cuda)
    masks, begun = bits.numpy(), threading.Event()

    def fill() -> dict[int, SchemaError]:
        begun.set()
        return fill_masks(held, masks)

    filled = _masker().submit(fill)
    begun.wait()  # else this thread would keep Python to itself, and nothing be computed meanwhile
    return lambda: (bits, filled.result())


def choose(
    logits: Tensor, streams: Sequence[Stream], refused: dict[int, SchemaError], ops: TorchOps, masks: Masks | None = None
) -> Chosen:
    """A token for each row of `logits` (w, vocab) float32; row i belongs to `streams[i]`.

    Rows of streams that are over are chosen for nobody. A row where a schema lets no token through goes to `refused`. A row of
    logits that are no numbers has a log-probability that is none. `masks` are those begun for the same rows, if they were.
    """
    live = [(row, stream) for row, stream in enumerate(streams) if not stream.over]
    drawn = [(row, stream) for row, stream in live if stream.generator is not None]
    alternatives = max((stream.sampling.alternatives for _, stream in live if stream.sampling.logprobs), default=0)
    on_cpu = logits.device.type == "cpu"
    asked = {row: one for row, one in _held(streams).items() if on_cpu and streams[row].generator is None}
    masks = masks or begin_masks(logits, streams)
    wanted = max(alternatives, ALTERNATIVES if asked else 1)
    values, indices, total = ops.likeliest(logits, min(wanted, logits.shape[1]))
    bits: Tensor | None = None
    if masks is not None:
        on_host, wrong = masks()
        refused |= wrong
        bits = on_host.to(logits.device, non_blocking=True)
    # Of equal logits the first counts, as in the reference: `topk` on the CPU promises no order among them, the kernel does.
    if bits is not None:
        ids = ops.best_allowed(logits, bits)
    else:
        ids = logits.argmax(-1) if on_cpu else indices[:, 0].contiguous()
    for row, one in asked.items():
        try:
            ids[row] = one.likeliest(indices[row].tolist(), logits[row])
        except SchemaError as error:
            refused[row] = error
    if drawn:
        rows = sent(torch.tensor([row for row, _ in drawn]), logits.device)
        scores = logits[rows] if bits is None else allowed_only(logits[rows], bits[rows])
        ids.index_copy_(0, rows, _drawn(scores, [stream for _, stream in drawn]))
    if on_cpu or bits is not None or drawn:
        best = logits.gather(1, ids.unsqueeze(1)) - total.unsqueeze(1)
    else:
        best = values[:, :1].contiguous()
    parts = [ids.unsqueeze(1).int(), best.view(torch.int32)]
    if alternatives:
        parts += [indices[:, :alternatives].int(), values[:, :alternatives].contiguous().view(torch.int32)]
    return Chosen.telling(ids, torch.cat(parts, 1))


def _held(streams: Sequence[Stream]) -> dict[int, Held]:
    return {row: stream.held for row, stream in enumerate(streams) if stream.held is not None and not stream.over}


@cache
def _masker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="masks")


def distributions(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Probabilities (w, vocab) that sampling draws from: `model.distribution` of each row.

    `logits` (w, vocab) float32; `temperature` (w,) above 0; `top_k` (w,) int64, 0 for all; `top_p` (w,).
    """
    ordered, order = (logits / temperature.unsqueeze(1)).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    cut = (rank >= top_k.unsqueeze(1)) & (top_k.unsqueeze(1) > 0)
    kept = ordered.masked_fill(cut, float("-inf")).softmax(-1)
    # Everything up to and including the token that reaches top_p; the first in any case, however small a float32 makes it.
    beyond = (kept.cumsum(-1) - kept >= top_p.unsqueeze(1)) & (top_p.unsqueeze(1) < 1) & (rank > 0)
    kept = kept.masked_fill(beyond, 0)
    return torch.zeros_like(logits).scatter(1, order, kept / kept.sum(-1, keepdim=True))


def generator_of(stream: Stream, vocab: int) -> torch.Generator:
    """What a stream's next token is drawn with, after those it has said."""
    generator = torch.Generator().manual_seed(stream.sampling.seed + stream.index)
    for _ in range(stream.said):
        torch.empty(vocab).exponential_(generator=generator)
    return generator


def _drawn(logits: Tensor, streams: Sequence[Stream]) -> Tensor:
    """A token for each row by its stream's settings and generator."""
    asked = [stream.sampling for stream in streams]
    temperature = _column([one.temperature for one in asked], logits)
    if all(one.top_k == 0 and one.top_p == 1 for one in asked):
        probabilities = (logits / temperature.unsqueeze(1)).softmax(-1)
    else:
        top_k = sent(torch.tensor([one.top_k for one in asked]), logits.device)
        probabilities = distributions(logits, temperature, top_k, _column([one.top_p for one in asked], logits))
    noise = torch.stack([torch.empty(logits.shape[1]).exponential_(generator=stream.generator) for stream in streams])
    return (probabilities / sent(noise, logits.device)).argmax(-1)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return sent(torch.tensor(values, dtype=torch.float32), like.device)
