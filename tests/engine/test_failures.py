"""What goes wrong while requests are served, and who interrupts it: each request has exactly one end, and all pages come back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from deixis.engine import Engine, EngineSettings, Reply, Sampling, Ticket
from deixis.engine.network import Network
from deixis.engine.step import Step
from deixis.errors import EngineError
from deixis.model import Checkpoint
from tests.engine.asked import CONVERSATIONS, Reference, same, settings_with
from tests.engine.stub import StubNetwork

pytestmark = pytest.mark.usefixtures("_one_thread")


def served_by_a_stub(checkpoint: Checkpoint, break_at: Any, overlap: bool) -> tuple[Engine, list[Ticket]]:
    engine = Engine(checkpoint, EngineSettings(overlap=overlap), StubNetwork(checkpoint, break_at))  # type: ignore[arg-type]
    asked = Sampling(max_new_tokens=6, ignore_stop_tokens=True)
    return engine, [engine.submit(CONVERSATIONS[name], asked) for name in ("short", "longer", "longest")]


@pytest.mark.parametrize("overlap", [False, True])
def test_logits_that_are_no_numbers_end_their_own_request(checkpoint: Checkpoint, overlap: bool) -> None:
    def break_at(step: Step, logits: torch.Tensor) -> torch.Tensor:
        for row, span in enumerate(step.spans):
            if span.end == bad_end:
                logits[row, 5] = float("nan")
        return logits

    bad_end = checkpoint.processor.outline(CONVERSATIONS["longer"]).length + 2
    engine, (first, bad, last) = served_by_a_stub(checkpoint, break_at, overlap)
    with pytest.raises(EngineError, match="no numbers"):
        bad.result()
    assert len(first.result().ids) == len(last.result().ids) == 6
    engine.check()
    # Nothing that led to them is found again.
    bad_end = 0
    again = engine.submit(CONVERSATIONS["longer"], Sampling(max_new_tokens=6, ignore_stop_tokens=True))
    assert again.result().reused_tokens == 0 and len(again.result().ids) == 6


@pytest.mark.parametrize("overlap", [False, True])
def test_a_step_that_fails_ends_its_requests_and_the_engine_goes_on(checkpoint: Checkpoint, overlap: bool) -> None:
    failing = [True]

    def break_at(step: Step, logits: torch.Tensor) -> torch.Tensor:
        if failing[0] and step.spans[0].start > 0:
            failing[0] = False
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return logits

    engine, tickets = served_by_a_stub(checkpoint, break_at, overlap)
    engine.step()
    engine.step()
    late = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=3, ignore_stop_tokens=True))
    for ticket in tickets:
        with pytest.raises(EngineError, match="out of memory"):
            ticket.result()
    assert len(late.result().ids) == 3
    engine.check()
    assert engine.stats().pages_in_use == 0


def test_a_picture_that_fails_ends_only_those_who_show_it(
    checkpoint: Checkpoint, network: Network, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = network.see

    def fail(patches: torch.Tensor, grids: Any) -> Any:
        if any(w == 8 for _, _, w in grids):  # picture 3
            raise torch.OutOfMemoryError("no memory for this picture")
        return see(patches, grids)

    monkeypatch.setattr(network, "see", fail)
    engine = Engine(checkpoint, EngineSettings(), network)
    asked = Sampling(max_new_tokens=4)
    tickets = {name: engine.submit(CONVERSATIONS[name], asked) for name in ("one picture", "three", "short", "two pictures")}
    with pytest.raises(EngineError, match="no memory for this picture"):
        tickets.pop("three").result()
    for name, ticket in tickets.items():
        same(ticket.result(), reference(name, asked))
    engine.check()


def test_closing_ends_what_is_open(checkpoint: Checkpoint, network: Network) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    engine.start()
    engine.start()
    tickets = [engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=4_000, ignore_stop_tokens=True)) for _ in range(3)]
    next(tickets[0].events())
    engine.close()
    assert [ticket.result().finish for ticket in tickets] == ["cancelled"] * 3
    assert engine.stats().pages_in_use == 0
    engine.check()


def test_an_engine_that_breaks_in_its_own_thread_lets_nobody_wait(
    checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    ticket = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=50, ignore_stop_tokens=True))
    engine.step()  # it has pages when that happens
    monkeypatch.setattr(engine.scheduler, "plan", lambda: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # it is told there, too
    engine.start()
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        ticket.result()
    stats = engine.stats()
    assert (stats.waiting, stats.running, stats.pages_in_use) == (0, 0, 0)


def test_who_is_interrupted_while_waiting_calls_the_request_off(
    checkpoint: Checkpoint, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(checkpoint, EngineSettings(), network)
    land = engine._land

    def interrupted(flight: Any) -> None:
        land(flight)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_land", interrupted)
    ticket = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=9, ignore_stop_tokens=True))
    with pytest.raises(KeyboardInterrupt):
        ticket.result()
    monkeypatch.undo()
    assert ticket.result().finish == "cancelled" and len(ticket.result().ids) == 1
    engine.check()


@pytest.mark.parametrize("overlap", [False, True])
def test_closing_while_many_wait_gives_each_exactly_one_end(checkpoint: Checkpoint, overlap: bool) -> None:
    engine = Engine(checkpoint, settings_with(checkpoint, 40, overlap=overlap), StubNetwork(checkpoint))  # type: ignore[arg-type]
    engine.start()
    ends: list[tuple[Ticket, Reply]] = []
    asked = Sampling(max_new_tokens=300, ignore_stop_tokens=True, logprobs=False)
    tickets = [engine.submit(CONVERSATIONS[name], asked) for name in ("short", "longer", "one picture", "three") * 3]
    threads = [threading.Thread(target=lambda t=ticket: ends.append((t, t.result()))) for ticket in tickets]
    for thread in threads:
        thread.start()
    next(tickets[0].events())
    engine.close()
    engine.close()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert len(ends) == len(tickets)
    for ticket, reply in ends:
        assert reply.finish == ("length" if len(reply.ids) == 300 else "cancelled")
        assert ticket.result().ids == reply.ids  # nothing is said afterwards
    assert any(reply.finish == "cancelled" for _, reply in ends)
    stats = engine.stats()
    assert (stats.waiting, stats.running, stats.pages_in_use) == (0, 0, 0)
    engine.check()


INTERRUPTED = ("short", "one picture", "same picture", "longer", "same beginning")
PLACES: dict[str, Callable[[Engine], tuple[Any, str]]] = {
    "planned": lambda engine: (engine.runner, "look"),
    "looked at": lambda engine: (engine.runner.network, "forward"),
    "read": lambda engine: (engine.runner.network, "logits"),
    "launched": lambda engine: (engine.runner, "choose"),
    "chosen": lambda engine: (engine, "_land"),
}


def served_by_many_steps(checkpoint: Checkpoint, overlap: bool) -> tuple[Engine, list[Ticket]]:
    settings = settings_with(checkpoint, 60, page_tokens=4, chunk_rows=20, max_rows=40, max_streams=8, overlap=overlap)
    engine = Engine(checkpoint, settings, StubNetwork(checkpoint))  # type: ignore[arg-type]
    asked = Sampling(max_new_tokens=5, seed=7, ignore_stop_tokens=True)
    drawn = replace(asked, temperature=9.0, top_k=40)
    return engine, [engine.submit(CONVERSATIONS[name], drawn if i % 2 else asked) for i, name in enumerate(INTERRUPTED)]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupted_step_harms_nobody_who_goes_on_waiting(checkpoint: Checkpoint, overlap: bool, place: str) -> None:
    _, tickets = served_by_many_steps(checkpoint, overlap)
    expected = [ticket.result().ids for ticket in tickets]
    interruptions = 0
    for number in range(1, 40):
        engine, tickets = served_by_many_steps(checkpoint, overlap)
        owner, name = PLACES[place](engine)
        setattr(owner, name, interrupted_at(number, getattr(owner, name)))
        try:
            for ticket in tickets:
                ticket.result()
            break  # so many steps there are not
        except KeyboardInterrupt:
            interruptions += 1
        while engine.step():
            pass
        replies = [ticket.result() for ticket in tickets]
        called_off = [i for i, reply in enumerate(replies) if reply.finish == "cancelled"]
        assert len(called_off) <= 1  # none, where the awaited one had just ended
        for i, (reply, ids) in enumerate(zip(replies, expected, strict=True)):
            assert reply.ids == (ids[: len(reply.ids)] if i in called_off else ids)
        engine.check()
        assert engine.stats().pages_in_use == 0
    assert interruptions > 5


def interrupted_at(number: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, interrupted when it is made for the `number`-th time."""
    calls = itertools.count(1)

    def made(*given: Any) -> Any:
        if next(calls) == number:
            raise KeyboardInterrupt
        return call(*given)

    return made


def test_who_is_interrupted_between_tokens_calls_the_request_off(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(checkpoint, EngineSettings(), StubNetwork(checkpoint))  # type: ignore[arg-type]
    ticket = engine.submit(CONVERSATIONS["short"], Sampling(max_new_tokens=9, ignore_stop_tokens=True))
    events = ticket.events()
    next(events)
    with monkeypatch.context() as patch:
        patch.setattr(engine.runner, "launch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            next(events)
    assert ticket.result().finish == "cancelled"
    assert engine.stats().pages_in_use == 0
    engine.check()
