"""Conversations, scripted models, local checkpoints and servers behind one protocol."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from deixis.backends import (
    Backend,
    Clip,
    Completion,
    Conversation,
    FakeBackend,
    Looking,
    ModelCard,
    TokenProb,
    TokenTexts,
    Turn,
    completion_of,
    tokens_under,
)
from deixis.backends.catalog import weights_identity
from deixis.backends.local import LocalBackend, read_card
from deixis.backends.openai import OpenAIBackend
from deixis.errors import BackendError, CheckpointError, DeixisError, ModelNotFoundError, OptionError, OverloadError, PictureError
from deixis.model import open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.engine.scripted import ScriptedEngine
from tests.model import tiny

PIXELS = tiny.photo(64, 96, 1)
QUESTION = Conversation.about(PIXELS, "Where is the cup?")


def test_conversation() -> None:
    assert QUESTION.text == "Where is the cup?"
    (message,) = QUESTION.to_messages()
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == ["image", "text"]
    both = Conversation((Turn("system", ("Be brief.",)), *QUESTION.turns))
    assert both.text == "Be brief.\nWhere is the cup?"


CLIP = Clip(tuple(tiny.clip(4, 64, 96, 2)), (3.2, 3.7, 12.04, 60.0))


def test_a_clip_is_a_part() -> None:
    asked = Conversation.about(CLIP, "When does it move?")
    (message,) = asked.to_messages()
    video, text = message["content"]
    assert (video["type"], text["text"], asked.text) == ("video", "When does it move?", "When does it move?")
    assert video["frames"] is CLIP.frames and video["timestamps_s"] == CLIP.timestamps_s


@pytest.mark.parametrize(
    ("frames", "times"),
    [((PIXELS, PIXELS), (1.0,)), ((PIXELS,), (1.0,)), ((), ()), ((PIXELS, PIXELS[:32]), (0.0, 1.0))],
)
def test_a_clip_that_is_none(frames: Any, times: Any) -> None:
    with pytest.raises(PictureError, match="clip"):
        Clip(frames, times)


def test_reasoning_is_split_with_its_tokens() -> None:
    whole = completion_of("<think>\nIt is on the left.\n</think>\n\nYes")
    answer = whole.split()
    assert (answer.text, answer.reasoning) == ("Yes", "It is on the left.")
    assert "".join(token.text for token in answer.tokens) == "Yes"
    assert completion_of("Yes").split() == completion_of("Yes")
    # A token that reaches over the border keeps its part of the answer.
    over = Completion("a</think>\n\nYes", (TokenProb("a</think>", -1.0), TokenProb("\n\nY", -2.0), TokenProb("es", -3.0)))
    assert [(token.text, token.logprob) for token in over.split().tokens] == [("Y", -2.0), ("es", -3.0)]


def test_token_texts_complete_characters() -> None:
    pieces = "杯a子".encode()
    texts = TokenTexts(lambda ids: bytes(ids).decode(errors="replace"))
    assert [texts.add(byte) for byte in pieces] == ["", "", "杯", "a", "", "", "子"]
    assert texts.add(0xE6) == ""
    assert texts.rest() == "\ufffd"
    assert texts.rest() == ""


def test_tokens_under_a_span() -> None:
    tokens = completion_of("x 12, 3").tokens
    assert [token.text for token in tokens_under(tokens, (2, 4))] == ["1", "2"]
    assert tokens_under(tokens, (50, 60)) == []


# --- scripted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", [{"cup": "Yes", "": "No"}, ["Yes"], lambda conversation: "Yes" if "cup" in conversation.text else "No"]
)
def test_fake_backend(script: Any) -> None:
    fake = FakeBackend(script)
    assert isinstance(fake, Backend)
    reply = fake.complete(QUESTION, max_new_tokens=5)
    assert reply.text == "Yes"
    assert [math.exp(token.logprob) for token in reply.tokens] == pytest.approx([0.9])
    assert fake.asked == [QUESTION]


@pytest.mark.parametrize("script", [{"dog": "Yes"}, []])
def test_fake_backend_says_what_the_script_lacks(script: Any) -> None:
    with pytest.raises(BackendError, match="script"):
        FakeBackend(script).complete(QUESTION, max_new_tokens=5)


# --- local -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = {"name": "small", "knows": "noise", "virtual_camera": {"focal_over_long_side": 1.5}}
    return write_checkpoint(tmp_path_factory.mktemp("small"), card=card)


def test_local_backend(directory: Path) -> None:
    backend = LocalBackend.open(directory, device="cpu")
    assert isinstance(backend, Backend)
    assert (backend.card.name, backend.card.knows, backend.card.virtual_focal) == ("small", "noise", 1.5)
    reply = backend.complete(QUESTION, max_new_tokens=20)
    assert reply.model == "small"
    assert "".join(token.text for token in reply.tokens) == reply.text
    assert all(len(token.top) == 10 and token.logprob <= 0 for token in reply.tokens)
    assert {"prefill", "decode", "total"} <= set(reply.timings_ms)
    assert backend.complete(QUESTION, max_new_tokens=20).text == reply.text
    assert backend.named(ModelCard("other")).card.name == "other"


def test_local_backend_reads_clips(directory: Path) -> None:
    backend = LocalBackend.open(directory, device="cpu")
    asked = Conversation.about(CLIP, "When does it move?")
    reply = backend.complete(asked, max_new_tokens=5)
    processor = open_checkpoint(directory).processor
    inputs = processor.encode(asked.to_messages())
    assert inputs.video_grids[0][0] == 2 and "<3.5 seconds>" in processor.decode(inputs.input_ids)
    later = Conversation.about(Clip(CLIP.frames, (100.0, 200.0, 300.0, 400.0)), "When does it move?")
    assert [token.logprob for token in backend.complete(later, max_new_tokens=5).tokens] != [
        token.logprob for token in reply.tokens
    ]


def test_local_backend_says_where_it_looked(directory: Path) -> None:
    backend = LocalBackend.open(directory, device="cpu")
    assert isinstance(backend, Looking)
    look = backend.look(QUESTION, max_new_tokens=5)
    assert look.reply
    assert look.answer.shape[0] == look.unasked.shape[0]
    assert look.answer.shape[2:] == look.unasked.shape[1:]
    assert not isinstance(FakeBackend({"": "Yes"}), Looking)


def test_the_axis_of_a_front_is_read(tmp_path: Path) -> None:
    (tmp_path / "deixis.json").write_text(json.dumps({"box_front": "-x"}))
    assert read_card(tmp_path).box_front == "-x"
    (tmp_path / "deixis.json").write_text(json.dumps({"box_front": "up"}))
    with pytest.raises(CheckpointError, match="box_front"):
        read_card(tmp_path)


def test_the_words_that_a_model_knows_are_read(tmp_path: Path) -> None:
    assert read_card(tmp_path).words == ()
    (tmp_path / "deixis.json").write_text(json.dumps({"words": [["cup", "杯子"], ["red", "红色"]]}))
    assert read_card(tmp_path).words == (("cup", "杯子"), ("red", "红色"))
    (tmp_path / "deixis.json").write_text(json.dumps({"words": [["cup"]]}))
    with pytest.raises(CheckpointError, match=r"deixis\.json"):
        read_card(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"virtual_camera": 3}', '{"virtual_camera": {"focal_over_long_side": "wide"}}'])
def test_malformed_card(tmp_path: Path, content: str) -> None:
    (tmp_path / "deixis.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"deixis\.json"):
        read_card(tmp_path)


@pytest.mark.parametrize("focal", [0, -1])
def test_impossible_virtual_camera(tmp_path: Path, focal: float) -> None:
    (tmp_path / "deixis.json").write_text(json.dumps({"virtual_camera": {"focal_over_long_side": focal}}))
    with pytest.raises(CheckpointError, match="positive"):
        read_card(tmp_path)


def test_card_without_file(tmp_path: Path) -> None:
    directory = tmp_path / "Qwen3-VL-2B-Thinking"
    directory.mkdir()
    assert read_card(directory) == ModelCard("Qwen3-VL-2B-Thinking", thinking=True, directory=directory)


# --- servers -----------------------------------------------------------------------------------------------------------

SEVEN_OR_EIGHT = [{"token": "7", "logprob": -0.4}, {"token": "8", "logprob": -2.0}]
REPLY = {
    "model": "m",
    "choices": [
        {
            "message": {"content": "杯 7"},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "\\xe6\\x9d", "bytes": [0xE6, 0x9D], "logprob": -0.1, "top_logprobs": []},
                    {"token": "\\xaf", "bytes": [0xAF], "logprob": -0.2, "top_logprobs": []},
                    {"token": " ", "bytes": None, "logprob": -0.3, "top_logprobs": []},
                    {"token": "7", "bytes": [55], "logprob": -0.4, "top_logprobs": SEVEN_OR_EIGHT},
                ]
            },
        }
    ],
}  # fmt: skip


def server(answer: Callable[[httpx.Request], httpx.Response], model: str = "m") -> OpenAIBackend:
    return OpenAIBackend("http://test/v1", model, transport=httpx.MockTransport(answer))


def test_openai_request_and_reply() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://test/v1/chat/completions"
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=REPLY)

    backend = server(answer)
    assert isinstance(backend, Backend)
    reply = backend.complete(QUESTION, max_new_tokens=9, temperature=0.5)
    assert reply.text == "杯 7"
    assert [token.text for token in reply.tokens] == ["", "杯", " ", "7"]
    assert reply.tokens[3].top == (("7", -0.4), ("8", -2.0))
    (body,) = sent
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 9, 0.5)
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Where is the cup?"}
    url = picture["image_url"]["url"]
    decoded = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert np.array_equal(np.asarray(decoded), PIXELS)
    backend.close()


def test_openai_shows_a_clip_as_pictures_with_their_times() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=REPLY)

    server(answer).complete(Conversation.about(CLIP, "When?"), max_new_tokens=9)
    content = sent[0]["messages"][0]["content"]
    assert [part.get("text", part["type"]) for part in content] == [
        "<3.2 seconds>", "image_url", "<3.7 seconds>", "image_url", "<12.0 seconds>", "image_url", "<60.0 seconds>", "image_url",
        "When?",
    ]  # fmt: skip
    data = base64.b64decode(content[5]["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), CLIP.frames[2])


def test_openai_without_probabilities() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        if "logprobs" in bodies[-1]:
            return httpx.Response(400, text="logprobs is not supported")
        return httpx.Response(200, json={"choices": [{"message": {"content": "Yes"}, "finish_reason": "length"}]})

    backend = server(answer)
    for _ in range(2):
        reply = backend.complete(QUESTION, max_new_tokens=1)
        assert (reply.text, reply.tokens, reply.finish) == ("Yes", (), "length")
    assert ["logprobs" in body for body in bodies] == [True, False, False]


SCHEMA = {"type": "array", "items": {"type": "object"}}


def test_openai_schema_binds_the_reply() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=REPLY)

    backend = server(answer)
    assert backend.card.enforces_schema and backend.card.identity == "http://test/v1#m"
    backend.complete(QUESTION, max_new_tokens=9)
    backend.complete(QUESTION, max_new_tokens=9, schema=SCHEMA)
    assert "response_format" not in sent[0]
    named = sent[1]["response_format"]
    assert (named["type"], named["json_schema"]["schema"]) == ("json_schema", SCHEMA)


def test_openai_without_schemas_says_so_on_its_card() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m", "owned_by": "somebody"}]})
        sent.append(json.loads(request.content))
        if "response_format" in sent[-1]:
            return httpx.Response(400, text="response_format is not supported")
        return httpx.Response(200, json=REPLY)

    backend = server(answer)
    for _ in range(2):
        assert backend.complete(QUESTION, max_new_tokens=9, schema=SCHEMA).text == "杯 7"
        assert not backend.card.enforces_schema
    assert ["response_format" in body for body in sent] == [True, False, False]


def test_local_backends_hold_replies_to_a_schema(directory: Path) -> None:
    backend = LocalBackend.open(directory, device="cpu")
    assert backend.card.enforces_schema
    assert backend.named(ModelCard("other")).card.enforces_schema
    for temperature in (0.0, 2.0):
        reply = backend.complete(QUESTION, max_new_tokens=400, schema=LOCK, temperature=temperature)
        assert json.loads(reply.text) in ([], ["left"], ["left", "left"])
        assert "".join(token.text for token in reply.tokens) == reply.text
        assert (reply.reasoning, reply.finish) == ("", "stop")


LOCK = {"type": "array", "maxItems": 2, "items": {"const": "left"}}
# What the model says by itself; the text and the reasoning that remain of it.
SAID = [
    ('["left"]', '["left"]', ""),
    ('```json\n["left"]\n```', '["left"]', ""),
    ('```json\n[\n\t"left"\n]\n```', '[\n\t"left"\n]', ""),
    ('\n\n["left"]', '["left"]', ""),
    ('Left of it?\n</think>\n\n```json\n["left", "left"]\n```', '["left", "left"]', "Left of it?"),
    ("</think>[]", "[]", ""),
]


@pytest.mark.parametrize(("said", "text", "reasoning"), SAID)
def test_under_a_schema_the_text_is_bare_json(directory: Path, tmp_path: Path, said: str, text: str, reasoning: str) -> None:
    if "</think>" in said:  # thinking models' templates open the thought
        directory = shutil.copytree(directory, tmp_path / "thinking")
        with (directory / "chat_template.jinja").open("a") as template:
            template.write("{{- '<think>\\n' -}}")
    backend = LocalBackend(ScriptedEngine(open_checkpoint(directory), [said]), ModelCard("scripted"))
    reply = backend.complete(QUESTION, max_new_tokens=100, schema=LOCK)
    assert (reply.text, reply.reasoning, reply.finish) == (text, reasoning, "stop")
    assert "".join(token.text for token in reply.tokens) == text


def test_the_name_of_the_end_of_a_thought_may_stand_in_json(directory: Path) -> None:
    engine = ScriptedEngine(open_checkpoint(directory), ['["<\\/think>", "</thi'])
    reply = LocalBackend(engine, ModelCard("scripted")).complete(
        QUESTION, max_new_tokens=100, schema={"const": ["</think>", "</think>"]}
    )
    assert json.loads(reply.text) == ["</think>", "</think>"]
    assert reply.reasoning == ""


def test_a_reply_cut_inside_its_fence_says_so(directory: Path) -> None:
    engine = ScriptedEngine(open_checkpoint(directory), ['```json\n["left"]\n```'])
    reply = LocalBackend(engine, ModelCard("scripted")).complete(QUESTION, max_new_tokens=12, schema=LOCK)
    assert reply.finish == "length"
    assert '["left"]'.startswith(reply.text) and reply.text


def test_without_llguidance_local_backends_use_no_schema_and_say_so(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.engine.constrain.find_spec", lambda name: None)
    backend = LocalBackend.open(directory, device="cpu")
    assert not backend.card.enforces_schema
    bare, held = (backend.complete(QUESTION, max_new_tokens=9, schema=schema).text for schema in (None, SCHEMA))
    assert bare == held


def test_weights_have_an_identity_wherever_they_lie(directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(directory, tmp_path / "copy")
    assert weights_identity(copy) == weights_identity(directory) != ""
    shard = sorted(copy.glob("*.safetensors"))[-1]
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    assert weights_identity(copy) != weights_identity(directory)
    assert weights_identity(tmp_path) == ""


def test_openai_reasoning() -> None:
    message = {"content": "Yes", "reasoning_content": "because"}
    backend = server(lambda _: httpx.Response(200, json={"choices": [{"message": message}]}))
    assert backend.complete(QUESTION, max_new_tokens=1).reasoning == "because"


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (500, "broken\nhere", BackendError),
        (404, "no such model", ModelNotFoundError),
        (429, "slow down", OverloadError),
        (503, "full", OverloadError),
        (401, "who are you", BackendError),
        (200, "not json", BackendError),
        (200, "[]", BackendError),
        (200, "{}", BackendError),
        (200, '{"choices": [{"message": null}]}', BackendError),
        (200, '{"choices": [{"message": {}, "logprobs": {"content": [{"token": "x"}]}}]}', BackendError),
    ],
)
def test_openai_failures(status: int, text: str, error: type[DeixisError]) -> None:
    with pytest.raises(error) as caught:
        server(lambda _: httpx.Response(status, text=text)).complete(QUESTION, max_new_tokens=1)
    assert "\n" not in str(caught.value)


def test_openai_unreachable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(BackendError, match="did not answer"):
        server(refuse).complete(QUESTION, max_new_tokens=1)


def test_openai_only_model() -> None:
    def listing(*names: str) -> Callable[[httpx.Request], httpx.Response]:
        return lambda _: httpx.Response(200, json={"data": [{"id": name} for name in names]})

    assert server(listing("a"), "").card.name == "a"
    for names in ((), ("a", "b")):
        with pytest.raises(ModelNotFoundError, match="#name"):
            server(listing(*names), "")


@pytest.mark.parametrize("url", ["http://", "ftp://x/v1", "http://host:port/v1", "x"])
def test_openai_bad_address(url: str) -> None:
    with pytest.raises(OptionError, match="address"):
        OpenAIBackend(url, "m")


def test_pictures_are_shown_in_the_sizes_that_a_model_knows(tmp_path: Path) -> None:
    sizes = ((640, 480), (480, 640), (544, 544), (736, 416))
    backend = LocalBackend.__new__(LocalBackend)
    backend._card = ModelCard("small", sizes=sizes)
    for shape, expected in (((240, 320), (480, 640)), ((300, 200), (640, 480)), ((90, 90), (544, 544)), ((100, 900), (416, 736))):
        shown = backend._shown(Conversation.about(np.full((*shape, 3), 7, np.uint8), "what?"))
        pixels, text = shown.turns[0].parts
        assert isinstance(pixels, np.ndarray) and pixels.shape == (*expected, 3) and (pixels == 7).all() and text == "what?"
    clip = backend._shown(Conversation.about(CLIP, "what?")).turns[0].parts[0]
    assert isinstance(clip, Clip) and clip.timestamps_s == CLIP.timestamps_s
    assert {frame.shape for frame in clip.frames} == {(480, 640, 3)}  # 96 to 64 is nearer to 4:3 than to 16:9
    known = np.zeros((480, 640, 3), np.uint8)
    assert backend._shown(Conversation.about(known, "what?")).turns[0].parts[0] is known
    (tmp_path / "deixis.json").write_text(json.dumps({"name": "x", "sizes": [[0, 640]]}))
    with pytest.raises(CheckpointError, match="sizes"):
        read_card(tmp_path)
