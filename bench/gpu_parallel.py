"""Two GPUs, half the weights each, beside one: the same tokens, and how fast.

    PYTHONPATH=src:. python3 bench/gpu_parallel.py [--device cpu] [OUT.json]

Tokens: random weights, dense and with experts, in float32 (all must be the same) and bfloat16 (two right orders of summation
choose differently now and then). Speed: 8B shapes in bfloat16. Every sitting is some programs of its own, ended when they take
too long. With `--device cpu` the same in miniature, through gloo, to see that it runs.
"""

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from deixis.backends.catalog import nano_directory
from deixis.engine import Engine, EngineSettings, Sampling
from deixis.engine.network import Network, network_for
from deixis.engine.parallel import BACKEND, ParallelNetwork, parallel_network
from deixis.engine.step import KVPages
from deixis.lab.speed.asking import Asking, asking_of, picture
from deixis.lab.speed.ours import Asker
from deixis.lab.speed.shapes import checkpoint_of
from deixis.model import Checkpoint, Qwen3VLConfig, empty_model, open_checkpoint

MOST_S = 110  # of a sitting
MEETING_S = 100  # that processes wait for one another
TOKENS, REQUESTS = 32, 24
CASES = ("dense float32", "experts float32", "dense bfloat16", "experts bfloat16")
SMALL = Asking(64, 2, 1, 8, 4, 4)


def config_like(base: Qwen3VLConfig, *, experts: bool, small: bool) -> Qwen3VLConfig:
    """nano's words and eyes before a decoder of 2B's layers, or of experts."""
    size, head_dim, inner = (64, 16, 32) if small else (2048, 128, 768)
    text = replace(
        base.text,
        hidden_size=size,
        intermediate_size=3 * size,
        num_hidden_layers=2 if small else 6 if experts else 14,
        num_attention_heads=4 if small else 16,
        num_key_value_heads=2 if small else 8,
        head_dim=head_dim,
        mrope_section=(4, 2, 2) if small else (24, 20, 20),
        num_experts=32 if experts else 0,
        num_experts_per_tok=4 if experts else 0,
        moe_intermediate_size=inner if experts else 0,
    )
    return replace(base, text=text, vision=replace(base.vision, out_hidden_size=size))


@torch.no_grad()
def drawn(case: str, device: torch.device) -> Checkpoint:
    """Random weights that say something else at every place; the same on every process."""
    kind, dtype = case.split()
    base = open_checkpoint(nano_directory(), "cpu", torch.float32)
    config = config_like(base.config, experts=kind == "experts", small=device.type == "cpu")
    model = empty_model(config).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(7)
    model.init_weights(generator, std=config.text.hidden_size**-0.5)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 1:  # norms and biases, too
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.2, generator=generator))
    return replace(base, config=config, model=model.to(getattr(torch, dtype)).eval())


def asked() -> Iterator[tuple[list[dict[str, Any]], Sampling]]:
    """Conversations with and without pictures, some of which share one; greedy, and a few drawn."""
    for number in range(REQUESTS):
        text = {"type": "text", "text": f"{number}: where is it? " * (1 + number % 5)}
        shown = [] if number % 4 == 3 else [{"type": "image", "image": picture(number % 6, 96 + 64 * (number % 3))}]
        wanted = Sampling(max_new_tokens=TOKENS, ignore_stop_tokens=True, temperature=0.8 * (number % 8 == 5), seed=number)
        yield [{"role": "user", "content": [*shown, text]}], wanted


def say(case: str, device: torch.device, rank: int, world: int, *, eager: bool) -> dict[str, Any]:
    """What the engine answers in one case; nothing on processes that follow."""
    checkpoint = drawn(case, device)
    if world > 1:
        network: Network = halved(checkpoint, device, eager=eager)
    else:
        network = network_for(checkpoint.model)
    if rank:
        assert isinstance(network, ParallelNetwork)
        network.follow()
        return {}
    network.warm = later  # type: ignore[method-assign]
    engine = Engine(checkpoint, EngineSettings(kv_bytes=2**30, chunk_rows=96), network)
    tickets = [engine.submit(messages, sampling) for messages, sampling in asked()]
    replies = [ticket.result() for ticket in tickets]
    engine.check()
    if isinstance(network, ParallelNetwork):
        network.end()
    return {"ids": [reply.ids for reply in replies], "logprobs": [reply.logprobs for reply in replies]}


def later(kv: KVPages) -> None:
    """In place of `Network.warm`: graphs are captured when they are first needed, so only those that are."""


def halved(checkpoint: Checkpoint, device: torch.device, *, eager: bool) -> ParallelNetwork:
    """This process's half, through the machine's memory, as a model would go that no GPU holds."""
    network = parallel_network(checkpoint.model.cpu(), device)
    if eager:
        plain = Network(network.model, network.ops)
        plain.head, network.own = network.own.head, plain
    return network


