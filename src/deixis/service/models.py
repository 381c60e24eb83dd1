"""The models of the gateway: by name and by task, several at once within a budget of memory.

Knows names, budgets and turns. Does not know HTTP, nor how a model computes. Only the names that the server was started with, and
what lies on this machine where that is offered, can be asked for: a request names no directory.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deixis.backends.catalog import GIB, cached_directory, nano_directory, weight_files
from deixis.errors import ConflictError, DeixisError, ModelNotFoundError, OptionError
from deixis.service.engine_process import worker_command
from deixis.service.served import Served

Command = Callable[[str, int], Sequence[str]]
_ALIAS = re.compile(r"([\w./-]+)=(.+)")
_REMOTE_BYTES = GIB // 4
_VARIANT = re.compile(r"(?i)[-_](instruct|thinking)\b")
# Reasoning costs seconds: it is for questions, not for lists of boxes.
_VARIANT_OF_TASK: Mapping[str, str] = {
    "ask": "thinking",
    "chat": "instruct",
    "locate": "instruct",
    "scene": "instruct",
    "watch": "instruct",
}


class Models:
    """All models; the first is the default. `budget_bytes` holds for those that are loaded."""

    def __init__(
        self, names: Iterable[str], slots: int, budget_bytes: int, *, canary: bool = True, command: Command = worker_command
    ) -> None:
        self._by_name: dict[str, Served] = {}
        self._budget_bytes = budget_bytes
        self._canary = canary
        self._room = asyncio.Lock()
        self._measuring: set[asyncio.Task[None]] = set()
        for written in names:
            name, spec = name_and_spec(written)
            if name in self._by_name:
                raise OptionError(f"two models are called {name!r}; give one of them another name: other={spec}")
            self._by_name[name] = Served(name, spec, command(spec, slots), slots, expected_bytes(spec))
        self.default = next(iter(self._by_name))
        self.started = False  # whether all that were to be loaded at first have been tried

    @property
    def served(self) -> tuple[Served, ...]:
        """All of them."""
        return tuple(self._by_name.values())

    @property
    def taken_bytes(self) -> int:
        """Memory of those that are loaded."""
        return sum(one.memory_bytes for one in self.served if one.loaded)

    @property
    def ready(self) -> bool:
        """Whether the default model can be asked."""
        return self._by_name[self.default].state == "ready"

    def named(self, name: str) -> Served:
        """Raises ModelNotFoundError."""
        found = self._by_name.get(name)
        if found is None:
            raise ModelNotFoundError(f"no model {name[:100]!r} is served here; expected {', '.join(self._by_name)}")
        return found

    def chosen(self, name: str | None, task: str) -> Served:
        """The model for a request: the named one; without a name, or with the name that an Instruct and a Thinking model share,
        the one that suits the task, else the default."""
        if name in (None, "", "auto", "default"):
            default = self._by_name[self.default]
            return self._variant(_VARIANT.sub("", self.default), task) or default
        assert name is not None
        return self._by_name.get(name) or self._variant(name, task) or self.named(name)

    def _variant(self, base: str, task: str) -> Served | None:
        """Where both variants are ready, the one for the task."""
        found = {
            m[1].lower(): one for one in self.served if (m := _VARIANT.search(one.name)) and _VARIANT.sub("", one.name) == base
        }
        if len(found) < 2 or any(one.state != "ready" for one in found.values()):
            return None
        return found[_VARIANT_OF_TASK[task]]

    async def start(self) -> None:
        """Load as many as there is room for, in order; those that fail stay `failed`, and say why."""
        for one in self.served:
            try:
                await self.load(one.name, make_room=False)
            except DeixisError as error:
                one.error = error if one.state in ("failed", "cold") else one.error
        self.started = True

    async def load(self, name: str, *, make_room: bool = True) -> Served:
        """Make a model ready; others that nobody asked for longest go, pinned and busy ones never. Raises ConflictError where
        there is no room, or what loading failed with."""
        one = self.named(name)
        async with self._room:
            if not one.loaded:
                await self._room_for(one, make_room)
            fresh = one.state != "ready"
            await one.load()
        if fresh and self._canary:
            task = asyncio.create_task(one.measure())
            self._measuring.add(task)
            task.add_done_callback(self._measuring.discard)
        return one

    async def unload(self, name: str, within_s: float) -> Served:
        """Let a model go; requests in flight end first. Raises ConflictError for a pinned or the default model."""
        one = self.named(name)
        if one.pinned or name == self.default:
            raise ConflictError(f"{name} is {'pinned' if one.pinned else 'the default'}; unpin it, or make another the default")
        await one.unload(within_s)
        return one

    def switch(self, name: str) -> Served:
        """Make a ready model the default. Requests in flight stay where they are. Raises ConflictError for one that is not."""
        one = self.named(name)
        if one.state != "ready":
            raise ConflictError(f"{name} is {one.state}; load it first")
        self.default = name
        return one

    async def stop(self) -> None:
        """End all of them."""
        for task in tuple(self._measuring):
            task.cancel()
        await asyncio.gather(*(one.unload(0.0) for one in self.served), return_exceptions=True)

    async def _room_for(self, wanted: Served, make_room: bool) -> None:
        needs, budget = wanted.memory_bytes, self._budget_bytes
        if needs > budget:
            raise ConflictError(f"{wanted.name} needs {needs / GIB:.1f} GiB, and the budget is {budget / GIB:.1f} GiB")
        idle = [one for one in self.served if one.loaded and not one.pinned and not one.running and one.name != self.default]
        for one in sorted(idle, key=lambda one: one.last_asked) if make_room else ():
            if self.taken_bytes + needs <= budget:
                return
            await one.unload(0.0)
        if (taken := self.taken_bytes) + needs > budget:
            raise ConflictError(
                f"{wanted.name} needs {needs / GIB:.1f} GiB, and {taken / GIB:.1f} of {budget / GIB:.1f} GiB are taken; "
                "unload or unpin another model first"
            )


def name_and_spec(written: str) -> tuple[str, str]:
    """`name=spec`, or a spec that is its own name: of `http://host/v1#name` the name, of a directory its last part."""
    found = _ALIAS.fullmatch(written)
    if found and not written.startswith(("http://", "https://", "/", ".", "~")):
        return found[1], found[2]
    if written.startswith(("http://", "https://")):
        return written.rpartition("#")[2] if "#" in written else written.split("//", 1)[1].split("/")[0], written
    if Path(written).expanduser().is_dir():
        return Path(written).expanduser().resolve().name, written
    return written, written


def expected_bytes(spec: str) -> int:
    """What a model will take before it was loaded; 0 where only loading tells."""
    if spec.startswith(("http://", "https://")):
        return _REMOTE_BYTES
    directory: Path | None = nano_directory() if spec == "nano" else Path(spec).expanduser()
    if directory is not None and not directory.is_dir():
        hub_id = spec.removeprefix("modelscope:")
        found = cached_directory(hub_id, "modelscope" if hub_id != spec else "huggingface") if "/" in hub_id else None
        directory = found
    if directory is None:
        return 0
    weights = sum(path.stat().st_size for path in weight_files(directory) if path.is_file())
    return int(weights * 1.2) + GIB if weights else 0
