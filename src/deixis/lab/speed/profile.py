"""Where the time goes: the kernels of a first token and of a decoding step.

Knows PyTorch's profiler. Does not know the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

from deixis.lab.speed.machine import settle, timed_s
from deixis.lab.speed.ours import Asker

TOP = 16
STEPS = 16


def profiles(asker: Asker) -> dict[str, Any]:
    """The dearest kernels of a first token (new picture) and of one decoding step, with what each takes in ms."""
    seen = asker.new_picture()
    asker.ask_s(seen, "profile", 1)
    new = asker.new_picture()
    first = _profile(asker, lambda: asker.submit(new, "profile: where is the cup?", 1).result(), 1)
    short = asker.submit(seen, "profile of a step", 1)
    short.result()
    step = _profile(asker, lambda: asker.submit(seen, "profile of a step", 1 + STEPS).result(), STEPS)
    return {"first_token": first, "decode_step": step}


def _profile(asker: Asker, run: Callable[[], object], parts: int) -> dict[str, Any]:
    cuda = asker.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        wall_s = timed_s(run, asker.device)
        settle(asker.device)
    events = [
        (event.key, event.count, (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e3)
        for event in seen.key_averages()
        if not cuda or event.device_type.name == "CUDA"
    ]
    total = sum(ms for *_, ms in events)
    top = sorted(events, key=lambda event: -event[2])[:TOP]
    return {
        "wall_ms": round(1e3 * wall_s / parts, 3),
        "busy_ms": round(total / parts, 3),
        "kernels": [
            {"name": name[:90], "calls": round(count / parts, 1), "ms": round(ms / parts, 4), "share": round(ms / total, 3)}
            for name, count, ms in top
        ],
    }
