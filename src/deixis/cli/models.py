"""`deixis models`: what is on this machine, what can be pulled, and whether a model points where things are.

Knows options. Does not know hubs, nor how grounding is measured.
"""

from __future__ import annotations

from typing import Annotated

import typer

from deixis.cli.commands import Json, print_json, terminal
from deixis.errors import OptionError

models_app = typer.Typer(help="What is on this machine, what can be pulled, and what each is for.", add_completion=False)


@models_app.callback(invoke_without_command=True)
def _models(ctx: typer.Context, as_json: Json = False) -> None:
    if ctx.invoked_subcommand is None:
        list_models(as_json=as_json)


@models_app.command("list")
def list_models(as_json: Json = False) -> None:
    """What is on this machine, and what can be pulled."""
    from deixis.backends.catalog import KNOWN, local_checkpoints, weights_identity
    from deixis.cli.report import show_models, state_of
    from deixis.spatial.grounding.canary import known_grounding

    local = local_checkpoints()
    groundings = [known_grounding(weights_identity(checkpoint.directory), checkpoint.directory) for checkpoint in local]
    free_bytes = None
    if any(checkpoint.source != "embedded" for checkpoint in local):
        from deixis.backends.registry import free_memory_bytes

        free_bytes = free_memory_bytes()[0]
    if as_json:
        here = [
            {
                "name": checkpoint.name,
                "directory": str(checkpoint.directory),
                "source": checkpoint.source,
                "bytes": checkpoint.bytes,
                "state": state_of(checkpoint, free_bytes),
                "grounding": None if grounding is None else grounding.to_json(),
            }
            for checkpoint, grounding in zip(local, groundings, strict=True)
        ]
        known = [{"name": entry.hub_id, "bytes": entry.bytes, "for": entry.purpose} for entry in KNOWN]
        print_json({"here": here, "known": known})
    else:
        show_models(terminal(), local, groundings, free_bytes)


@models_app.command("check")
def check_model(
    name: Annotated[str, typer.Argument(help="Any model's name, as in --model.", show_default=False)],
    beside: Annotated[bool, typer.Option("--beside", help="Keep the outcome in the checkpoint's directory.")] = False,
    as_json: Json = False,
) -> None:
    """Find out whether a model points where things are, and in which coordinates, on four pictures of known truth."""
    from deixis.backends import resolve_model
    from deixis.spatial.grounding.canary import measured_and_kept

    backend = resolve_model(name)
    if beside and backend.card.directory is None:
        raise OptionError(f"{name} has no directory on this machine; leave out --beside")
    found = measured_and_kept(backend, beside=beside)
    if as_json:
        print_json({"name": backend.card.name, "identity": backend.card.identity, "grounding": found.to_json()})
    else:
        tried = ", ".join(f"{scale} {iou:.2f}" for scale, iou in found.tried.items())
        typer.echo(f"{backend.card.name}: grounding {found.text} (mean IoU as {tried})")


@models_app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(help="Qwen/Qwen3-VL-2B-Instruct, or modelscope:Qwen/…", show_default=False)],
    as_json: Json = False,
) -> None:
    """Download a checkpoint. A pull that broke off goes on where it stopped."""
    from deixis.backends.pull import pull

    directory = pull(name, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json({"name": name, "directory": str(directory)})
    else:
        typer.echo(f"{name} is at {directory}; use it with --model {name}")
