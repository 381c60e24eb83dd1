"""Text that comes token by token is the text of all tokens, in whole characters, without what a stop string takes back."""

from __future__ import annotations

import random

import pytest

from deixis.backends.catalog import nano_directory
from deixis.engine.reply_text import ReplyText
from deixis.model import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(nano_directory() / "tokenizer.json")


def random_ids(rng: random.Random, tokenizer: Tokenizer) -> list[int]:
    """Text that people write, cut anywhere, bytes that are none, and added tokens."""
    ids: list[int] = []
    for _ in range(rng.randrange(6)):
        kind = rng.random()
        if kind < 0.5:
            ids += tokenizer.encode(rng.choice(["Where is the cup? ", "杯子在左边", "é😀", '[{"bbox_2d": [1, 2]}]']))
        elif kind < 0.8:
            ids += [rng.randrange(tokenizer.size) for _ in range(rng.randrange(5))]
        else:
            ids.append(rng.choice(list(tokenizer.added.values())))
    return ids[: rng.randrange(len(ids) + 1)]


def test_pieces_make_the_text(tokenizer: Tokenizer) -> None:
    rng = random.Random(800_009)
    for _ in range(400):
        ids = random_ids(rng, tokenizer)
        text = ReplyText(tokenizer)
        pieces = [text.add(number) for number in ids]
        rest = text.rest()
        assert "".join(pieces) + rest == tokenizer.decode(ids)
        for count in range(len(ids)):  # nothing shown is ever taken back
            assert tokenizer.decode(ids).startswith("".join(pieces[:count]))


def test_stop_strings_cut_wherever_tokens_end(tokenizer: Tokenizer) -> None:
    rng = random.Random(800_010)
    stopped = 0
    for _ in range(600):
        ids = random_ids(rng, tokenizer)
        whole = tokenizer.decode(ids)
        at = rng.randrange(len(whole) + 1)
        stops = [stop for stop in (whole[at : at + rng.randint(1, 5)], "\n\nnever", "左边x") if stop and "\ufffd" not in stop]
        text = ReplyText(tokenizer, stops)
        shown = ""
        for number in ids:
            shown += text.add(number)
            assert not any(stop in shown for stop in stops)
            if text.stopped:
                break
        shown += text.rest()
        hits = [place for stop in stops if (place := whole.find(stop)) >= 0]
        assert text.stopped == bool(hits)
        assert shown == (whole[: min(hits)] if hits else whole)
        stopped += text.stopped
    assert stopped > 100


def test_what_may_become_a_stop_string_is_held_back(tokenizer: Tokenizer) -> None:
    text = ReplyText(tokenizer, ["END."])
    shown = [text.add(number) for char in "aENENDb" for number in tokenizer.encode(char)]
    assert shown == ["a", "", "", "EN", "", "", "ENDb"]
    assert [text.add(number) for char in "END" for number in tokenizer.encode(char)] == ["", "", ""]
    assert text.rest() == "END"
