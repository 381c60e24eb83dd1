"""An engine's process: one model, asked over a socket pair. Started by the gateway as `python -m deixis.service.worker FD`.

Knows the model and its tasks. Does not know HTTP. It ends when the gateway's end of the pair is closed.

Asked {"id", "op", …} with blobs; answers {"id", "event", …} while it works and exactly one {"id", "end": "value" | "error", …}.
{"id", "op": "cancel"} calls a request off, {"id", "op": "stats"} is answered at once, however busy it is. Unasked it says
{"event": "ready", "card"} once, or {"event": "failed", "error"} and ends.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deixis.backends import Backend, resolve_model
from deixis.backends.openai import OpenAIBackend
from deixis.errors import DeixisError
from deixis.service.call import Call, error_json, held_by_call, working_for
from deixis.service.chat_task import Submitting, chat
from deixis.service.spatial_tasks import TASKS
from deixis.service.wire import Frame, Pipe
from deixis.spatial import Deixis

NICE = 10  # the gateway answers at once, however busy the engines are
log = logging.getLogger("deixis.engine")


class Worker:
    """Serves one `Deixis`. `threads` requests are worked on at a time; the others wait in order."""

    def __init__(self, pipe: Pipe, deixis: Deixis, threads: int) -> None:
        self._pipe = pipe
        self._deixis = deixis
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="deixis-call")
        self._calls: dict[int, Call] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Until the gateway has gone."""
        while (frame := self._pipe.read()) is not None:
            number, op = frame.head["id"], frame.head["op"]
            if op == "cancel":
                with self._lock:
                    call = self._calls.get(number)
                if call is not None:
                    call.cancel()
            elif op == "stats":
                self._end(number, stats_of(self._deixis.backend))
            else:
                call = Call(self._sender(number))
                with self._lock:
                    self._calls[number] = call
                self._pool.submit(self._work, number, call, frame)

    def _sender(self, number: int) -> Callable[[Mapping[str, Any]], None]:
        return lambda event: self._pipe.write(Frame({"id": number, **event}))

    def _work(self, number: int, call: Call, frame: Frame) -> None:
        try:
            call.check()
            with working_for(call):
                value = self._answer(call, frame.head, frame.blobs)
            self._end(number, value)
        except OSError:  # the gateway has gone; `serve` ends the process
            return
        except DeixisError as error:
            self._fail(number, error)
        except Exception as error:  # one request's fault is not the others'
            log.error("a fault in %s: %s", frame.head["op"], type(error).__name__, exc_info=bool(os.environ.get("DEIXIS_DEBUG")))
            self._fail(number, error)
        finally:
            with self._lock:
                self._calls.pop(number, None)

    def _answer(self, call: Call, head: Mapping[str, Any], blobs: Sequence[bytes]) -> dict[str, Any]:
        if head["op"] == "chat":
            return chat(self._deixis.backend, call, head["asked"], blobs)
        if head["op"] == "canary":
            return canary(self._deixis.backend)
        return TASKS[head["op"]](self._deixis, call, head["asked"], blobs)

    def _end(self, number: int, value: Mapping[str, Any]) -> None:
        # As a blob: the gateway passes most answers on as they are.
        self._pipe.write(Frame({"id": number, "end": "value"}, (json.dumps(value, ensure_ascii=False).encode(),)))

    def _fail(self, number: int, error: Exception) -> None:
        self._pipe.write(Frame({"id": number, "end": "error", "error": error_json(error)}))


def canary(backend: Backend) -> dict[str, Any]:
    """Where the model points, measured now."""
    from deixis.spatial.grounding.canary import measured_and_kept

    return measured_and_kept(backend).to_json()


def stats_of(backend: Backend) -> dict[str, Any]:
    """What the engine holds and has done; nothing for a model that is elsewhere."""
    return dict(vars(backend.engine.engine.stats())) if isinstance(backend, Submitting) else {}


def card_of(deixis: Deixis) -> dict[str, Any]:
    """What `/v1/models` says of a model."""
    from deixis.spatial.grounding.canary import known_grounding

    card = deixis.backend.card
    grounding = known_grounding(card.identity, card.directory) if card.identity else None
    return {
        "name": card.name,
        "why": card.why,
        "knows": card.knows,
        "thinking": card.thinking,
        "grounding": None if grounding is None else grounding.to_json(),
        "load_ms": round(deixis.load_ms, 1),
    }


def served(model: str) -> Deixis:
    """The model, with its engine driven by a thread of its own and its requests ready to be called off."""
    backend = resolve_model(model)
    if isinstance(backend, Submitting):
        from deixis.service.scoped import callable_off

        backend = callable_off(backend)
    elif isinstance(backend, OpenAIBackend):
        backend.remote.holding = held_by_call
    return Deixis(backend)


def run(sock: socket.socket, load: Callable[[], Deixis], threads: int) -> int:
    """Load, say so, serve. The process's exit code."""
    pipe = Pipe(sock)
    try:
        deixis = load()
    except Exception as error:  # noqa: BLE001 - the gateway is told, whatever it is
        log.error("the model cannot be loaded: %s", error if isinstance(error, DeixisError) else type(error).__name__)
        pipe.write(Frame({"event": "failed", "error": error_json(error)}))
        return 1
    pipe.write(Frame({"event": "ready", "card": card_of(deixis)}))
    Worker(pipe, deixis, threads).serve()
    return 0


def main(load: Callable[[str], Deixis] = served) -> None:
    """`python -m deixis.service.worker FD MODEL THREADS`."""
    descriptor, model, threads = sys.argv[1:4]
    logging.basicConfig(stream=sys.stderr, format='{"at":"%(asctime)s","room":"%(name)s","text":"%(message)s"}')
    os.nice(NICE)
    code = run(socket.socket(fileno=int(descriptor)), lambda: load(model), int(threads))
    sys.stderr.flush()
    os._exit(code)  # threads may be in the middle of a request that nobody waits for


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
