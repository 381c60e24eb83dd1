"""What is asked wrongly, and too much of it: a typed error for that request, at once, and the others unharmed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from deixis.engine import Engine, EngineSettings, Sampling
from deixis.engine.network import Network
from deixis.engine.sampling import distributions
from deixis.errors import DeixisError, EngineError, InputError, OptionError, OverloadError, PictureError, SchemaError
from deixis.model import Checkpoint
from tests.engine.asked import CONVERSATIONS, Reference, about, same, settings_with
from tests.engine.stub import StubNetwork

pytestmark = pytest.mark.usefixtures("_one_thread")


REFUSED: dict[str, tuple[type[DeixisError], str, Any]] = {
    "more pages than exist": (InputError, "pages", lambda: (about("Where?", 1), Sampling(max_new_tokens=3_000))),
    "longer than the context": (InputError, "4096", lambda: (about("where " * 5_000), Sampling())),
    "zero-size picture": (
        PictureError,
        "uint8",
        lambda: ([{"role": "user", "content": [{"type": "image", "image": np.zeros((0, 5, 3), np.uint8)}]}], Sampling()),
    ),
    "a million stop strings": (OptionError, "1000000", lambda: (about("Where?"), Sampling(stop=("x",) * 10**6))),
    "a long stop string": (OptionError, "256", lambda: (about("Where?"), Sampling(stop=("x" * 300,)))),
    "an empty stop string": (OptionError, "stop", lambda: (about("Where?"), Sampling(stop=("",)))),
    "impossible schema": (SchemaError, "minimum", lambda: (about("Where?"), Sampling(max_new_tokens=8, schema=IMPOSSIBLE))),
    "no replies": (OptionError, "n is 0", lambda: (about("Where?"), Sampling(n=0))),
    "temperature": (OptionError, "temperature", lambda: (about("Where?"), Sampling(temperature=float("nan")))),
    "top_p": (OptionError, "top_p", lambda: (about("Where?"), Sampling(top_p=0))),
    "top_k": (OptionError, "top_k", lambda: (about("Where?"), Sampling(top_k=-1))),
    "seed": (OptionError, "seed", lambda: (about("Where?"), Sampling(seed=-1))),
    "deadline": (OptionError, "deadline_s", lambda: (about("Where?"), Sampling(deadline_s=0))),
    "no tokens": (OptionError, "max_new_tokens", lambda: (about("Where?"), Sampling(max_new_tokens=0))),
}
IMPOSSIBLE = {"type": "integer", "minimum": 5, "maximum": 3}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_requests_are_refused_at_once_and_others_are_unharmed(
    what: str, checkpoint: Checkpoint, network: Network, reference: Reference
) -> None:
    engine = Engine(checkpoint, settings_with(checkpoint, 40), network)
    asked = Sampling(max_new_tokens=6, ignore_stop_tokens=True)
    before = engine.submit(CONVERSATIONS["one picture"], asked)
    engine.step()
    kind, found, make = REFUSED[what]
    with pytest.raises(kind, match=found):
        engine.submit(*make())
    same(before.result(), reference("one picture", asked))
    same(engine.submit(CONVERSATIONS["same picture"], asked).result(), reference("same picture", asked))
    engine.check()
    assert engine.stats().pages_in_use == 0


ABUSE: list[tuple[str, Any]] = [
    ("temperature", [-0.1, float("nan"), float("inf"), 1e-30, 1e30, "hot", None, True]),
    ("top_p", [-1, 0, 1.5, float("nan"), "all", None]),
    ("top_k", [-1, 2**70, 1.5, "all", None, 10**5000]),
    ("n", [0, -1, 257, 10**6, 2.0, "2", None, True, 10**5000]),
    ("seed", [-1, 2**62, 0.5, "x", None, 10**5000]),
    ("max_new_tokens", [0, -5, 2**31, 16.0, "many", None, 10**5000]),
    ("alternatives", [-1, 65, 10**9, 1.0, None]),
    ("deadline_s", [0, -1, float("nan"), float("inf"), "soon"]),
    ("stop", [("",), ("x" * 2**20,), ("x",) * 10**6, (None,), [b"x"], 5, None, itertools.repeat("x"), {"x": 1}]),
]


@pytest.mark.parametrize(("name", "values"), ABUSE, ids=lambda x: x if isinstance(x, str) else "")
def test_settings_out_of_range_are_refused_in_one_short_line(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(OptionError, match=name) as refused:
            Sampling(**{name: value})
        assert len(str(refused.value)) < 250


def test_numbers_of_numpy_are_numbers() -> None:
    asked = Sampling(temperature=np.float32(0.5), n=np.int64(2), max_new_tokens=np.int32(3))  # type: ignore[arg-type]
    assert (asked.temperature, asked.n, asked.max_new_tokens) == (0.5, 2, 3)


@pytest.mark.parametrize("settings", [{"top_p": 1e-60}, {"top_k": 2**31 - 1}, {"temperature": 1e-5}, {"temperature": 100.0}])
def test_the_outermost_settings_draw_what_may_be_drawn(settings: dict[str, Any]) -> None:
    asked = Sampling(**{"temperature": 1.0, **settings})
    logits = torch.tensor([[1.0, 900.0, -900.0, float("-inf")]])
    columns = (torch.tensor([float(asked.temperature)]), torch.tensor([asked.top_k]), torch.tensor([float(asked.top_p)]))
    found = distributions(logits, *columns)
    assert found.sum() == pytest.approx(1) and found[0, 3] == 0 and found.argmax() == 1


def test_a_billion_tokens_are_as_many_as_the_context_has(checkpoint: Checkpoint, network: Network) -> None:
    limit = checkpoint.config.text.max_position_embeddings
    engine = Engine(checkpoint, settings_with(checkpoint, limit // 16), StubNetwork(checkpoint))  # type: ignore[arg-type]
    ticket = engine.submit(about("Where?"), Sampling(max_new_tokens=10**9, ignore_stop_tokens=True, logprobs=False))
    reply = ticket.result()
    assert reply.finish == "length" and ticket.prompt_tokens + len(reply.ids) == limit
    assert engine.stats().pages_in_use == 0


def test_too_many_waiting_are_refused_and_those_who_wait_are_served(
    checkpoint: Checkpoint, network: Network, reference: Reference
) -> None:
    engine = Engine(checkpoint, EngineSettings(max_waiting=3, max_streams=1), network)
    asked = Sampling(max_new_tokens=4, ignore_stop_tokens=True)
    tickets = [engine.submit(CONVERSATIONS["short"], asked) for _ in range(3)]
    with pytest.raises(OverloadError, match="3 requests wait") as refused:
        engine.submit(CONVERSATIONS["short"], asked)
    assert refused.value.http_status == 503
    engine.step()  # one runs, two wait
    tickets.append(engine.submit(CONVERSATIONS["longer"], asked))
    with pytest.raises(OverloadError):
        engine.submit([], asked)  # before anything is read
    for ticket in tickets[:3]:
        same(ticket.result(), reference("short", asked))
    same(tickets[3].result(), reference("longer", asked))
    same(engine.submit(CONVERSATIONS["short"], asked).result(), reference("short", asked))
    engine.check()


def test_a_deadline_that_is_past_costs_no_step(checkpoint: Checkpoint) -> None:
    network = StubNetwork(checkpoint)
    engine = Engine(checkpoint, EngineSettings(), network)  # type: ignore[arg-type]
    reply = engine.submit(CONVERSATIONS["one picture"], Sampling(deadline_s=1e-9)).result()
    assert (reply.finish, reply.ids, reply.text) == ("deadline", (), "")
    assert engine.stats().steps == engine.stats().pages_in_use == engine.stats().pictures_seen == 0


def test_a_memory_of_no_page_is_refused(checkpoint: Checkpoint, network: Network) -> None:
    with pytest.raises(OptionError, match="kv_bytes"):
        Engine(checkpoint, EngineSettings(kv_bytes=10), network)
    for wrong in ({"page_tokens": 0}, {"max_rows": 0}, {"vision_cache_bytes": -1}, {"max_rows": 4, "max_streams": 5}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            EngineSettings(**wrong)  # type: ignore[arg-type]


def test_a_cache_that_no_machine_holds_is_a_typed_error(checkpoint: Checkpoint, network: Network) -> None:
    with pytest.raises(EngineError, match="kv_bytes"):
        Engine(checkpoint, EngineSettings(kv_bytes=2**55), network)


@pytest.mark.parametrize("where", ["pages", "warm"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["cuda", "host"])
def test_no_memory_on_load_is_a_typed_error(where: str, error: Exception, checkpoint: Checkpoint, monkeypatch: Any) -> None:
    def fail(*_: Any) -> None:
        raise error

    network = StubNetwork(checkpoint)
    monkeypatch.setattr(network, where, fail)
    with pytest.raises(EngineError, match="smaller model"):
        Engine(checkpoint, EngineSettings(), network)  # type: ignore[arg-type]
    error = RuntimeError("a broken kernel")  # is not said to be want of memory
    with pytest.raises(RuntimeError, match="a broken kernel"):
        Engine(checkpoint, EngineSettings(), network)  # type: ignore[arg-type]
