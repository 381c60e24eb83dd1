"""The table: what was measured, beside peers, goals and the machine's limit.

Knows names, ratios and shares. Does not measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deixis.lab.speed.asking import Asking
from deixis.lab.speed.machine import Cost, Machine

OWN_TOKENS = 32  # of a short question with its turn's structure: what a second question reads


@dataclass(frozen=True)
class Row:
    """One line. `ratio` above 1 means that this house is better, whatever the unit; `limit` is in the same unit as `value`."""

    key: str
    name: str
    unit: str
    value: float | None = None
    peer: str = ""
    peer_value: float | None = None
    limit: float | None = None
    goal: float | None = None
    goal_ratio: float | None = None

    @property
    def less_is_better(self) -> bool:
        """Whether it is a time."""
        return self.unit == "ms"

    @property
    def ratio(self) -> float | None:
        """Times as good as the peer."""
        return self._quotient(self.peer_value, self.value)

    @property
    def share(self) -> float | None:
        """Of the machine's limit."""
        return self._quotient(self.limit, self.value)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one, or before it is known."""
        if self.goal is not None and self.value is not None:
            return self.value <= self.goal if self.less_is_better else self.value >= self.goal
        if self.goal_ratio is not None and self.ratio is not None:
            return self.ratio >= self.goal_ratio
        return None

    def _quotient(self, time_of: float | None, value: float | None) -> float | None:
        if not time_of or not value:
            return None
        return time_of / value if self.less_is_better else value / time_of

    def to_json(self) -> dict[str, Any]:
        """The documented shape of `deixis bench speed --json`."""
        return {
            "key": self.key,
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "peer": {"name": self.peer, "value": _rounded(self.peer_value)} if self.peer else None,
            "ratio": _rounded(self.ratio),
            "limit": _rounded(self.limit),
            "share": _rounded(self.share),
            "goal": self.goal,
            "goal_ratio": self.goal_ratio,
            "met": self.met,
        }


# (device, shape) -> row -> goal, of issue 4: ms, tokens/s, requests/s; or how many times the peer.
GOALS: dict[tuple[str, str], dict[str, float]] = {
    ("cuda", "2B"): {"first": 20, "second": 4, "decode": 850, "many": 66, "one": 320},
    ("cuda", "8B"): {"first": 42, "second": 7, "decode": 240, "many": 29, "one": 180},
    ("cpu", "2B"): {"decode": 15},
}
GOAL_RATIOS: dict[tuple[str, str], dict[str, float]] = {
    ("cpu", "2B"): {"first": 1},
    ("cpu", "nano"): {"ask": 4, "alone": 3},
}


def rows_of(
    device: str,
    shape: str,
    asking: Asking,
    ours: Mapping[str, float],
    peer: str,
    theirs: Mapping[str, float],
    machine: Machine,
    cost: Cost,
) -> list[Row]:
    """All lines of the table; what is not measured (yet) is None."""
    units = {"first": "ms", "second": "ms", "decode": "tok/s", "many": "req/s", "one": "req/s"}
    side, count = asking.side_px, asking.requests
    names = {
        "first": f"first token, one {side}x{side} picture from decoded pixels",
        "second": "second question about the same picture, first token",
        "decode": "decoding, one stream",
        "many": f"{count} requests at once, {count} pictures, {asking.request_tokens} tokens each",
        "one": f"{count} requests at once, one picture, {asking.request_tokens} tokens each",
    }
    limits = limits_of(asking, machine, cost)
    goals, ratios = GOALS.get((device, shape), {}), GOAL_RATIOS.get((device, shape), {})
    rows = [
        Row(
            key, names[key], units[key], ours.get(key), peer if peer != "none" else "", theirs.get(key),
            limits[key], goals.get(key), ratios.get(key),
        )
        for key in names
    ]  # fmt: skip
    if "ask" in ours:
        name = "ask: a question about a new picture, answered and verified"
        rows.insert(0, Row("ask", name, "ms", ours["ask"], rows[0].peer, theirs.get("ask"), goal_ratio=ratios.get("ask")))
    if "alone" in ours:
        rows.append(
            Row(
                "alone", f"{count} questions about one picture, together", "req/s", ours.get("one"), "one at a time",
                ours["alone"], limits["one"], None, ratios.get("alone"),
            )
        )  # fmt: skip
    return rows


def limits_of(asking: Asking, machine: Machine, cost: Cost) -> dict[str, float]:
    """The best that the machine's measured rates allow, in each row's unit."""
    sight = cost.config.vision
    patches = (asking.side_px // sight.patch_size) ** 2
    visual = patches // sight.spatial_merge_size**2
    prompt = visual + OWN_TOKENS
    count, steps = asking.requests, asking.request_tokens - 1
    reply = asking.request_tokens / 2
    # Bursts: prompts at the matrix rate, then steps of all streams at the memory's.
    many = count * cost.prompt_s(machine, prompt, patches=patches) + steps * cost.step_s(machine, count, own=prompt + reply)
    words = cost.prompt_flops(OWN_TOKENS, visual) * count / machine.flops_per_s
    one = cost.prompt_s(machine, visual, patches=patches) + words
    one += steps * cost.step_s(machine, count, own=OWN_TOKENS + reply, shared=visual)
    return {
        "first": 1e3 * cost.prompt_s(machine, prompt, patches=patches),
        "second": 1e3 * cost.prompt_s(machine, OWN_TOKENS, visual),
        "decode": 1 / cost.step_s(machine, own=prompt + asking.decode_tokens / 2),
        "many": count / many,
        "one": count / one,
    }


def report(rows: Sequence[Row], machine: Machine, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` prints and `--out` keeps."""
    return {"machine": asdict(machine), **facts, "rows": [row.to_json() for row in rows]}


def told(row: Row) -> tuple[str, ...]:
    """A line's cells: name, ours, peer, ratio, limit, share, goal."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    goal = ""
    if row.goal is not None:
        goal = f"{'at most' if row.less_is_better else 'at least'} {number(row.goal)}"
    elif row.goal_ratio is not None:
        goal = f"at least {number(row.goal_ratio)}x"
    if goal and row.met is not None:
        goal += " met" if row.met else " missed"
    return (
        row.name,
        f"{number(row.value)} {row.unit}" if row.value is not None else "",
        f"{number(row.peer_value)} ({row.peer})" if row.peer_value is not None else "",
        f"{row.ratio:.2f}x" if row.ratio is not None else "",
        number(row.limit),
        f"{row.share:.0%}" if row.share is not None else "",
        goal,
    )


HEADS = ("", "Deixis", "peer", "ratio", "limit", "share", "goal")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
