"""What the engine's GPU paths take on this machine, kernel by kernel and step by step: random weights of the real shapes.

Prints a short table and writes JSON to --out. `python bench/gpu_kernels.py --shapes 2B,8B --parts gemv,decode,vision,prefill`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deixis.engine import vision as engine_vision
from deixis.engine.fp8 import fp8_network
from deixis.engine.graphs import GraphNetwork
from deixis.engine.kernels import gemv as kernel
from deixis.engine.paged_attention import BACKENDS
from deixis.engine.step import KVPages, Span, Step, slots_of
from deixis.engine.triton_ops import GemvTiling, TritonOps
from deixis.model import Qwen3VL, Qwen3VLConfig, TextConfig, VisionConfig
from deixis.model.moe import SparseMLP
from deixis.model.weights import empty_model

DEVICE = "cuda"
PROMPT = 1085
TEXT = {"head_dim": 128, "num_key_value_heads": 8, "rope_theta": 5e6, "max_position_embeddings": 262_144}
SHAPES = {
    "2B": Qwen3VLConfig(
        TextConfig(hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16, **TEXT),
        VisionConfig(24, 1024, 4096, 16, 2048, (5, 11, 17)),
        tie_word_embeddings=True,
    ),
    "8B": Qwen3VLConfig(
        TextConfig(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32, **TEXT),
        VisionConfig(27, 1152, 4304, 16, 4096, (8, 16, 24)),
    ),
}
TILINGS = [
    (4, 1024, 4),
    (2, 1024, 4),
    (8, 1024, 4),
    (8, 512, 2),
    (4, 512, 2),
    (4, 2048, 4),
    (8, 2048, 4),
    (8, 2048, 8),
    (2, 4096, 8),
    (4, 4096, 8),
    (2, 2048, 4),
]
FOUND: list[dict[str, Any]] = []


def note(**found: Any) -> None:
    """Print a finding and keep it for the file."""
    FOUND.append(found)
    print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in found.items()), flush=True)


def median_us(call: Callable[[], Any], repeat: int = 20) -> float:
    """Median time on the device, in microseconds."""
    for _ in range(3):
        call()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeat)]
    for start, end in pairs:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) * 1e3 for start, end in pairs)[repeat // 2]


def graph_us(calls: Sequence[Callable[[], Any]]) -> float:
    """Mean time of one of the calls, run one after another in a graph."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return median_us(graph.replay) / len(calls)


def products(text: TextConfig) -> dict[str, tuple[int, int, bool, dict[str, Any]]]:
    """Name -> outputs, inputs, gated, what follows."""
    heads = text.num_attention_heads + 2 * text.num_key_value_heads
    hidden, inner, width = text.hidden_size, text.intermediate_size, text.num_attention_heads * 128
    return {
        "qkv": (heads * 128, hidden, False, {"norm": True}),
        "out": (hidden, width, False, {"add": True}),
        "gate_up": (inner, hidden, True, {"norm": True}),
        "down": (hidden, inner, False, {"add": True}),
        "head": (text.vocab_size, hidden, False, {"wide": True}),
    }


def compile_gemv(n: int, k: int, gated: bool, what: dict[str, Any], tiling: tuple[int, int, int], rows: int, early: bool) -> None:
    """Compile one form in a process of its own; the cache on the disk hands it on."""
    half = torch.bfloat16
    out = torch.float32 if what.get("wide") else half
    kernel.gemv.warmup(
        half, half, half, half, half, half, out, n, 1e-6,
        K=k, ROWS=rows, BLOCK_N=tiling[0], BLOCK_K=tiling[1], NORM="norm" in what,
        GATED=gated, SCALED=False, BIAS=False, ADD="add" in what, PDL=early, num_warps=tiling[2], launch_pdl=early, grid=(1,),
    )  # fmt: skip


