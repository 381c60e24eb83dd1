"""From seeds to packed questions: the same for ever, nothing held out, and no question that sees another's answer."""

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from deixis.errors import OptionError
from deixis.lab.data import HELD_OUT_SEEDS, SHORT_ANSWER_WEIGHT, Drawn, Packed, draw
from deixis.lab.packing import dense_mask
from deixis.lab.questions import KINDS, Picture, ask_everything
from deixis.lab.stream import MAX_FAILURES, Order, SizeMix, Stream, orders
from deixis.lab.truth import observed
from tests.lab.rendered import Shot, shot
from tests.lab.small_nano import TOKENIZER, asked, measured, plain_renderer, tokenizer

SIZE = (288, 256)
TOKENS = 420


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shot(world, 0, SIZE) for world in ("primitives", "desk")]


@pytest.fixture(scope="module")
def packed(shots: list[Shot]) -> Packed:
    return asked(shots, TOKENS)


# --- scenes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw("primitives", 5, 2, 5, 2, SIZE)


def test_drawing_follows_from_seed_and_index_alone(drawn: Drawn) -> None:
    again = draw("primitives", 5, 2, 5, 2, SIZE)
    assert again.truths == drawn.truths and again.pictures == drawn.pictures == 5
    for name in ("rows", "silhouettes"):
        before, after = getattr(drawn, name), getattr(again, name)
        assert before.keys() == after.keys()
        assert all(len(array) == 5 and np.array_equal(array, after[key]) for key, array in before.items())
    later = draw("primitives", 5, 3, 2, 2, SIZE)  # starts at the second scene
    assert [t["index"] for t in json.loads(later.truths)] == [3, 3]
    assert json.loads(later.truths) == json.loads(drawn.truths)[2:4]
    assert draw("primitives", 6, 2, 1, 1, SIZE).truths != draw("primitives", 5, 2, 1, 1, SIZE).truths


def test_views_of_a_scene_share_its_things_and_nothing_else(drawn: Drawn) -> None:
    truths = json.loads(drawn.truths)
    assert [t["index"] for t in truths] == [2, 2, 3, 3, 4]
    first, second, other = truths[:3]
    assert [o["label"] for o in first["objects"]] == [o["label"] for o in second["objects"]]
    assert [o["top_m"] for o in first["objects"]] == [o["top_m"] for o in second["objects"]]
    assert first["pose"] != second["pose"] and first["camera"] != second["camera"]
    assert [o["top_m"] for o in first["objects"]] != [o["top_m"] for o in other["objects"]]
    assert not np.array_equal(drawn.rows["light_position"][0], drawn.rows["light_position"][1])
    assert all((t["camera"]["width"], t["camera"]["height"]) == SIZE for t in truths)


def test_parts_are_joined_in_order(drawn: Drawn) -> None:
    other = draw("desk", 5, 0, 2, 1, SIZE)
    rows, silhouettes = Drawn.join([drawn, other])
    assert len(rows["size"]) == len(silhouettes["shape"]) == 7
    assert np.array_equal(rows["size"][5:], other.rows["size"]) and np.array_equal(rows["size"][:5], drawn.rows["size"])


# --- questions -----------------------------------------------------------------------------------------------------


def spans(packed: Packed) -> Iterator[tuple[int, str, np.ndarray]]:
    """Every question: its row, kind and columns."""
    for row, kinds in enumerate(packed.kinds):
        for number, kind in enumerate(kinds, 1):
            yield row, kind, np.flatnonzero(packed.segment[row] == number)


def test_rows_are_questions_one_after_the_other(packed: Packed) -> None:
    assert packed.ids.shape == packed.segment.shape == packed.position.shape == packed.weight.shape == (2, TOKENS)
    for row, kinds in enumerate(packed.kinds):
        used = packed.segment[row][packed.segment[row] >= 0]
        assert (np.diff(used) >= 0).all() and set(used) == set(range(1, len(kinds) + 1))
        assert len(used) > TOKENS * 0.8  # as many as fit
        padding = packed.segment[row] == -1
        assert not padding[: len(used)].any() and padding[len(used) :].all()
        assert not packed.weight[row][padding].any()
    for row, kind, columns in spans(packed):
        assert kind in KINDS
        assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
        assert np.array_equal(packed.position[row, columns], np.arange(len(columns)))


