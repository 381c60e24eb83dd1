"""Everything a model may write instead of the JSON it was asked for."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

import pytest

from deixis.spatial.grounding.parse import Kind, Parsed, parse_objects
from deixis.spatial.grounding.scan import scan

CUP = '{"bbox_2d": [100, 200, 300, 400], "label": "red cup"}'
BOOK = '{"bbox_2d": [500, 200, 700, 400], "label": "book"}'
CUP_PX = (64.0, 96.0, 192.0, 192.0)  # in 640x480
ROOM = '{"bbox_3d": [0.1, -0.2, 1.5, 0.4, 0.5, 0.6, 0.25, 0, -0.5], "label": "chair"}'


def parse(text: str, expect: Kind | None = None) -> Parsed:
    return parse_objects(text, 640, 480, expect=expect)


# name: (text, labels that come out, kinds of problems)
CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "clean": (f"```json\n[\n\t{CUP},\n\t{BOOK}\n]\n```", ["red cup", "book"], []),
    "absent": ("```json\n[]\n```", [], []),
    "absent word": ("没有", [], []),
    "no fence": (f"[{CUP}]", ["red cup"], []),
    "unclosed fence": (f"```json\n[{CUP}]", ["red cup"], ["unclosed"]),
    "trailing text": (f"```json\n[{CUP}]\n```\nThe cup stands on [the] table.", ["red cup"], []),
    "leading text": (f"Here it is: [{CUP}]", ["red cup"], []),
    "single object": (CUP, ["red cup"], []),
    "objects in a row": (f"{CUP}\n{BOOK}", ["red cup", "book"], []),
    "wrapped": (f'{{"objects": [{CUP}, {BOOK}]}}', ["red cup", "book"], []),
    "no commas": (f"[{CUP} {BOOK}]", ["red cup", "book"], []),
    "trailing comma": (f"[{CUP},]", ["red cup"], []),
    "single quotes": ("[{'bbox_2d': [100, 200, 300, 400], 'label': 'red cup'}]", ["red cup"], []),
    "truncated in label": (f'[{CUP}, {{"bbox_2d": [1, 2, 3, 4], "label": "bo', ["red cup"], ["truncated"]),
    "truncated in box": (f'[{CUP}, {{"bbox_2d": [1, 2, 3', ["red cup"], ["truncated"]),
    "truncated before label": (f'[{CUP}, {{"bbox_2d": [1, 2, 3, 4], "la', ["red cup"], ["truncated"]),
    "only the brace missing": ('[{"bbox_2d": [100, 200, 300, 400], "label": "red cup"', ["red cup"], []),
    "missing inner bracket": ('[{"bbox_2d": [100, 200, 300, 400, "label": "red cup"}]', [], ["truncated"]),
    "duplicates": (f"[{CUP}, {CUP}, {CUP}]", ["red cup"], ["duplicate"]),
    "near duplicates": (f'[{CUP}, {{"bbox_2d": [101, 200, 300, 400], "label": "red cup"}}]', ["red cup"], ["duplicate"]),
    "strings": ('[{"bbox_2d": ["100", "200", "300", "400"], "label": "red cup"}]', ["red cup"], ["numbers_as_text"] * 4),
    "one string": ('[{"bbox_2d": "100, 200, 300, 400", "label": "red cup"}]', ["red cup"], ["numbers_as_text"]),
    "floats": ('[{"bbox_2d": [100.0, 200.0, 300.0, 400.0], "label": "red cup"}]', ["red cup"], []),
    "fractions": ('[{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "label": "red cup"}]', ["red cup"], ["unit_range"]),
    "swapped": ('[{"bbox_2d": [300, 400, 100, 200], "label": "red cup"}]', ["red cup"], ["swapped"]),
    "out of range": ('[{"bbox_2d": [-20, 200, 300, 1400], "label": "red cup"}]', ["red cup"], ["out_of_range"]),
    "all outside": ('[{"bbox_2d": [1200, 1200, 1300, 1400], "label": "red cup"}]', [], ["out_of_range", "empty"]),
    "no area": ('[{"bbox_2d": [100, 200, 100, 400], "label": "red cup"}]', [], ["empty"]),
    "arity": ('[{"bbox_2d": [100, 200, 300], "label": "red cup"}]', [], ["arity"]),
    "no numbers": ('[{"bbox_2d": [], "label": "red cup"}]', [], ["arity"]),
    "words": ('[{"bbox_2d": [left, top, right, bottom], "label": "red cup"}]', [], ["not_a_number"]),
    "nan": ('[{"bbox_2d": [NaN, 200, 300, 400], "label": "red cup"}]', [], ["not_finite"]),
    "infinite": ('[{"bbox_2d": [1e999, 200, 300, 400], "label": "red cup"}]', [], ["not_finite"]),
    "nested once": ('[{"bbox_2d": [[100, 200, 300, 400]], "label": "red cup"}]', ["red cup"], ["nested"]),
    "corner pairs": ('[{"bbox_2d": [[100, 200], [300, 400]], "label": "red cup"}]', ["red cup"], ["nested"]),
    "two boxes, one label": ('[{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "cup"}]', ["cup", "cup"], ["nested"]),
    "bare list": ("[[100, 200, 300, 400]]", [""], ["no_label"]),
    "no label": ('[{"bbox_2d": [100, 200, 300, 400]}]', [""], ["no_label"]),
    "chinese": ('[{"bbox_2d": [100, 200, 300, 400], "label": "红色杯子"}]', ["红色杯子"], []),
    "escaped": ('[{"bbox_2d": [100, 200, 300, 400], "label": "\\u676f\\"x"}]', ['杯"x'], []),
    "control characters": ('[{"bbox_2d": [1, 2, 3, 4], "label": "a\\u001b[31mb"}]', ["a [31mb"], ["label_cleaned"]),
    "long label": (f'[{{"bbox_2d": [1, 2, 3, 4], "label": "{"x" * 10_000}"}}]', ["x" * 120], ["label_cleaned"]),
    "3d": (f"[{ROOM}]", ["chair"], []),
    "3d behind": (ROOM.replace("1.5", "-1.5"), [], ["behind_camera"]),
    "3d flat": (ROOM.replace("0.4", "0"), [], ["invalid_3d"]),
    "3d under the 2d key": (ROOM.replace("bbox_3d", "bbox_2d"), ["chair"], ["kind_mismatch"]),
    "point": ('[{"point_2d": [925, 618], "label": "point_1"}]', ["point_1"], []),
    "two points, one label": ('[{"point_2d": [[1, 2], [3, 4]], "label": "p"}]', ["p", "p"], ["nested"]),
    "prose": ("I see a red cup on the table.", [], ["no_json"]),
    "nothing": ("", [], ["no_json"]),
    "empty object": ("{}", [], ["no_json"]),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    text, labels, problems = CASES[name]
    parsed = parse(text)
    assert [item.label for item in parsed.objects] == labels
    assert [problem.kind for problem in parsed.problems] == problems
    assert all(problem.message and "\n" not in problem.message for problem in parsed.problems)


def test_pixels_and_spans() -> None:
    text = f"```json\n[{CUP}]\n```"
    (item,) = parse(text).objects
    assert item.box_px == pytest.approx(CUP_PX)
    assert [text[a:b] for a, b in item.spans] == ["100", "200", "300", "400"]


def test_swapped_corners_keep_their_spans() -> None:
    text = '[{"bbox_2d": [300, 200, 100, 400], "label": "red cup"}]'
    (item,) = parse(text).objects
    assert item.box_px == pytest.approx(CUP_PX)
    assert [text[a:b] for a, b in item.spans] == ["100", "200", "300", "400"]
    assert item.values == (100, 200, 300, 400)


def test_3d_answer_to_a_2d_request_is_kept_and_named() -> None:
    parsed = parse(f"[{ROOM}]", expect="box_2d")
    assert parsed.objects[0].box_3d == (0.1, -0.2, 1.5, 0.4, 0.5, 0.6, 0.25, 0, -0.5)
    assert [problem.kind for problem in parsed.problems] == ["kind_mismatch"]


def test_gui_coordinates_run_to_999() -> None:
    parsed = parse_objects('{"point_2d": [999, 999], "label": "x"}', 1440, 3120, full=999)
    assert parsed.objects[0].point_px == (1440, 3120)


def test_endless_repetition_is_cut_and_quick() -> None:
    rows = ",\n".join(f'{{"bbox_2d": [{i % 7}, 200, 300, 400], "label": "cup"}}' for i in range(5_000))
    started = time.perf_counter()
    parsed = parse(f"```json\n[{rows}, " + '{"bbox_2d": [1,')
    assert time.perf_counter() - started < 5
    assert len(parsed.objects) == 1
    assert {problem.kind for problem in parsed.problems} == {"unclosed", "truncated", "duplicate"}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 100_000, "[{" * 50_000, "]}" * 50_000, "[]a" * 30_000, '["' * 50_000, "[" + "9" * 100_000]
)
def test_hostile_lengths_are_linear(text: str) -> None:
    started = time.perf_counter()
    parse(text)
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_and_mutated_strings_never_raise(count: int) -> None:
    """Random characters of the grammar, and cuts, swaps, insertions and repeats of good answers."""
    rng = random.Random(20)
    words = ["bbox_2d", "label", "NaN", "Infinity", "杯子", "\x1b", "null", "```json", "“", "\\u", "\ud800"]
    alphabet = [*"[]{}\",:.-+0123456789eE \n\t\\'`", *words]
    seeds = [text for text, _, _ in CASES.values() if len(text) < 500]
    reading_s = 0.0
    for i in range(count):
        if i % 2:
            text = "".join(rng.choices(alphabet, k=rng.randrange(60)))
        else:
            text = rng.choice(seeds)
            for _ in range(rng.randrange(1, 6)):
                at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
                piece = rng.choice(
                    [
                        text[:at],
                        text[at:],
                        text[:at] + text[to:],
                        text[:to] + text[at:],
                        text[:at] + rng.choice(alphabet) + text[at:],
                    ]
                )
                text = piece[:2_000]
        started = time.perf_counter()
        parsed = parse_objects(text, 640, 480)
        reading_s += time.perf_counter() - started
        for item in parsed.objects:
            assert [item.box_px, item.point_px, item.box_3d].count(None) == 2
            if item.box_px is not None:
                x1, y1, x2, y2 = item.box_px
                assert 0 <= x1 < x2 <= 640
                assert 0 <= y1 < y2 <= 480
            assert len(item.spans) == len(item.values)
            assert all(0 <= a < b <= len(text) for a, b in item.spans)
    assert reading_s < 60


def test_ten_thousand_boxes_and_long_labels_are_kept_or_named() -> None:
    rows = [{"bbox_3d": [i / 100, 0, 3, 1, 1, 1, 0, 0, 0], "label": f"thing {i}"} for i in range(10_000)]
    started = time.perf_counter()
    assert len(parse_objects(json.dumps(rows), 640, 480).objects) == 10_000
    assert time.perf_counter() - started < 30
    long = parse_objects(json.dumps([{"bbox_2d": [1, 2, 300, 400], "label": "x" * 10_000}]), 640, 480)
    assert len(long.objects) == 1 and {problem.kind for problem in long.problems} == {"label_cleaned"}
    faulty = [[0, 0, -3, 1, 1, 1, 0, 0, 0], [0, 0, 3, 0, 1, 1, 0, 0, 0], [math.nan] * 9]
    found = parse_objects(json.dumps([{"bbox_3d": row, "label": "x"} for row in faulty]), 640, 480)
    assert not found.objects
    assert {problem.kind for problem in found.problems} == {"behind_camera", "invalid_3d", "not_finite"}


def test_nothing_is_lost_from_good_json() -> None:
    rng = random.Random(3)
    for _ in range(200):
        rows = [
            {
                "bbox_2d": [rng.randrange(400), rng.randrange(400), 500 + rng.randrange(500), 500 + rng.randrange(500)],
                "label": f"thing {i}",
            }
            for i in range(rng.randrange(9))
        ]
        parsed = parse(json.dumps(rows))
        assert not parsed.problems
        assert [list(item.values) for item in parsed.objects] == [row["bbox_2d"] for row in rows]


def test_scan_says_where_each_value_stood() -> None:
    text = 'x {"a": [1, "two"]}'
    (root,) = scan(text)
    assert text[root.start : root.end] == '{"a": [1, "two"]}'
    assert root.closed


RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "answers.json"


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of the 235B model are not beside this checkout")
def test_recorded_answers() -> None:
    for case in json.loads(RECORDED.read_text())["cases"]:
        answer = case["answer"]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        parsed = parse(text)
        if "bbox_3d" in text or "point_2d" in text:
            assert parsed.objects
            assert not parsed.problems
