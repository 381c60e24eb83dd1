"""`deixis bench speed`: reads options, shows the table. Does not know how anything is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def speed_command(
    model_shape: Annotated[str, typer.Option(help="2B, 4B or 8B with random weights, or nano itself")] = "nano",
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cpu",
    peer: Annotated[str, typer.Option(help="transformers or vllm in the same sitting, or none")] = "none",
    weights: Annotated[str, typer.Option(help="auto, bfloat16, float32, int8 (CPU) or fp8 (CUDA)")] = "auto",
    peer_path: Annotated[str, typer.Option(help="where the peer is installed: comes first in its PYTHONPATH")] = "",
    peer_dtype: Annotated[
        str, typer.Option(help="what transformers computes in (default: bfloat16; nano on a CPU: float32)")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="folder for JSON and pictures, written as figures come")
    ] = None,
    growth: Annotated[bool, typer.Option(help="first token by prompt length, decoding step by streams")] = False,
    profile: Annotated[bool, typer.Option(help="where the time goes, by kernel")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """First token, second question, decoding and bursts, beside a peer and the machine's limit."""
    from deixis.lab.speed.run import Sitting
    from deixis.lab.speed.table import HEADS, told

    notes = Console(stderr=True, highlight=False)
    sitting = Sitting(model_shape, device, peer, weights, peer_path, peer_dtype, out, say=notes.print)
    result = sitting.run(grow=growth, look=profile)
    if as_json:
        sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
        return
    machine = result["machine"]
    shown = Table(
        *HEADS, title=f"{model_shape} in {result['weights']}, {machine['name']}, {result['date']}", title_justify="left"
    )
    for row in sitting.rows():
        shown.add_row(*told(row))
    console = Console()
    console.print(shown)
    for name, found in result.get("profile", {}).items():
        kernels = Table("kernel", "calls", "ms", "share", title=f"{name}: {found['wall_ms']} ms, {found['busy_ms']} ms busy")
        for kernel in found["kernels"]:
            kernels.add_row(kernel["name"], f"{kernel['calls']:g}", f"{kernel['ms']:.3f}", f"{kernel['share']:.1%}")
        console.print(kernels)
    for name, curve in result.get("growth", {}).items():
        if name != "left_out":
            terms = "; ".join(
                f"{term} {curve['fitted'][term]:.3g} (theory {curve['theory'][term]:.3g})" for term in curve["fitted"]
            )
            console.print(f"{name}: {terms}")
    if "peer_failed" in result:
        console.print(result["peer_failed"], style="red")
