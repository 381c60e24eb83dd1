"""The official client, unchanged: chat, streams, schemas, pictures, tools, errors; and Qwen3-VL's published requests."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.media.clips import write_clip
from tests.service.serving import Running, data_uri, png, running

PICTURE = {"type": "image_url", "image_url": {"url": data_uri(png())}}
QWEN = "Qwen/Qwen3-VL-235B-A22B-Instruct-FP8"  # the name in the published examples


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(models=["fake", f"{QWEN}=fake"]) as here:
        yield here


@pytest.fixture(scope="module")
def client(here: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{here.url}/v1", api_key="EMPTY", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="fake",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [PICTURE, {"type": "text", "text": "What is it"}]},
            {"role": "assistant", "content": "A square."},
            {"role": "user", "content": "Of which colour"},
        ],
        max_completion_tokens=20,
        temperature=0,
        n=2,
        logprobs=True,
        top_logprobs=2,
        seed=1,
        stop=["\n\n"],
        user="me",
    )
    assert [choice.message.content for choice in reply.choices] == ["A red square."] * 2
    assert [choice.finish_reason for choice in reply.choices] == ["stop", "stop"]
    tokens = reply.choices[0].logprobs
    assert tokens is not None and tokens.content is not None
    assert "".join(token.token for token in tokens.content) == "A red square."
    assert reply.usage is not None and reply.usage.completion_tokens == 12
    assert reply.model == "fake" and reply.object == "chat.completion"


def test_streaming(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "A red square."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 6


def test_schema(client: openai.OpenAI) -> None:
    schema = {"type": "array", "items": {"type": "object"}}
    reply = client.chat.completions.create(
        model="fake",
        messages=[{"role": "user", "content": [PICTURE, {"type": "text", "text": "All objects as JSON"}]}],
        response_format={"type": "json_schema", "json_schema": {"name": "boxes", "schema": schema, "strict": True}},
    )
    assert (reply.choices[0].message.content or "").startswith("[")


def test_models(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"fake", QWEN}
    assert client.models.retrieve(QWEN).id == QWEN


def test_qwens_published_picture_request(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": [PICTURE, {"type": "text", "text": "Read all the text in the image."}]}]
    reply = client.chat.completions.create(model=QWEN, messages=messages, max_tokens=2048)  # type: ignore[arg-type]
    assert reply.choices[0].message.content and reply.model == QWEN


def test_qwens_published_video_request(client: openai.OpenAI, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, 30)
    video = {"type": "video_url", "video_url": {"url": data_uri(path.read_bytes(), "video/mp4")}}
    messages = [{"role": "user", "content": [video, {"type": "text", "text": "How long is this video?"}]}]
    reply = client.chat.completions.create(
        model=QWEN,
        messages=messages,  # type: ignore[arg-type]
        max_tokens=2048,
        extra_body={"mm_processor_kwargs": {"fps": 2, "do_sample_frames": True}, "top_k": 20, "repetition_penalty": 1.0},
    )
    assert reply.choices[0].message.content == "Yes"


USER = [{"role": "user", "content": "hi"}]
ERRORS = [
    (openai.NotFoundError, {"model": "none", "messages": USER}),
    (openai.BadRequestError, {"model": "fake", "messages": []}),
    (openai.BadRequestError, {"model": "fake", "messages": USER, "temperature": -1}),
    (openai.BadRequestError, {"model": "fake", "messages": USER, "presence_penalty": 1.5}),
    (openai.BadRequestError, {"model": "fake", "messages": USER, "max_tokens": 10**9}),
    (openai.BadRequestError, {"model": "fake", "messages": USER, "n": 100}),
    (openai.BadRequestError, {"model": "fake", "messages": USER, "extra_body": {"surprise": 1}}),
    (
        openai.BadRequestError,
        {"model": "fake", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
    ),
]


@pytest.mark.parametrize(("error", "asked"), ERRORS)
def test_errors(client: openai.OpenAI, error: type[openai.APIStatusError], asked: dict) -> None:
    with pytest.raises(error) as raised:
        client.chat.completions.create(**asked)
    body = raised.value.body
    assert isinstance(body, dict) and set(body) == {"message", "type", "code", "param"} and body["message"]


def test_overload_and_keys_in_the_clients_words() -> None:
    key = "a-key-of-some-length"
    with running(models=["fake"], api_keys=(key,), rate_per_minute=1) as here:
        url = f"{here.url}/v1"
        with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
            client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hi"}])
            with pytest.raises(openai.RateLimitError) as raised:
                client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hi"}])
            assert 0 < int(raised.value.response.headers["retry-after"]) <= 60