def multiply(
    ops: TritonOps, weight: Tensor, x: Tensor, residual: Tensor, norm: Tensor, gated: bool, what: dict[str, Any]
) -> Tensor:
    """The product with what stands before and behind it in a layer."""
    if "wide" in what:
        return ops.scores(x, weight)
    if "add" in what:
        return ops.add_linear(residual, x, weight)
    return ops.norm_gate_up(x, norm, 1e-6, weight) if gated else ops.norm_linear(x, norm, 1e-6, weight)


def tune(name: str, text: TextConfig, best: dict[tuple[int, int, bool], GemvTiling], rows: Sequence[int]) -> None:
    """Time the tilings of each product of few rows, keep the best."""
    jobs = [(n, k, gated, what, t, r, True) for n, k, gated, what in products(text).values() for t in TILINGS for r in rows]
    with ProcessPoolExecutor(14, mp_context=get_context("spawn")) as pool:
        list(pool.map(compile_gemv, *zip(*jobs, strict=True)))
    for product, (n, k, gated, what) in products(text).items():
        outputs = 2 * n if gated else n
        copies = max(2, min(12, int(400e6 // (outputs * k * 2))))
        weights = [torch.empty(outputs, k, device=DEVICE, dtype=torch.bfloat16).normal_(std=0.02) for _ in range(copies)]
        norm = torch.ones(k, device=DEVICE, dtype=torch.bfloat16)
        for r in rows:
            x = torch.randn(r, k, device=DEVICE, dtype=torch.bfloat16)
            residual = torch.randn(r, n, device=DEVICE, dtype=torch.bfloat16)
            times = {}
            for tiling in TILINGS:
                ops = TritonOps()
                ops.tilings[n, k, gated] = GemvTiling(*tiling)

                given = x, residual, norm, gated, what
                calls = [lambda w=w, ops=ops, given=given: multiply(ops, w, *given) for w in weights]
                times[tiling] = graph_us(calls * (32 // copies + 1))
            winner = min(times, key=times.__getitem__)
            best[n, k, gated] = GemvTiling(*winner)
            cublas = graph_us([lambda w=w, x=x: torch.mm(x, w.t()) for w in weights] * (32 // copies + 1))
            tb = outputs * k * 2 / times[winner] / 1e6
            note(what="gemv", shape=name, product=product, rows=r, us=times[winner], TBs=tb, tiling=winner, cublas_us=cublas,
                 all={str(t): round(us, 2) for t, us in times.items()})  # fmt: skip
        del weights


def random_model(config: Qwen3VLConfig) -> Qwen3VL:
    """The real shapes, random."""
    model = empty_model(config).to(torch.bfloat16).to_empty(device=DEVICE)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02)
            else:
                parameter.fill_(1.0)
    return model.eval().requires_grad_(False)


def step_of(spans: Sequence[Span], page_tokens: int = 16) -> Step:
    """A step of these spans with random ids."""
    rows = sum(span.count for span in spans)
    at = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1).contiguous()
    slots = torch.tensor([slot for span in spans for slot in slots_of(span, page_tokens)])
    last = torch.tensor([span.count for span in spans]).cumsum(0) - 1
    return Step(tuple(spans), torch.randint(0, 1000, (rows,), device=DEVICE), at, slots, last)


def alone(streams: int, context: int, count: int = 1) -> list[Span]:
    """Sequences that share nothing."""
    pages = -(-(context + count + 100) // 16)
    return [Span(context, count, list(range(i * pages, (i + 1) * pages))) for i in range(streams)]


def together(streams: int, shared: int, own: int, count: int = 1) -> list[Span]:
    """Sequences with a common beginning."""
    head = shared // 16
    return [Span(shared + own, count, [*range(head), *range(head + 16 * i, head + 16 * (i + 1))]) for i in range(streams)]


STEPS = {
    "1 stream": alone(1, 1100),
    "4 streams": alone(4, 1100),
    "64 streams": alone(64, 1100),
    "64 on one picture": together(64, 1040, 40),
    "second question": [Span(1040, 40, list(range(80)))],
}


def decode(name: str, network: GraphNetwork, kv: KVPages) -> None:
    """Steps of few rows under graphs."""
    for what, spans in STEPS.items():
        step = step_of(spans)

        def whole(step: Step = step) -> Tensor:
            return network.ops.likeliest(network.logits(network.forward(step, kv)), 10)[1]

        whole()
        torch.cuda.synchronize()
        forward_us = median_us(lambda step=step: network.forward(step, kv))
        started = time.perf_counter()
        for _ in range(50):
            whole()
        host_us = (time.perf_counter() - started) * 2e4
        torch.cuda.synchronize()
        wall_us = (time.perf_counter() - started) * 2e4
        torch.cuda.synchronize()
        started = time.perf_counter()
        network.forward(step, kv)
        alone_us = (time.perf_counter() - started) * 1e6
        note(
            what="step",
            forward_host_us=alone_us,
            shape=name,
            rows=what,
            early=network.fast.early,
            forward_us=forward_us,
            whole_us=wall_us,
            host_us=host_us,
        )


def profile(name: str, what: str, call: Callable[[], Any]) -> None:
    """Kernel times of one call, the largest sums first."""
    from torch.profiler import ProfilerActivity

    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    events = [e for e in profiler.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    sums: dict[str, list[float]] = {}
    for event in events:
        sums.setdefault(event.name[:48], []).append(event.device_time)
    top = sorted(sums.items(), key=lambda item: -sum(item[1]))[:12]
    note(what="profile", shape=name, of=what, kernels={k: [len(v), round(sum(v), 1), round(sum(v) / len(v), 2)] for k, v in top})


def chain(name: str, model: Qwen3VL, kv: KVPages) -> None:
    """Tilings of the products of one row, judged by a whole step: alone a kernel does not meet its neighbours' registers."""
    tried = {
        "qkv": [(4, 1024, 4), (2, 1024, 4), (4, 512, 2)],
        "out": [(2, 1024, 4), (8, 1024, 4), (4, 512, 2)],
        "gate_up": [(2, 1024, 4), (4, 512, 2), (2, 2048, 4)],
        "down": [(2, 2048, 8), (8, 2048, 4), (2, 2048, 4), (8, 512, 2)],
    }
    shapes = products(model.config.text)
    jobs = [(*shapes[product], tiling, 1, True) for product, tilings in tried.items() for tiling in tilings]
    with ProcessPoolExecutor(13, mp_context=get_context("spawn")) as pool:
        list(pool.map(compile_gemv, *zip(*jobs, strict=True)))
    step = step_of(STEPS["1 stream"])

    def whole(tilings: dict[tuple[int, int, bool], GemvTiling]) -> float:
        network = GraphNetwork(model)
        network.fast.tilings |= tilings
        return median_us(lambda: network.ops.likeliest(network.logits(network.forward(step, kv)), 10), 40)

    note(what="chain", shape=name, us=whole({}))
    for product, tilings in tried.items():
        n, k, gated, _ = shapes[product]
        note(
            what="chain",
            shape=name,
            product=product,
            us={str(t): round(whole({(n, k, gated): GemvTiling(*t)}), 1) for t in tilings},
        )


def fp8(name: str, config: Qwen3VLConfig) -> None:
    """The same with float8 weights."""
    model = random_model(config)
    network = fp8_network(model)
    kv = network.pages(64 * 82, 16)
    assert isinstance(network, GraphNetwork)
    for what in ("1 stream", "64 on one picture"):
        step = step_of(STEPS[what])
        us = median_us(lambda step=step: network.ops.likeliest(network.logits(network.forward(step, kv)), 10))
        note(what="fp8 step", shape=name, rows=what, whole_us=us)
    step = step_of(alone(4, 0, PROMPT))
    note(what="fp8 prefill", shape=name, rows=4 * PROMPT, ms=median_us(lambda: network.forward(step, kv), 5) / 1e3)


def experts() -> None:
    """One mixture's layer of the 30B-A3B checkpoint."""
    config = TextConfig(hidden_size=2048, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768)
    mlp = SparseMLP(config).to(DEVICE, torch.bfloat16)
    for parameter in mlp.parameters():
        parameter.normal_(std=0.02)
    ops = TritonOps()
    for rows in (1, 64, 1085):
        x = torch.randn(rows, 2048, device=DEVICE, dtype=torch.bfloat16)
        error = float((ops.experts(x, mlp).float() - mlp(x).float()).norm() / mlp(x).float().norm())
        grouped, plain = median_us(lambda x=x: ops.experts(x, mlp)), median_us(lambda x=x: mlp(x))
        note(what="experts", rows=rows, us=grouped, graph_us=graph_us([lambda x=x: ops.experts(x, mlp)] * 4), plain_us=plain,
             error=error)  # fmt: skip


def sampler() -> None:
    """The likeliest tokens of a row."""
    for rows in (1, 64):
        logits = torch.randn(rows, 151_936, device=DEVICE)
        ops = TritonOps()
        fast = graph_us([lambda ops=ops, logits=logits: ops.likeliest(logits, 10)] * 4)
        plain = median_us(lambda logits=logits: (logits.log_softmax(-1).topk(10), logits.argmax(-1)))
        note(what="sampler", rows=rows, us=fast, torch_us=plain)


def vision(name: str, network: GraphNetwork) -> None:
    """The ViT on one picture, several, and several sizes; and what a size costs that was not seen before."""
    for pictures in (1, 4):
        grids = ((1, 64, 64),) * pictures
        patches = torch.randn(4096 * pictures, 1536, device=DEVICE, dtype=torch.bfloat16)
        ms = median_us(lambda p=patches, g=grids: network.see(p, g), 7) / 1e3
        note(what="vision", shape=name, pictures=pictures, ms=ms, ms_a_picture=ms / pictures)
        if pictures == 1:
            profile(name, "vision", lambda p=patches, g=grids: network.see(p, g))
    for side, backends in ((52, None), (56, BACKENDS[1:])):
        grids = ((1, side, side),)
        patches = torch.randn(side * side, 1536, device=DEVICE, dtype=torch.bfloat16)
        if backends is not None:
            engine_vision.BACKENDS = backends
        torch.cuda.synchronize()
        started = time.perf_counter()
        network.see(patches, grids)
        torch.cuda.synchronize()
        first_ms = (time.perf_counter() - started) * 1e3
        started = time.perf_counter()
        network.see(patches, grids)
        host_ms = (time.perf_counter() - started) * 1e3
        ms = median_us(lambda p=patches, g=grids: network.see(p, g), 7) / 1e3
        note(what="vision", shape=name, side=side, cudnn=backends is None, first_ms=first_ms, host_ms=host_ms, ms=ms)
    engine_vision.BACKENDS = BACKENDS
    mixed = ((1, 64, 64), (1, 32, 32), (1, 64, 64), (1, 48, 64))
    patches = torch.randn(sum(h * w for _, h, w in mixed), 1536, device=DEVICE, dtype=torch.bfloat16)
    expected = network.model.visual(patches, mixed)[0]
    found = network.see(patches, mixed).merged
    error = float((found.float() - expected.float()).norm() / expected.float().norm())
    note(what="vision", shape=name, pictures="mixed", ms=median_us(lambda: network.see(patches, mixed), 7) / 1e3, error=error)


def prefill(name: str, network: GraphNetwork, kv: KVPages) -> None:
    """Whole prompts."""
    for pictures in (1, 2, 4):
        rows = PROMPT * pictures
        step = step_of(alone(pictures, 0, PROMPT))
        network.forward(step, kv)
        torch.cuda.synchronize()
        ms = median_us(lambda step=step: network.forward(step, kv), 7) / 1e3
        started = time.perf_counter()
        network.forward(step, kv)
        host_ms = (time.perf_counter() - started) * 1e3
        note(what="prefill", shape=name, rows=rows, ms=ms, host_ms=host_ms)
        if rows == PROMPT:
            profile(name, "prefill", lambda step=step: network.forward(step, kv))


def pixels() -> None:
    """Pixels to patches."""
    import numpy as np

    from deixis.engine.pixels import device_patches

    for h, w, grid in ((1024, 1024, (1, 64, 64)), (1080, 1920, (1, 64, 64))):
        part = {"type": "image", "image": np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)}
        device = torch.device(DEVICE)

        def call(part: dict[str, Any] = part, grid: tuple[int, int, int] = grid, device: torch.device = device) -> Tensor:
            return device_patches(part, grid, SHAPES["2B"].vision, device, torch.bfloat16)

        started = time.perf_counter()
        for _ in range(20):
            call()
            torch.cuda.synchronize()
        note(what="pixels", size=f"{w}x{h}", device_us=median_us(call), wall_us=(time.perf_counter() - started) * 5e4)


def one_way(
    name: str, model: Qwen3VL, ops: TritonOps, tilings: dict[tuple[int, int, bool], GemvTiling], parts: Sequence[str]
) -> None:
    """All asked parts with these kernels; what does not depend on an early start only with one."""
    network = GraphNetwork(model, ops)
    network.fast.tilings |= tilings
    kv = network.pages(64 * 82, 16)
    kv.keys.normal_()
    kv.values.normal_()
    if "decode" in parts:
        decode(name, network, kv)
    if not ops.early and "profile" in parts:  # kernels that wait for one another would count the waiting
        for what in ("1 stream", "64 on one picture"):
            step = step_of(STEPS[what])
            profile(name, what, lambda step=step: network.ops.likeliest(network.logits(network.forward(step, kv)), 10))
    if ops.early and "chain" in parts:
        chain(name, model, kv)
    if ops.early and "vision" in parts:
        vision(name, network)
    if ops.early and "prefill" in parts:
        prefill(name, network, kv)


@torch.inference_mode()
def main() -> None:
    """Run what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="2B,8B")
    parser.add_argument("--parts", default="gemv,decode,profile,vision,prefill,pixels")
    parser.add_argument("--rows", default="1")
    parser.add_argument("--out", type=Path, default=Path("gpu_kernels.json"))
    asked = parser.parse_args()
    parts = asked.parts.split(",")
    torch.manual_seed(0)
    a = torch.empty(2**30, device=DEVICE, dtype=torch.bfloat16).normal_()
    b = torch.empty_like(a)
    copy_us = median_us(lambda a=a, b=b: b.copy_(a))
    note(what="copy", TBs=2 * a.nbytes / copy_us / 1e6, device=torch.cuda.get_device_name())
    del a, b
    for name in asked.shapes.split(","):
        config = SHAPES[name]
        tilings: dict[tuple[int, int, bool], GemvTiling] = {}
        started = time.perf_counter()
        if "gemv" in parts:
            tune(name, config.text, tilings, [int(r) for r in asked.rows.split(",")])
            note(what="tuned", seconds=time.perf_counter() - started)
            asked.out.write_text(json.dumps(FOUND, indent=1))
        model = random_model(config)
        for early in (True, False) if "decode" in parts else (True,):
            one_way(name, model, TritonOps(early), tilings, parts)
            asked.out.write_text(json.dumps(FOUND, indent=1))
            torch.cuda.empty_cache()
        if "fp8" in parts:
            fp8(name, config)
        note(what="done", shape=name, seconds=time.perf_counter() - started)
        del model
    if "pixels" in parts:
        pixels()
        sampler()
    if "experts" in parts:
        experts()
    asked.out.write_text(json.dumps(FOUND, indent=1))


if __name__ == "__main__":
    main()