def speed(device: torch.device, rank: int, world: int, *, eager: bool) -> dict[str, Any]:
    """First token, one stream, and 64 questions about one picture."""
    cuda = device.type == "cuda"
    where = device if world == 1 else torch.device("cpu")
    checkpoint = checkpoint_of("8B", where, torch.bfloat16) if cuda else drawn("dense float32", device)
    network = halved(checkpoint, device, eager=eager) if world > 1 else network_for(checkpoint.model)
    if rank:
        assert isinstance(network, ParallelNetwork)
        network.follow()
        return {}
    network.warm = later  # type: ignore[method-assign]
    engine = Engine(checkpoint, EngineSettings(kv_bytes=8 * 2**30 if cuda else 2**26), network)
    plan = asking_of("cuda", "8B") if cuda else SMALL
    asker = Asker(engine, plan)
    for _ in range(2):
        asker.ask_s(asker.new_picture(), "warm", 8)
        asker.burst_s([asker.new_picture()] * plan.requests, "warm", plan.request_tokens)
    first = statistics.median(asker.ask_s(asker.new_picture(), "first", 1) for _ in range(plan.repeats))
    decode = statistics.median(asker.decode_rate() for _ in range(3))
    burst = statistics.median(
        asker.burst_s([asker.new_picture()] * plan.requests, "one", plan.request_tokens) for _ in range(plan.burst_repeats)
    )
    if isinstance(network, ParallelNetwork):
        network.end()
    memory = torch.cuda.max_memory_allocated(device) / 1e9 if cuda else None
    return {
        "first_ms": round(1e3 * first, 2),
        "decode_tok_s": round(decode, 1),
        "one_picture_req_s": round(plan.requests / burst, 1),
        "peak_gb": memory and round(memory, 1),
    }


def work(stage: str, rank: int, world: int, device_name: str, folder: Path, *, eager: bool) -> None:
    """One process of a sitting; process 0 writes what was found."""
    torch.set_num_threads(1 if device_name == "cpu" else 4)
    device = torch.device(device_name, rank) if device_name == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")
        backend = BACKEND if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, f"file://{folder}/meet", timeout=timedelta(seconds=MEETING_S), world_size=world, rank=rank
        )
    found: dict[str, Any] = {}
    if stage == "speed":
        found = speed(device, rank, world, eager=eager)
    else:
        for case in CASES:
            found[case] = say(case, device, rank, world, eager=eager)
            gc.collect()
    if not rank:
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # without farewells: a process group may wait for ever for graphs that hold its calls


def sit(stage: str, world: int, device: str, *, eager: bool = False) -> dict[str, Any]:
    """A sitting's findings, or what went wrong with it."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--device", device, "--stage", stage, "--world", str(world), "--folder", folder]
        processes: list[tuple[subprocess.Popen[bytes], Path]] = []
        for rank in range(world):
            log = Path(folder, f"log-{rank}")
            with log.open("wb") as kept:
                own = [*command, "--rank", str(rank), *(["--eager"] if eager else [])]
                processes.append((subprocess.Popen(own, stdout=kept, stderr=kept), log))
        while any(process.poll() is None for process, _ in processes):
            failed = any(process.poll() for process, _ in processes)
            if failed or time.perf_counter() - began > MOST_S:
                time.sleep(2)  # the others may have more to say
                for process, _ in processes:
                    process.kill()
                    process.wait()
                break
            time.sleep(0.1)
        took = round(time.perf_counter() - began, 1)
        if all(process.returncode == 0 for process, _ in processes):
            return {**json.loads(Path(folder, "found.json").read_text(encoding="utf-8")), "took_s": took}
        told = ["\n".join(log.read_text(errors="replace").splitlines()[-12:]) for _, log in processes]
        for rank, text in enumerate(told):
            print(f"--- {stage}, process {rank} of {world}, {'eager' if eager else 'graphs'}:\n{text}", flush=True)
        return {"failed": [text[-800:] for text in told], "took_s": took}


def compared(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Counts of replies and tokens that are the same, and how far log-probabilities are apart until the first difference."""
    same = agreeing = 0
    furthest = 0.0
    for a, b in zip(one["ids"], two["ids"], strict=True):
        same += a == b
        agreeing += sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=True)))
    for ids, others, logs, other_logs in zip(one["ids"], two["ids"], one["logprobs"], two["logprobs"], strict=True):
        for x, y, p, q in zip(ids, others, logs, other_logs, strict=True):
            if x != y:
                break
            furthest = max(furthest, abs(p - q))
    every = [token for ids in one["ids"] for token in ids]
    return {
        "replies": len(one["ids"]),
        "same": same,
        "tokens": len(every),
        "different_tokens": len(set(every)),
        "same_until_first_difference": agreeing,
        "largest_logprob_difference": float(f"{furthest:.3g}"),
    }


def main(device: str, out: Path | None) -> None:
    """All sittings and the table."""
    found: dict[str, Any] = {"device": device, "torch": torch.__version__}
    if device == "cuda":
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    eager = False
    for stage in ("tokens", "speed"):
        one = sit(stage, 1, device)
        two = sit(stage, 2, device, eager=eager)
        if "failed" in two and not eager and device == "cuda":
            found[f"{stage}_with_graphs"], eager = two, True
            two = sit(stage, 2, device, eager=True)
        if "failed" not in one and "failed" not in two and stage == "tokens":
            found[stage] = {case: compared(one[case], two[case]) for case in CASES}
            found[stage]["took_s"] = one["took_s"] + two["took_s"]
            for case in CASES:
                print(case, found[stage][case], flush=True)
        else:
            found[stage] = {"one": one, "two": two, "eager": eager}
            print(f"{stage}: one GPU, two GPUs{' without graphs' * eager}", flush=True)
            for name in dict.fromkeys([*one, *two]):
                print(f"  {name:20} {one.get(name)!s:>10} {two.get(name)!s:>10}", flush=True)
        if out is not None:
            out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    for name in ("stage", "rank", "world", "folder", "eager"):
        how: dict[str, Any] = {"action": "store_true"} if name == "eager" else {"type": int if name in ("rank", "world") else str}
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS, **how)
    given = parser.parse_args()
    if given.stage:
        work(given.stage, given.rank, given.world, given.device, Path(given.folder), eager=given.eager)
    else:
        main(given.device, given.out)
