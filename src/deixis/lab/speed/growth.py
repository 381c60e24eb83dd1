"""How times grow: the first token with the prompt, a decoding step with the streams; measured, fitted, and in theory.

Knows an engine and least squares. Does not know peers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from deixis.engine import Engine, EngineSettings
from deixis.errors import InputError
from deixis.lab.speed.asking import Asking
from deixis.lab.speed.drawing import draw_curves
from deixis.lab.speed.machine import Cost, Machine, median_s, timed_s
from deixis.lab.speed.ours import Asker

TOKENS = {"cuda": (1024, 4096, 16_384, 32_768, 65_536, 131_072), "cpu": (256, 512, 1024, 2048, 4096)}
STREAMS = {"cuda": (1, 2, 4, 8, 16, 32, 64, 128, 256), "cpu": (1, 2, 4, 8, 16)}
CONTEXT = {"cuda": 512, "cpu": 64}  # tokens of each stream
STEPS = {"cuda": 32, "cpu": 8}
Points = list[tuple[float, float]]


def growth(engine: Engine, asking: Asking, machine: Machine, cost: Cost) -> Iterator[dict[str, Any]]:
    """Both curves, again after every point: first what is done of the prompt's, then the streams' too."""
    device = machine.device
    found: dict[str, Any] = {}
    prompts: Points = []
    fresh = Engine(engine.checkpoint, EngineSettings(prefix_cache=False), engine.runner.network)
    asker = Asker(fresh, asking)
    for tokens in TOKENS[device]:
        text = words(tokens)
        try:
            took = median_s(lambda text=text: asker.submit(None, text, 1).result(), asker.device, 3)  # type: ignore[misc]
        except InputError as error:  # longer than the model or the cache
            found["left_out"] = f"{tokens} tokens: {error}"
            break
        prompts.append((tokens, 1e3 * took))
        found["first_token"] = _prompt_curve(prompts, machine, cost)
        yield found
    del asker, fresh
    asker = Asker(engine, asking)
    streams: Points = []
    for count in STREAMS[device]:
        streams.append((count, 1e3 * _step_s(asker, count, CONTEXT[device], STEPS[device])))
        found["decode_step"] = _stream_curve(streams, CONTEXT[device], machine, cost)
        yield found


def words(tokens: int) -> str:
    """A text of about so many tokens: one byte each, no two alike from the first on."""
    return "".join(itertools.islice(itertools.cycle("0 1 2 3 4 5 6 7 8 9 "), tokens))


def _step_s(asker: Asker, count: int, context: int, steps: int) -> float:
    """Seconds of one step of `count` streams, prompts in the cache."""
    texts = [f"{i:04d} {words(context)}" for i in range(count)]

    def burst(tokens: int) -> float:
        def run() -> None:
            tickets = [asker.submit(None, text, tokens) for text in texts]
            for ticket in tickets:
                ticket.result()

        return timed_s(run, asker.device)

    burst(1 + steps)
    pairs = [(burst(1 + steps) - burst(1)) / steps for _ in range(3)]
    return float(np.median(pairs))


def _prompt_curve(points: Points, machine: Machine, cost: Cost) -> dict[str, Any]:
    """ms = constant + linear x tokens + square x tokens²."""
    n = np.array([tokens for tokens, _ in points])
    fit = fitted(np.stack([np.ones_like(n), n, n**2], 1), np.array([ms for _, ms in points]))
    text = cost.config.text
    square = 2 * text.num_hidden_layers * text.num_attention_heads * text.head_dim
    theory = [0.0, 2e3 * cost.layer_weights / machine.flops_per_s, 1e3 * square / machine.flops_per_s]
    least = [(tokens, 1e3 * cost.prompt_s(machine, int(tokens))) for tokens, _ in points]
    return _curve(points, least, ("constant_ms", "ms_per_token", "ms_per_token2"), fit, theory)


def _stream_curve(points: Points, context: int, machine: Machine, cost: Cost) -> dict[str, Any]:
    """ms = constant + linear x streams."""
    n = np.array([count for count, _ in points])
    fit = fitted(np.stack([np.ones_like(n), n], 1), np.array([ms for _, ms in points]))
    theory = [1e3 * cost.step_bytes() / machine.bytes_per_s, 1e3 * context * cost.kv_token_bytes / machine.bytes_per_s]
    least = [(count, 1e3 * cost.step_s(machine, int(count), own=context)) for count, _ in points]
    return _curve(points, least, ("constant_ms", "ms_per_stream"), fit, theory)


def fitted(terms: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> list[float]:
    """Coefficients of at least 0 with the least relative error."""
    found, _ = nnls(terms / values[:, None], np.ones_like(values))
    return [float(one) for one in found]


def _curve(points: Points, least: Points, names: Sequence[str], fit: list[float], theory: list[float]) -> dict[str, Any]:
    return {
        "points": [[x, round(ms, 3)] for x, ms in points],
        "limit": [[x, round(ms, 3)] for x, ms in least],
        "fitted": dict(zip(names, fit, strict=True)),
        "theory": dict(zip(names, theory, strict=True)),
    }


def draw(found: dict[str, Any], title: str, folder: Path) -> None:
    """A picture of each curve that is there."""
    for name, across in (("first_token", "tokens of the prompt"), ("decode_step", "streams")):
        if name in found:
            lines = {"measured": found[name]["points"], "limit of this machine": found[name]["limit"]}
            draw_curves(lines, f"{title}: {name.replace('_', ' ')}", across, "ms", folder / f"growth_{name}.png")
