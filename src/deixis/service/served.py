"""One model of the gateway: its engine's process kept running, its slots, its state.

Knows processes and turns. Does not know HTTP. A process that ends by itself is started again, at once at first, then ever later;
a model that cannot be loaded is `failed` and stays so until it is asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from deixis.errors import BackendError, DeixisError, InputError, OverloadError
from deixis.service.admission import retry_after
from deixis.service.engine_process import EngineProcess, end_of, resident_bytes
from deixis.service.wire import Frame

State = Literal["cold", "loading", "ready", "draining", "failed"]
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_HEALTHY_S = 60.0  # a process that lived so long begins its backoff anew
log = logging.getLogger("deixis.models")


class Served:
    """A model by its public name. `needs_bytes` is what it is expected to take before it was ever loaded."""

    def __init__(self, name: str, spec: str, command: Sequence[str], slots: int, needs_bytes: int = 0) -> None:
        self.name = name
        self.spec = spec
        self.pinned = False
        self.last_asked = 0.0
        self.error: DeixisError | None = None
        self.card: Mapping[str, Any] = {}
        self.grounding: Mapping[str, Any] | None = None
        self.restarts = 0
        self.waiting = 0
        self.running = 0
        self._state: State = "cold"
        self._command = command
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self._needs_bytes = needs_bytes
        self._process: EngineProcess | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def pid(self) -> int | None:
        """Its engine's process."""
        return None if self._process is None else self._process.pid

    @property
    def memory_bytes(self) -> int:
        """Memory that it takes, or is expected to."""
        return max(self._needs_bytes, resident_bytes(self.pid) if self.state in ("ready", "draining") else 0)

    @property
    def loaded(self) -> bool:
        """Whether it takes memory now, or is about to."""
        return self._state in ("loading", "ready", "draining")

    async def load(self) -> None:
        """Start it unless it runs, and wait until it is ready. Raises what it failed with."""
        if self._keeper is None or self._keeper.done():
            self.error = None
            self._enter("loading")
            self._keeper = asyncio.create_task(self._keep())
        await self.settled()
        if self.error is not None:
            raise self.error

    async def settled(self) -> None:
        """Until it is neither loading nor draining."""
        while self._state in ("loading", "draining"):
            self._changed.clear()
            await self._changed.wait()

    async def unload(self, within_s: float) -> None:
        """End it, once what it works on is over, or after so long."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            self._enter("cold")
            return
        self._enter("draining")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        self._enter("cold")

    @asynccontextmanager
    async def asking(self, op: str, asked: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> AsyncIterator[AsyncIterator[Frame]]:
        """Wait for a slot, then ask; see `EngineProcess.asking`. The slot is free again when this is left, however."""
        self._require("ready")
        self.last_asked = asyncio.get_running_loop().time()
        self._idle.clear()
        self.waiting += 1
        try:
            try:
                await self._free.acquire()
            finally:
                self.waiting -= 1
            self.running += 1
            try:
                # One that is being unloaded still serves those who came before.
                async with self._require("ready", "draining").asking(op, asked, blobs) as events:
                    yield events
            finally:
                self.running -= 1
                self._free.release()
        finally:
            if not self.running and not self.waiting:
                self._idle.set()

    async def stats(self) -> dict[str, Any]:
        """What its engine holds and has done; empty while there is none."""
        if self._process is None or self._state not in ("ready", "draining"):
            return {}
        return await self._process.stats()

    async def measure(self) -> None:
        """Run the grounding canary. A model that does not point at things serves conversations, and nothing spatial."""
        try:
            async with self.asking("canary", {}) as events:
                self.grounding = json.loads(await end_of(events))
        except DeixisError as error:
            log.warning("the canary of %s was not measured: %s", self.name, type(error).__name__)

    def require_grounding(self) -> None:
        """Raises BackendError where the canary found that the model's boxes are not where things are."""
        if self.grounding is not None and self.grounding["scale"] is None:
            raise BackendError(f"{self.name} does not point at things (mean IoU {self.grounding['iou']}); use another model")

    def to_json(self) -> dict[str, Any]:
        """For `/v1/models`."""
        return {
            "state": self._state,
            "pinned": self.pinned,
            "memory_bytes": self.memory_bytes,
            "running": self.running,
            "waiting": self.waiting,
            "restarts": self.restarts,
            "why": self.card.get("why", ""),
            "knows": self.card.get("knows", ""),
            "thinking": self.card.get("thinking", False),
            "grounding": self.grounding,
            "error": None if self.error is None else str(self.error),
        }

    def _require(self, *states: State) -> EngineProcess:
        if self._process is not None and self._state in states:
            return self._process
        if self.error is not None:
            raise OverloadError(f"{self.name} cannot be loaded: {self.error}")
        raise retry_after(OverloadError(f"{self.name} is {self._state}; try again in a moment"), 2.0)

    async def _keep(self) -> None:
        """Its process, started again whenever it is lost."""
        tries = 0
        try:
            while True:
                await asyncio.sleep(_BACKOFF_S[min(tries, len(_BACKOFF_S) - 1)])
                began = asyncio.get_running_loop().time()
                self._lost.clear()
                process = self._process = EngineProcess(self._command, self._on_lost)
                try:
                    await process.start()
                except InputError as error:
                    self.error = error
                    self._enter("failed")
                    return
                except DeixisError as error:
                    log.error("%s did not start: %s", self.name, type(error).__name__)
                    tries += 1
                    continue
                self.card = process.card
                self.grounding = self.card.get("grounding")
                self._enter("ready")
                await self._lost.wait()
                self.restarts += 1
                tries = 0 if asyncio.get_running_loop().time() - began > _HEALTHY_S else tries + 1
        finally:
            if self._process is not None:
                await self._process.stop()

    def _on_lost(self) -> None:
        if self._state == "ready":
            self._enter("loading")
            log.error("the engine of %s has ended; another one is being started", self.name)
        self._lost.set()

    def _enter(self, state: State) -> None:
        self._state = state
        self._changed.set()
