"""Replies under a schema: they always match, masks are exact, and nothing is changed that already matched."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.engine import LocalEngine, can_constrain, constrain
from deixis.engine.constrain import Grammars, fill_masks, schema_text
from deixis.errors import OptionError, SchemaError
from deixis.model import Checkpoint, open_checkpoint
from deixis.spatial.run import BOXES_SCHEMA
from tests.engine.checkpoints import write_checkpoint
from tests.engine.scripted import ScriptedEngine

HELLO = [{"role": "user", "content": "Where is the cup?"}]
NUMBERS = {"type": "array", "items": {"type": "number"}}


def objects(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


LABEL = {"type": "string", "maxLength": 12}
KNOWN: dict[str, Any] = {
    "boxes": BOXES_SCHEMA,
    "points": {"type": "array", "maxItems": 3, "items": objects(point_2d={**NUMBERS, "minItems": 2, "maxItems": 2}, label=LABEL)},
    "boxes 3d": {"type": "array", "items": objects(bbox_3d={**NUMBERS, "minItems": 9, "maxItems": 9}, label=LABEL)},
    "tool call": objects(
        name={"const": "computer_use"},
        arguments=objects(action={"enum": ["left_click", "wait"]}, coordinate={**NUMBERS, "minItems": 2, "maxItems": 2}),
    ),
}
SAID: dict[str, Any] = {
    "boxes": [{"bbox_2d": [12, 34, 56, 78], "label": "blue 书"}, {"bbox_2d": [0, 0, 1000, 999], "label": 'a "b" \\'}],
    "points": [{"point_2d": [12, 34], "label": "cup"}],
    "boxes 3d": [{"bbox_3d": [-0.31, 0.5, 1.25, 0.2, 0.2, 0.2, 0, 0.5, -1e-05], "label": "cup"}],
    "tool call": {"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [500, 20]}},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    from deixis.backends.catalog import nano_directory

    return open_checkpoint(nano_directory())


def said_by(engine: LocalEngine, schema: Any, **settings: Any) -> tuple[str, str]:
    """The text without a stop token, and how it finished."""
    reply = engine.complete(HELLO, schema=schema, **{"max_new_tokens": 2_048, **settings})
    return engine.checkpoint.processor.decode(reply.ids, skip_special=True), reply.finish


# --- what already matches is left as it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```", "\n\n{}"])
def test_a_reply_that_matches_is_token_for_token_the_free_one(checkpoint: Checkpoint, kind: str, indent: Any, fence: str) -> None:
    engine = ScriptedEngine(checkpoint, [fence.format(json.dumps(SAID[kind], indent=indent, ensure_ascii=False))])
    free = engine.complete(HELLO, max_new_tokens=500)
    assert free.finish == "stop"
    for schema in (KNOWN[kind], {}):
        held = engine.complete(HELLO, max_new_tokens=500, schema=schema)
        assert (held.ids, held.logprobs, held.top, held.finish) == (free.ids, free.logprobs, free.top, "stop")


def random_json(rng: random.Random, depth: int = 3) -> Any:
    kind = rng.choice(["list", "dict", "text", "int", "float", "word"] if depth else ["text", "int", "float", "word"])
    if kind == "list":
        return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == "dict":
        return {random_text(rng): random_json(rng, depth - 1) for _ in range(rng.randrange(4))}
    if kind == "text":
        return random_text(rng)
    return {"int": rng.randrange(-9999, 9999), "float": rng.gauss(0, 1) * 10 ** rng.randrange(-9, 9)}.get(
        kind, rng.choice([True, False, None])
    )


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice('ab cd"\\/\n\t<>{}[],:`鼠标é😀\x07') for _ in range(rng.randrange(8)))


def test_a_schema_that_allows_everything_changes_no_json(checkpoint: Checkpoint) -> None:
    rng = random.Random(800_001)
    for _ in range(60):
        text = json.dumps(random_json(rng), ensure_ascii=False, indent=rng.choice([None, 1, 4]))
        assert said_by(ScriptedEngine(checkpoint, [text]), {}) == (text, "stop")


def test_nano_says_under_the_lock_what_it_says_free(nano: Checkpoint) -> None:
    picture = np.asarray(Image.open(Path(__file__).parents[2] / "examples/desk.png").convert("RGB"))
    prompt = "Locate every instance of: cups. Report bbox coordinates in JSON format."
    messages = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}]
    engine = LocalEngine(nano)
    free = engine.complete(messages, max_new_tokens=500)
    assert "bbox_2d" in nano.processor.decode(free.ids)
    for schema in (BOXES_SCHEMA, {}):
        assert engine.complete(messages, max_new_tokens=500, schema=schema).ids == free.ids


# --- what does not match is held --------------------------------------------------------------------------------------------


def random_schema(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    """A schema whose replies end by themselves."""
    kind = rng.choice(["integer", "string", "enum", "simple", *(["array", "object", "any"] if depth else [])])
    if kind == "integer":
        low = rng.randrange(-50, 500)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randrange(0, 1000)}
    if kind == "string":
        return {"type": "string", "minLength": rng.randrange(3), "maxLength": rng.randrange(3, 9)}
    if kind == "enum":
        return {"enum": rng.sample(["left", "右", 7, 7.5, None, True, ["a"], {"b": 1}], rng.randrange(1, 5))}
    if kind == "simple":
        return {"type": rng.choice(["boolean", "null"])}
    if kind == "array":
        least = rng.randrange(3)
        return {"type": "array", "items": random_schema(rng, depth - 1), "minItems": least, "maxItems": least + rng.randrange(3)}
    if kind == "any":
        return {"anyOf": [random_schema(rng, depth - 1) for _ in range(2)]}
    properties = {f"k{i}": random_schema(rng, depth - 1) for i in range(rng.randrange(1, 4))}
    required = [name for name in properties if rng.random() < 0.7]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def matches(value: Any, schema: dict[str, Any]) -> bool:
    """JSON Schema, as far as `random_schema` goes."""
    if "anyOf" in schema:
        return any(matches(value, one) for one in schema["anyOf"])
    if "enum" in schema:
        return any(value == one and isinstance(value, bool) is isinstance(one, bool) for one in schema["enum"])
    kind = schema["type"]
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool) and schema["minimum"] <= value <= schema["maximum"]
    if kind == "string":
        return isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
    if kind == "array":
        fits = isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
        return fits and all(matches(item, schema["items"]) for item in value)
    if kind == "object":
        known = schema["properties"]
        fits = isinstance(value, dict) and set(schema["required"]) <= set(value) <= set(known)
        return fits and all(matches(item, known[name]) for name, item in value.items())
    return isinstance(value, bool) if kind == "boolean" else value is None


def test_random_weights_under_random_schemas_always_match(checkpoint: Checkpoint) -> None:
    engine, rng = LocalEngine(checkpoint), random.Random(800_002)
    for seed in range(200):
        schema = random_schema(rng)
        text, finish = said_by(engine, schema, temperature=rng.choice([0.0, 1.0, 3.0]), seed=seed)
        assert finish == "stop", (schema, text)
        bare = text.strip("\n").removeprefix("```json\n").removesuffix("\n```")
        assert matches(json.loads(bare), schema), (schema, text)


@pytest.mark.parametrize("which", ["checkpoint", "nano"])
def test_masks_are_exact(which: str, request: pytest.FixtureRequest) -> None:
    """The quick way, asking for a token at a time, and the mask agree on every token of the vocabulary."""
    checkpoint = request.getfixturevalue(which)
    size, rng = checkpoint.config.text.vocab_size, random.Random(800_003)
    added = set(checkpoint.processor.tokenizer.added.values())
    for schema in KNOWN.values():
        held = Grammars(checkpoint).hold(schema, [])
        for _ in range(40):
            scores = torch.tensor([rng.gauss(0, 1) for _ in range(size)])
            allowed = {token for token in range(size) if held.allows(token)}
            masked = held.masked(scores)
            assert set(torch.isfinite(masked).nonzero().flatten().tolist()) == allowed
            assert allowed & added <= checkpoint.stop_ids
            ranked = scores.topk(10).indices.tolist()
            assert held.likeliest(ranked, scores) == int(masked.argmax())
            # Small steps, so that the walk goes on for long.
            token = min(allowed, key=lambda token: (token in checkpoint.stop_ids, rng.random()))
            held.advance(token)
            if token in checkpoint.stop_ids:
                break


def test_masks_of_many_are_those_of_each_and_one_that_is_broken_harms_none(checkpoint: Checkpoint) -> None:
    grammars, size, rng = Grammars(checkpoint), checkpoint.config.text.vocab_size, random.Random(800_011)
    held = {row: grammars.hold(schema, []) for row, schema in zip((0, 2, 3, 4), KNOWN.values(), strict=True)}
    masks = np.empty((6, -(-size // 32)), np.int32)

    def allowed(row: int) -> list[int]:
        return np.unpackbits(masks[row].view(np.uint8), bitorder="little")[:size].nonzero()[0].tolist()

    for _ in range(6):
        masks[:] = rng.randrange(1000)
        assert fill_masks(held, masks) == {}
        assert allowed(1) == allowed(5) == [*range(size)], "no schema, no mask"
        for row, one in held.items():
            assert allowed(row) == np.unpackbits(one.bits(), bitorder="little")[:size].nonzero()[0].tolist()
            one.advance(rng.choice([token for token in allowed(row) if token not in checkpoint.stop_ids] or allowed(row)))
    with pytest.raises(SchemaError):
        held[2].advance(checkpoint.processor.tokenizer.added["<|im_start|>"])
    for broken in (held, {2: held[2]}):  # beside others, and alone
        assert list(fill_masks(broken, masks)) == [2]
        assert allowed(2) == [*range(size)]


def test_token_bytes_are_what_ids_decode_to(nano: Checkpoint) -> None:
    tokenizer = nano.processor.tokenizer
    for number, piece in tokenizer.token_bytes().items():
        assert piece.decode(errors="replace") == tokenizer.decode([number], skip_special=False)
    ids = tokenizer.encode('[{"bbox_2d": [1, 2], "label": "杯子"}]')
    assert b"".join(tokenizer.token_bytes()[number] for number in ids).decode() == '[{"bbox_2d": [1, 2], "label": "杯子"}]'


def test_endless_repetition_ends(checkpoint: Checkpoint) -> None:
    box = '{"bbox_2d": [1, 2, 3, 4], "label": "cup"}'
    engine = ScriptedEngine(checkpoint, ["[" + ", ".join([box] * 500) + "]"])
    assert said_by(engine, None)[1] == "length"
    text, finish = said_by(engine, BOXES_SCHEMA, max_new_tokens=4_000)
    assert finish == "stop"
    assert len(json.loads(text)) == BOXES_SCHEMA["maxItems"]
    # White space is bounded too.
    text, _ = said_by(ScriptedEngine(checkpoint, ["[" + "\n" * 3_000]), {"type": "array", "maxItems": 2, "items": {"const": 1}})
    assert len(text) < 300 and json.loads(text) is not None


def test_a_thought_is_free_and_the_answer_behind_it_is_held(checkpoint: Checkpoint) -> None:
    thought = 'Left? </thi nk> ["no", {\n'
    end = checkpoint.processor.tokenizer.token_id("</think>")
    begin = checkpoint.processor.tokenizer.token_id("<think>")
    held = Grammars(checkpoint).hold({"type": "integer", "maximum": 9}, [begin, end, begin])
    assert not any(held.allows(stop) for stop in checkpoint.stop_ids)
    for token in (*checkpoint.processor.tokenizer.encode(thought), end, *checkpoint.processor.tokenizer.encode("\n\n7")):
        assert held.allows(token), token
        held.advance(token)
    assert all(held.allows(stop) for stop in checkpoint.stop_ids)
    turn = checkpoint.processor.tokenizer.token_id("<|im_start|>")
    for closed in ([begin, end], [begin, turn], []):
        assert not Grammars(checkpoint).hold({}, closed).allows(end)


# --- schemas from outside ---------------------------------------------------------------------------------------------------


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


LOOP: dict[str, Any] = {"type": "array"}
LOOP["items"] = LOOP
WIDE: dict[str, Any] = {"anyOf": [LOOP] * 50}
LOOP["prefixItems"] = [WIDE] * 50
CROSSED = {"allOf": [{"anyOf": [objects(**{f"k{i}{j}": {"type": "integer"}}) for j in range(6)]} for i in range(10)]}
BAD: list[tuple[Any, str]] = [
    ([], "list"),
    ({"type": "nope"}, "nope"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
    ({"type": "array", "minItems": 4, "maxItems": 2}, "minItems"),
    ({"allOf": [{"type": "integer"}, {"type": "string"}]}, "Unsatisfiable"),
    ({"enum": []}, "Unsatisfiable"),
    (objects(a=False), "Unsatisfiable"),
    ({"$ref": "#"}, "no reply"),
    ({"$ref": "http://example.org/x"}, "example.org"),
    ({"$ref": "#/$defs/none"}, "none"),
    ({"not": {}}, "not"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "string", "pattern": "(("}, "regex"),
    ({"type": "string", "format": "odd"}, "odd"),
    ({"const": float("nan")}, "not JSON"),
    ({"const": {1, 2}}, "not JSON"),
    ({"x-guidance": {"lenient": True}, "not": {}}, "not"),
    ({"type": "array", "items": {"x-guidance": {"lenient": True}, "not": {}}}, "not"),
    (nested(70), "deep"),
    (LOOP, "schema"),
    (CROSSED, "too large"),
    ({"enum": ["x" * 40_000]}, "bytes"),
    ({"enum": list(range(40_000))}, "schema"),
]


@pytest.mark.parametrize(("schema", "found"), BAD)
def test_bad_schemas_are_typed_errors_and_others_unharmed(checkpoint: Checkpoint, schema: Any, found: str) -> None:
    engine = LocalEngine(checkpoint)
    free = engine.complete(HELLO, max_new_tokens=8).ids
    with pytest.raises(SchemaError, match=found) as caught:
        engine.complete(HELLO, max_new_tokens=50, schema=schema)
    assert len(str(caught.value)) < 400
    assert engine.complete(HELLO, max_new_tokens=8).ids == free
    assert said_by(engine, {"enum": [7]})[0].strip("`json\n") == "7"


HOSTILE: list[Any] = [
    {"type": "string", "pattern": "^((a|b|c){1000}){1000}$"},
    {"type": "string", "pattern": "^(.*a.{20}){1,9}$"},
    {"type": "string", "minLength": 10**6, "maxLength": 10**9},
    {"type": "array", "minItems": 10**9, "items": {"type": "integer"}},
    {"anyOf": [{"type": "string", "pattern": f"^(a|b)*{letter}(a|b){{300}}$"} for letter in "abababab"]},
    {"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}, "$ref": "#/$defs/a"},
]


@pytest.mark.parametrize("schema", HOSTILE)
def test_hostile_schemas_end_in_a_cut_reply_or_a_typed_error(checkpoint: Checkpoint, schema: Any) -> None:
    engine = LocalEngine(checkpoint)
    try:
        reply = engine.complete(HELLO, max_new_tokens=60, temperature=2.0, schema=schema)
    except SchemaError:
        pass
    else:
        assert reply.finish == "length"  # none of them can be matched in so few tokens
    assert engine.complete(HELLO, max_new_tokens=4).ids


def test_grammars_are_compiled_once(checkpoint: Checkpoint) -> None:
    grammars = Grammars(checkpoint)
    first, again = (grammars.hold(dict(BOXES_SCHEMA), []) for _ in range(2))
    assert grammars._compiled.cache_info().misses == 1
    # Replies do not share their way through it.
    first.advance(checkpoint.processor.tokenizer.encode("[")[0])
    assert again.allows(checkpoint.processor.tokenizer.encode("[")[0])


def test_schema_text_keeps_the_order_of_properties() -> None:
    assert schema_text(objects(b={}, a={})) != schema_text(objects(a={}, b={}))


# --- without llguidance -----------------------------------------------------------------------------------------------------


def test_without_llguidance_one_line_says_what_to_install(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_constrain()
    monkeypatch.setattr(constrain, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="pip install llguidance"):
        LocalEngine(checkpoint).complete(HELLO, max_new_tokens=4, schema={})


def test_llguidance_is_imported_when_first_needed() -> None:
    code = "import sys; sys.modules['llguidance'] = None; import deixis.engine, deixis.backends.local"
    subprocess.run([sys.executable, "-c", code], check=True)
