"""`deixis top`: what a gateway is doing, in the terminal.

Knows the gateway's figures by name. Does not know how they are counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deixis.cli.commands import Json, print_json, terminal
from deixis.errors import BackendError

if TYPE_CHECKING:
    from rich.console import RenderableType

Figures = Mapping[str, list[tuple[Mapping[str, str], float]]]
_MIB = 2**20


def top_command(
    url: Annotated[str, typer.Option(help="The gateway; its key comes from DEIXIS_API_KEY.")] = "http://127.0.0.1:8080",
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Json = False,
) -> None:
    """Requests, queues, models, caches and errors of a gateway, as they change."""
    from rich.live import Live

    before: tuple[float, Figures] | None = None
    if once or as_json:
        figures = read_figures(url)
        if as_json:
            print_json({name: [{"labels": labels, "value": value} for labels, value in rows] for name, rows in figures.items()})
        else:
            terminal().print(shown(figures, None, 0.0))
        return
    with Live(console=terminal(), screen=True, auto_refresh=False) as live:
        while True:
            now, figures = time.monotonic(), read_figures(url)
            live.update(shown(figures, before and before[1], 0.0 if before is None else now - before[0]), refresh=True)
            before = now, figures
            time.sleep(every)


def read_figures(url: str) -> Figures:
    """The gateway's figures by name. Raises BackendError where it does not answer."""
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    key = os.environ.get("DEIXIS_API_KEY", "")
    try:
        response = httpx.get(f"{url.rstrip('/')}/metrics", headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=5)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BackendError(f"{url} did not answer ({error}); is `deixis serve` running?") from error
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def shown(figures: Figures, before: Figures | None, seconds: float) -> RenderableType:
    """Tables of what matters; rates where there is an earlier look."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def total(name: str, model: str = "", of: Figures = figures) -> float:
        return sum(value for own, value in of.get(name, ()) if not model or own.get("model") == model)

    def rate(name: str, model: str = "") -> str:
        if before is None or seconds <= 0:
            return "–"
        return f"{(total(name, model) - total(name, model, before)) / seconds:.1f}"

    taken, places, accepted, ended = (
        total(f"deixis_{name}") for name in ("places_taken", "places", "accepted_total", "ended_total")
    )
    head = Text(
        f"places {taken:.0f} of {places:.0f} · requests/s {rate('deixis_requests_total')} · accepted {accepted:.0f} · "
        f"ended {ended:.0f} · pictures {total('deixis_pictures_total'):.0f}"
    )
    models = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("model", "state", "running", "waiting", "tokens/s", "first token", "cached", "pages", "memory", "restarts"):
        models.add_column(column, justify="left" if column in ("model", "state") else "right")
    for name in _labels(figures.get("deixis_model_state", ()), "model"):
        state = next(own["state"] for own, value in figures["deixis_model_state"] if own["model"] == name and value)
        first, count = (total(f"deixis_first_token_seconds_{part}", name) for part in ("sum", "count"))
        prompt, cached = total("deixis_prompt_tokens_total", name), total("deixis_cached_tokens_total", name)
        models.add_row(
            name,
            state,
            f"{total('deixis_model_running', name):.0f}",
            f"{total('deixis_model_waiting', name):.0f}",
            rate("deixis_tokens_total", name),
            f"{first / count:.2f} s" if count else "–",
            f"{cached / prompt:.0%}" if prompt else "–",
            f"{total('deixis_engine_pages_in_use', name):.0f}",
            f"{total('deixis_model_memory_bytes', name) / _MIB:.0f} MiB",
            f"{total('deixis_model_restarts', name):.0f}",
        )
    errors = ", ".join(f"{own['type']} {value:.0f}" for own, value in figures.get("deixis_errors_total", ()))
    return Group(head, models, Text(f"errors: {errors or 'none'}", style="dim"))


def _labels(rows: Iterable[tuple[Mapping[str, Any], float]], name: str) -> list[str]:
    return list(dict.fromkeys(own[name] for own, _ in rows))
