"""Tokens of a whole batch are what the reference draws one by one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from deixis.engine import sampling
from deixis.engine.ops import TorchOps
from deixis.engine.request import Sampling
from deixis.engine.sampling import choose, distributions
from deixis.engine.stream import Prompt, Stream
from deixis.errors import SchemaError
from deixis.model import distribution

VOCAB = 300


def stream(**settings: Any) -> Stream:
    prompt = Prompt([1], np.zeros((3, 1), np.int64), 1, (), [], {})
    asked = Sampling(**settings)
    made = Stream(0, 0, prompt, asked, 10)
    if asked.temperature > 0:
        made.generator = torch.Generator().manual_seed(asked.seed)
    return made


def random_logits(rng: random.Random, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rng.randrange(10**9))
    logits = torch.randn(rows, VOCAB, generator=generator) * rng.choice([0.1, 1.0, 8.0])
    if rng.random() < 0.3:
        logits = logits.round()  # ties
    if rng.random() < 0.3:
        logits[:, 20:] = float("-inf")
    return logits


def test_distributions_are_the_references() -> None:
    rng = random.Random(800_007)
    for _ in range(60):
        logits = random_logits(rng, 5)
        settings = [
            (rng.choice([0.3, 1.0, 2.0]), rng.choice([0, 1, 5, 250]), rng.choice([0.05, 0.5, 0.9, 1.0])) for _ in range(5)
        ]
        temperature, top_k, top_p = (torch.tensor(column) for column in zip(*settings, strict=True))
        found = distributions(logits, temperature, top_k, top_p)
        for row, (t, k, p) in enumerate(settings):
            torch.testing.assert_close(found[row], distribution(logits[row], t, k, p), atol=1e-6, rtol=1e-5)


def test_draws_are_those_of_multinomial() -> None:
    rng = random.Random(800_008)
    kinds: list[dict[str, Any]] = [{}, {"temperature": 0.7}, {"temperature": 1.5, "top_k": 9}, {"temperature": 1.0, "top_p": 0.6}]
    for _ in range(30):
        asked = [{**rng.choice(kinds), "seed": rng.randrange(99)} for _ in range(6)]
        streams = [stream(**one) for one in asked]
        generators = [torch.Generator().manual_seed(one["seed"]) for one in asked]
        for _ in range(3):
            logits = random_logits(rng, 6)
            ids, logprobs, likeliest, their_logprobs = choose(logits, streams, {}, TorchOps()).read()
            for row, one in enumerate(streams):
                settings = one.sampling
                if settings.temperature:
                    probabilities = distribution(logits[row], settings.temperature, settings.top_k, settings.top_p)
                    expected = int(torch.multinomial(probabilities, 1, generator=generators[row]))
                else:
                    expected = int(logits[row].argmax())
                assert ids[row] == expected
                scores = logits[row].log_softmax(-1)
                assert logprobs[row] == pytest.approx(float(scores[expected]), abs=1e-5)
                best = scores.topk(10)
                assert their_logprobs[row] == pytest.approx(best.values.numpy(), abs=1e-5)
                assert scores[torch.from_numpy(likeliest[row].astype(np.int64))] == pytest.approx(best.values, abs=1e-5)


def test_without_probabilities_none_are_told() -> None:
    logits = random_logits(random.Random(1), 2)
    ids, _, likeliest, _ = choose(logits, [stream(logprobs=False), stream(logprobs=False)], {}, TorchOps()).read()
    assert ids == logits.argmax(-1).tolist() and likeliest.shape == (2, 0)
    assert choose(logits, [stream(alternatives=3), stream(logprobs=False)], {}, TorchOps()).read()[2].shape == (2, 3)


@pytest.mark.parametrize("settings", [{}, {"logprobs": False}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.5}])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_are_no_numbers_are_told_by_their_logprob(settings: dict[str, Any], bad: float) -> None:
    logits = random_logits(random.Random(2), 3)
    logits[1, 250] = bad
    _, logprobs, _, _ = choose(logits, [stream(**settings) for _ in range(3)], {}, TorchOps()).read()
    assert [np.isfinite(value) for value in logprobs] == [True, False, True]


class OneToken:
    """A schema that lets one token through, or none."""

    def __init__(self, token: int | None) -> None:
        self._token = token

    def bits(self) -> np.ndarray:
        if self._token is None:
            raise SchemaError("nothing fits")
        mask = np.zeros(-(-VOCAB // 32) * 32, np.uint8)
        mask[self._token] = 1
        return np.packbits(mask, bitorder="little").view(np.int32)

    def likeliest(self, ranked: list[int], scores: torch.Tensor) -> int:
        self.bits()
        assert self._token is not None
        return self._token


def fill(held: Mapping[int, OneToken], masks: np.ndarray) -> dict[int, SchemaError]:
    wrong = {}
    masks[:] = -1
    for row, one in held.items():
        try:
            masks[row] = one.bits()
        except SchemaError as error:
            wrong[row] = error
    return wrong


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 3}])
def test_held_rows_say_what_they_may_and_the_others_are_free(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "fill_masks", fill)
    logits = random_logits(random.Random(3), 4)
    streams = [stream(**settings) for _ in range(4)]
    free = choose(logits, [stream(**settings) for _ in range(4)], {}, TorchOps()).read()
    streams[1].held, streams[2].held = OneToken(17), OneToken(None)  # type: ignore[assignment]
    refused: dict[int, SchemaError] = {}
    ids, logprobs, likeliest, _ = choose(logits, streams, refused, TorchOps()).read()
    assert ids[1] == 17 and list(refused) == [2]
    assert logprobs[1] == pytest.approx(float(logits[1].log_softmax(-1)[17]), abs=1e-5)  # the network's own
    assert [ids[0], ids[3]] == [free[0][0], free[0][3]]
    assert (likeliest == free[2]).all()
