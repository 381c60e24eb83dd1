"""The network under CUDA graphs: a step of few rows costs one launch instead of hundreds.

Knows steps and buckets of rows. Does not know requests. A graph is captured when a bucket is first met (or by `warm`), and reads
fixed buffers: what differs from step to step is written to one block of pinned memory and copied at once, without waiting for the
GPU. Rows of padding write nothing and are never read. Its reference is `Network`, which also runs what fits no graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.engine.network import Network
from deixis.engine.paged_attention import DevicePlan, plan_shape
from deixis.engine.plan import ITEM_FIELDS, Plan, work_plan
from deixis.engine.step import KVPages, Step
from deixis.engine.triton_ops import TritonOps
from deixis.engine.vision import FastVision
from deixis.model import Grid, Qwen3VL, TextConfig, VisualFeatures

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PAGE_LIST = 1 << 15  # entries of the page list: half a million keys at 16 a page
STAGINGS = 4  # pinned blocks in turn, so that a copy under way is not written over


@dataclass(frozen=True)
class _Layout:
    """Where each of a bucket's lists lies in its block, in int32 words; int64 lists first, the page list last."""

    rows: int
    items: int
    partials: int

    @staticmethod
    def of(rows: int, config: TextConfig) -> _Layout:
        shape = plan_shape(config)
        items = shape.wanted_items + (2 * rows if rows > 1 else 0)  # programs without an item cost time, too
        return _Layout(rows, items, 2 * shape.wanted_items * min(rows, shape.tile_rows) + 3 * rows)

    def sizes(self) -> dict[str, int]:
        n = self.rows
        wide = {"ids": 2 * n, "positions": 6 * n, "slots": 2 * n, "wanted": 2 * n}
        lists = {"items": ITEM_FIELDS * self.items, "limits": n, "part_starts": n + 1, "parts": self.partials}
        return wide | lists | {"row_list": self.items * min(n, 64), "pages": PAGE_LIST}

    def fits(self, plan: Plan) -> bool:
        found = len(plan.items), plan.partials, len(plan.row_list), len(plan.pages)
        return all(a <= b for a, b in zip(found, (self.items, self.partials, self.sizes()["row_list"], PAGE_LIST), strict=True))


class _Bucket:
    """Buffers of one bucket and the graph over them."""

    def __init__(self, network: GraphNetwork, rows: int, kv: KVPages) -> None:
        config, device = network.config.text, network.device
        self.layout = _Layout.of(rows, config)
        sizes = self.layout.sizes()
        words = sum(sizes.values())
        self._block = torch.zeros(words, dtype=torch.int32, device=device)
        self._staging: deque[tuple[Tensor, dict[str, NDArray[np.int32]], torch.cuda.Event]] = deque()
        for _ in range(STAGINGS):
            pinned = torch.zeros(words, dtype=torch.int32).pin_memory()
            pieces = dict(zip(sizes, np.split(pinned.numpy(), np.cumsum(list(sizes.values()))[:-1]), strict=True))
            self._staging.append((pinned, pieces, torch.cuda.Event()))  # type: ignore[no-untyped-call]
        on = dict(zip(sizes, torch.split(self._block, list(sizes.values())), strict=True))
        self.ids, self.slots, self.wanted = (on[name].view(torch.int64) for name in ("ids", "slots", "wanted"))
        self.positions = on["positions"].view(torch.int64).view(3, rows)
        heads, partials = config.num_attention_heads, self.layout.partials
        self._plan = DevicePlan(
            on["items"].view(-1, ITEM_FIELDS), on["row_list"], on["pages"], on["limits"], on["part_starts"], on["parts"],
            torch.empty(partials, heads, config.head_dim, device=device), torch.empty(partials, heads, device=device),
            kv.page_tokens, merged=True, most_parts=plan_shape(config).wanted_items,
        )  # fmt: skip
        self.slots.fill_(-1)
        step = Step((), self.ids, self.positions, self.slots, self.wanted)
        attention = network.fast.attention_on(self._plan, self.slots, config.rms_norm_eps)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):  # kernels are compiled and libraries set up before anything is captured
            network.fast.scores(network.pass_over(step, attention, kv), network.head)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=network.pool, capture_error_mode="thread_local"):
            self._hidden = network.pass_over(step, attention, kv)
            # The head of a single row stands in the graph, too: its weights are on their way before the last norm has ended.
            self.scores = network.fast.scores(self._hidden, network.head) if rows == 1 else None

    def run(self, step: Step, plan: Plan) -> Tensor:
        """Hidden states of the wanted rows; valid, like `scores`, until the bucket's next run."""
        pinned, pieces, copied = self._staging[0]
        self._staging.rotate(-1)
        copied.synchronize()  # long done, unless the host is STAGINGS steps ahead
        n, wanted = step.rows, len(step.wanted)
        given = ((step.input_ids, "ids", n), (step.slots, "slots", n), (step.wanted, "wanted", wanted))
        for tensor, name, count in given:
            list64 = pieces[name].view(np.int64)
            list64[count:] = -1 if name == "slots" else 0
            if not tensor.is_cuda:
                list64[:count] = tensor.numpy()
        if not step.positions.is_cuda:
            pieces["positions"].view(np.int64).reshape(3, -1)[:, :n] = step.positions.numpy()
        pieces["items"][plan.items.size :] = 0
        for name in ("items", "row_list", "limits", "part_starts", "parts", "pages"):
            array = getattr(plan, name)
            pieces[name][: array.size] = array.reshape(-1)
        pieces["part_starts"][n + 1 :] = plan.partials
        used = len(pinned) - PAGE_LIST + len(plan.pages)
        self._block[:used].copy_(pinned[:used], non_blocking=True)
        copied.record()
        for tensor, on_device, count in (
            (step.input_ids, self.ids, n),
            (step.slots, self.slots, n),
            (step.wanted, self.wanted, wanted),
        ):
            if tensor.is_cuda:
                on_device[:count].copy_(tensor)
        if step.positions.is_cuda:
            self.positions[:, :n].copy_(step.positions)
        self._graph.replay()
        return self._hidden[:wanted]


