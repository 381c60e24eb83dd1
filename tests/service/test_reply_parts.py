"""Thought, answer and calls, whole or in single characters."""

import json

import pytest

from deixis.service.reply_parts import ReplyParts, call_of

CALL = '<tool_call>\n{"name": "zoom", "arguments": {"x": 1}}\n</tool_call>'

CASES = [
    ("plain", {}, "Yes.", "", "Yes.", 0),
    ("thought opened by the template", {"thinking": True}, "a < b\n</think>\n\nYes", "a < b\n", "Yes", 0),
    ("thought of a model that need not think", {}, "<think>why</think>\n\nYes", "why", "Yes", 0),
    ("thought cut off", {"thinking": True}, "and then", "and then", "", 0),
    ("the mark of thoughts in an answer", {}, "say <thin", "", "say <thin", 0),
    ("fenced JSON", {"held": True}, '```json\n{"a": 1}\n```', "", '{"a": 1}', 0),
    ("bare JSON", {"held": True}, '{"a": "```"}', "", '{"a": "```"}', 0),
    ("fenced JSON behind a thought", {"held": True, "thinking": True}, "hm</think>\n\n```json\n[1]\n```", "hm", "[1]", 0),
    ("a fence where none is expected", {}, "```json\n[1]\n```", "", "```json\n[1]\n```", 0),
    ("a call", {"tools": True}, f"Let me look.\n{CALL}", "", "Let me look.\n", 1),
    ("two calls", {"tools": True}, f"{CALL}\n{CALL}", "", "", 2),
    ("a call that cannot be read", {"tools": True}, "<tool_call>{bad}</tool_call>", "", "<tool_call>{bad}</tool_call>", 0),
    ("a call without tools", {}, CALL, "", CALL, 0),
    ("a call that was cut off", {"tools": True}, CALL[:30], "", CALL[:30], 0),
    ("nothing", {"held": True}, "", "", "", 0),
]


@pytest.mark.parametrize(
    ("settings", "text", "reasoning", "content", "calls"), [row[1:] for row in CASES], ids=[r[0] for r in CASES]
)
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_a_reply_is_taken_apart(settings: dict, text: str, reasoning: str, content: str, calls: int, step: int) -> None:
    parts = ReplyParts(**settings)
    pieces = [piece for at in range(0, len(text), step) for piece in parts.add(text[at : at + step])] + parts.rest()
    told = {kind: "".join(said for which, said in pieces if which == kind) for kind in ("reasoning", "content")}
    assert told == {"reasoning": reasoning, "content": content}
    assert len(parts.calls) == calls
    assert all(piece[1] for piece in pieces)


def test_a_call_in_openais_words() -> None:
    call = call_of('{"name": "zoom", "arguments": {"图": [1]}}')
    assert call is not None
    assert call["function"]["name"] == "zoom" and json.loads(call["function"]["arguments"]) == {"图": [1]}
    assert call_of("[]") is None and call_of('{"name": "zoom"}') is None