def test_only_answers_are_learned(packed: Packed, shots: list[Shot]) -> None:
    truths, seen = measured(shots)
    tables = [Picture(observed(truth, seen, row)) for row, truth in enumerate(json.loads(truths))]
    known = [
        {(q.prompt, q.answer) for seed in range(100) for q in ask_everything(table, np.random.default_rng(seed))}
        for table in tables
    ]
    prompts = [{prompt for prompt, _ in pairs} for pairs in known]
    end = tokenizer().token_to_id("<|im_end|>")
    checked = 0
    for row, kind, columns in spans(packed):
        ids, weight = packed.ids[row, columns], packed.weight[row, columns]
        first = int(np.flatnonzero(weight)[0])
        assert not weight[:first].any() and (weight[first:] == weight[-1]).all() and ids[-1] == end
        assert weight[-1] == (SHORT_ANSWER_WEIGHT if len(ids) - first - 1 < 8 else 1)
        prompt, reply = tokenizer().decode(ids[:first].tolist(), skip_special_tokens=False).split("<|im_end|>\n<|im_start|>")
        assert reply == "assistant\n", kind
        answer = tokenizer().decode(ids[first:-1].tolist())
        assert answer and "<|" not in answer
        if prompt in prompts[row]:  # most have been asked by one of so many seeds
            assert (prompt, answer) in known[row]
            checked += 1
    assert checked >= sum(len(kinds) for kinds in packed.kinds) // 4


def test_no_answer_is_seen_by_another_question(packed: Packed) -> None:
    mask = dense_mask(torch.from_numpy(packed.segment))[:, 0].numpy()  # (row, query, key)
    for row, _, columns in spans(packed):
        answer = columns[packed.weight[row, columns] > 0]
        others = np.setdiff1d(np.arange(TOKENS), columns)
        assert not mask[row][np.ix_(others, answer)].any()
        assert mask[row][columns[-1], columns].all()


def test_the_same_seed_writes_the_same_questions(packed: Packed, shots: list[Shot]) -> None:
    again, other = asked(shots, TOKENS), asked(shots, TOKENS, seed=2)
    for field in dataclasses.fields(Packed):
        if field.name != "kinds":
            assert np.array_equal(getattr(again, field.name), getattr(packed, field.name))
    assert again.kinds == packed.kinds
    assert not np.array_equal(other.ids, packed.ids)


def test_kinds_can_be_chosen(shots: list[Shot]) -> None:
    assert {kind for kinds in asked(shots, 300, only=("depth", "count")).kinds for kind in kinds} == {"depth", "count"}
    with pytest.raises(OptionError, match="no question kind 'colour'"):
        asked(shots, 300, only=("colour",))


def test_packed_rows_are_joined_and_cut(packed: Packed) -> None:
    joined = Packed.join([packed, Packed.empty(1, TOKENS), packed.rows(slice(1, 2))])
    assert joined.ids.shape == (4, TOKENS) and len(joined.kinds) == 3  # an empty row has no questions
    assert (joined.segment[2] == -1).all() and not joined.weight[2].any()
    assert np.array_equal(joined.ids[3], packed.ids[1]) and joined.kinds[2] == packed.kinds[1]
    assert [a.dtype for a in (joined.ids, joined.segment, joined.position, joined.weight)] == [np.int32] * 3 + [np.float32]


# --- rounds --------------------------------------------------------------------------------------------------------


def mix(full: float = 0.5) -> SizeMix:
    return SizeMix(((256, 256), (288, 256)), ((640, 480),), full)


@pytest.mark.parametrize("seed", [HELD_OUT_SEEDS.start, 800_001, 900_001, HELD_OUT_SEEDS.stop - 1])
def test_held_out_seeds_are_refused_before_anything_is_drawn(seed: int) -> None:
    with pytest.raises(OptionError, match=f"seed {seed} is held out for benchmarks"):
        orders(seed, 0, 1, 8, ("desk",), mix(), 0.5)