class GraphNetwork(Network):
    """A network on an NVIDIA GPU: graphs for steps of at most BUCKETS[-1] rows without pictures, the plain pass for others."""

    def __init__(self, model: Qwen3VL, ops: TritonOps | None = None) -> None:
        self.fast = ops if ops is not None else TritonOps()
        super().__init__(model, self.fast)
        self.vision = FastVision(model.visual)
        self.pool = torch.cuda.graph_pool_handle()
        self._buckets: dict[int, _Bucket] = {}
        self._kv: KVPages | None = None
        self._scored: tuple[Tensor, Tensor] | None = None  # the last hidden states, where their scores are there already

    def warm(self, kv: KVPages, buckets: Sequence[int] = BUCKETS) -> None:
        """Capture the graphs of these buckets now."""
        for rows in buckets:
            self._bucket(rows, kv)

    def see(self, patches: Tensor, grids: Sequence[Grid]) -> VisualFeatures:
        return self.vision(patches, grids)

    def forward(self, step: Step, kv: KVPages) -> Tensor:
        if step.features is None and step.rows <= BUCKETS[-1] and len(step.wanted) <= step.rows and self.capturable:
            plan = work_plan(step.spans, kv.page_tokens, plan_shape(self.config.text))
            bucket = self._bucket(next(rows for rows in BUCKETS if rows >= step.rows), kv)
            if bucket.layout.fits(plan):
                if step.copies is not None:
                    kv.copy(step.copies)
                hidden = bucket.run(step, plan)
                self._scored = (hidden, bucket.scores) if bucket.scores is not None and len(hidden) else None
                return hidden
        self._scored = None
        return super().forward(step, kv)

    def logits(self, hidden: Tensor) -> Tensor:
        if self._scored is not None and self._scored[0] is hidden:
            return self._scored[1]
        return super().logits(hidden)

    def _bucket(self, rows: int, kv: KVPages) -> _Bucket:
        if self._kv is not kv:
            self._kv = kv
            self._buckets.clear()
            self._scored = None
            self.pool = torch.cuda.graph_pool_handle()  # a pool ends with the last graph in it
        found = self._buckets.get(rows)
        if found is None:
            found = self._buckets[rows] = _Bucket(self, rows, kv)
        return found
