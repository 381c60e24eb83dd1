"""The next token of many streams at once, from their logits, on whatever device these are.

Knows logits, settings and masks. Does not know pages or text. The reference is `model.generate` (test): greedy is its argmax, and
a seed draws the same tokens as there, because `torch.multinomial` of one sample is the argmax of the probabilities over
exponential noise from the generator, and the noise is drawn on the CPU here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.engine.constrain import Held, bits_of
from deixis.engine.ops import TorchOps
from deixis.engine.request import ALTERNATIVES
from deixis.engine.step import sent
from deixis.engine.stream import Stream
from deixis.errors import SchemaError

_BITS = 8


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


def choose(logits: Tensor, streams: Sequence[Stream], refused: dict[int, SchemaError], ops: TorchOps) -> Chosen:
    """A token for each row of `logits` (w, vocab) float32; row i belongs to `streams[i]`.

    Rows of streams that are over are chosen for nobody. A row where a schema lets no token through goes to `refused`. A row of
    logits that are no numbers has a log-probability that is none.
    """
    live = [(row, stream) for row, stream in enumerate(streams) if not stream.over]
    held = {row: stream.held for row, stream in live if stream.held is not None}
    drawn = [(row, stream) for row, stream in live if stream.generator is not None]
    alternatives = max((stream.sampling.alternatives for _, stream in live if stream.sampling.logprobs), default=0)
    on_cpu = logits.device.type == "cpu"
    # On the CPU a schema is asked about the network's first choices before a mask is computed: nearly always one of them may.
    asked = {row: one for row, one in held.items() if on_cpu and streams[row].generator is None}
    wanted = max(alternatives, ALTERNATIVES if asked else 1)
    values, indices, total = ops.likeliest(logits, min(wanted, logits.shape[1]))
    masked = {row: one for row, one in held.items() if row not in asked}
    allowed = _masked(logits, masked, refused) if masked else logits
    # Of equal logits the first counts, as in the reference: `topk` on the CPU promises no order among them, the kernel does.
    ids = allowed.argmax(-1) if masked or on_cpu else indices[:, 0].clone()
    for row, one in asked.items():
        try:
            ids[row] = one.likeliest(indices[row].tolist(), logits[row])
        except SchemaError as error:
            refused[row] = error
    if drawn:
        rows = sent(torch.tensor([row for row, _ in drawn]), logits.device)
        ids.index_copy_(0, rows, _drawn(allowed[rows], [stream for _, stream in drawn]))
    best = logits.gather(1, ids.unsqueeze(1)) - total.unsqueeze(1)
    parts = [ids.unsqueeze(1).int(), best.view(torch.int32)]
    parts += [indices[:, :alternatives].int(), values[:, :alternatives].contiguous().view(torch.int32)]
    return Chosen.telling(ids, torch.cat(parts, 1))


def distributions(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Probabilities (w, vocab) that sampling draws from: `model.distribution` of each row.

    `logits` (w, vocab) float32; `temperature` (w,) above 0; `top_k` (w,) int64, 0 for all; `top_p` (w,).
    """
    ordered, order = (logits / temperature.unsqueeze(1)).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    cut = (rank >= top_k.unsqueeze(1)) & (top_k.unsqueeze(1) > 0)
    kept = ordered.masked_fill(cut, float("-inf")).softmax(-1)
    # Everything up to and including the token that reaches top_p.
    beyond = (kept.cumsum(-1) - kept >= top_p.unsqueeze(1)) & (top_p.unsqueeze(1) < 1)
    kept = kept.masked_fill(beyond, 0)
    return torch.zeros_like(logits).scatter(1, order, kept / kept.sum(-1, keepdim=True))


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


def _masked(logits: Tensor, held: Mapping[int, Held], refused: dict[int, SchemaError]) -> Tensor:
    """Logits with -inf for every token that a row's schema does not let come next."""
    rows: list[int] = []
    masks: list[NDArray[np.uint8]] = []
    for row, found in zip(held, bits_of(list(held.values())), strict=True):
        if isinstance(found, SchemaError):
            refused[row] = found
        else:
            masks.append(found)
            rows.append(row)
    if not rows:
        return logits
    bits = sent(torch.from_numpy(np.stack(masks)), logits.device)  # (m, bytes): an eighth of the mask travels
    places = torch.arange(_BITS, device=logits.device, dtype=torch.uint8)
    forbidden = ((bits.unsqueeze(-1) >> places) & 1).flatten(1)[:, : logits.shape[1]] == 0
    index = sent(torch.tensor(rows), logits.device)
    return logits.index_copy(0, index, logits[index].masked_fill(forbidden, float("-inf")))


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return sent(torch.tensor(values, dtype=torch.float32), like.device)