@pytest.mark.parametrize("seed", [0, HELD_OUT_SEEDS.start - 1, HELD_OUT_SEEDS.stop])
def test_other_seeds_are_not(seed: int) -> None:
    assert next(orders(seed, 0, 1, 8, ("desk",), mix(), 0.5)).seed == seed


def test_no_two_rounds_share_a_scene() -> None:
    pictures, worlds = 8, ("primitives", "desk")
    ranks = [list(itertools.islice(orders(3, rank, 3, pictures, worlds, mix(), 0.5), 30)) for rank in range(3)]
    firsts = sorted(order.first for rounds in ranks for order in rounds)
    assert firsts == [pictures * k for k in range(90)]
    assert ranks[0] == list(itertools.islice(orders(3, 0, 3, pictures, worlds, mix(), 0.5), 30))
    assert {order.world for order in ranks[0]} == set(worlds) and {order.smooth for order in ranks[0]} == {True, False}


@pytest.mark.parametrize(("full", "expected"), [(0.0, {(256, 256), (288, 256)}), (1.0, {(640, 480)})])
def test_sizes_follow_the_schedule(full: float, expected: set[tuple[int, int]]) -> None:
    sizes = mix()
    rounds = orders(3, 0, 1, 8, ("desk",), sizes, 0.5)
    next(rounds)
    sizes.full = full
    assert {order.size for order in itertools.islice(rounds, 40)} == expected


# --- the stream ----------------------------------------------------------------------------------------------------


def stream_of(renderer: Any, **options: Any) -> Stream:
    return Stream({False: renderer}, str(TOKENIZER), tokens={(256, 256): 300}, workers=1, views=2, ahead=1, **options)


NO_THINGS = {"tilt", "viewpoint", "exists", "absent", "count", "locate_absent", "evidence", "evidence_3d"}


def test_batches_of_a_stream(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture `uses` times with other questions; a failed round is told and passed over."""
    for name in ("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    rounds = [Order(world, 4, 8 * k, (256, 256), False) for k, world in enumerate(("moon", "primitives", "primitives"))]
    with stream_of(plain_renderer(), batch=2, uses=2) as stream:
        assert (os.environ["RAYON_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"]) == ("1", "false")
        taken = list(itertools.islice(stream.batches(itertools.cycle(rounds)), 8))
    assert [b.pixels.shape for b in taken] == [(2, 3, 256, 256)] * 8 and taken[0].pixels.dtype == torch.uint8
    assert all(b.packed.ids.shape == (2, 300) and len(b.packed.kinds) == 2 for b in taken)
    assert torch.equal(taken[0].pixels, taken[2].pixels) and not torch.equal(taken[0].pixels, taken[4].pixels)
    assert not np.array_equal(taken[0].packed.ids, taken[2].packed.ids)
    assert {kind for b in taken for kinds in b.packed.kinds for kind in kinds} <= NO_THINGS
    assert stream.failures and "unknown world 'moon'" in stream.failures[0]
    assert "unknown world 'moon'" in capsys.readouterr().out


def test_an_error_does_not_wait_for_the_workers() -> None:
    rounds = itertools.cycle([Order("primitives", 4, 0, (256, 256), False)])

    def broken_off(stream: Stream) -> None:
        with stream:
            next(stream.batches(rounds))
            raise KeyboardInterrupt

    stream = stream_of(plain_renderer(), batch=4)
    with pytest.raises(KeyboardInterrupt):
        broken_off(stream)
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        next(stream.batches(rounds))


def test_many_failed_rounds_end_a_stream() -> None:
    rounds = itertools.repeat(Order("moon", 4, 0, (256, 256), False))
    with stream_of(plain_renderer(), batch=4) as stream, pytest.raises(RuntimeError, match=f"{MAX_FAILURES + 1} rounds failed"):
        next(stream.batches(rounds))


def test_pictures_must_fill_whole_batches() -> None:
    with pytest.raises(OptionError, match="4 pictures are rendered at once, expected a multiple of the batch of 3"):
        stream_of(plain_renderer(), batch=3)
