"""Routes as programs use them: /v1/spatial, jobs, models, health, figures; a scripted model answers."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from deixis.service import serve as serve_function
from deixis.service.logs import JsonLines
from deixis.spatial import Deixis
from tests.media.clips import write_clip
from tests.service.serving import Running, data_uri, png, running, wait_for

PICTURE = data_uri(png())


@pytest.fixture(scope="module")
def client(served: Running) -> httpx.Client:
    with served.client() as client:
        yield client


def test_ask_is_the_contract(client: httpx.Client) -> None:
    response = client.post(
        "/v1/spatial/ask", json={"image": PICTURE, "question": "Is there a red square?", "camera": [64, 64, 32, 32]}
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["verdict"], answer["model"]) == ("yes", "fake")
    assert answer["objects"][0]["box_px"] == [16.0, 16.0, 48.0, 48.0]
    assert answer["camera"]["source"] == "user" and answer["camera"]["fx"] == 64
    assert response.headers["x-request-id"]


def test_a_form_says_the_same_as_json(client: httpx.Client) -> None:
    fields = {"question": "Is there a red square?", "camera": "64,64,32,32", "evidence": "true"}
    form = client.post("/v1/spatial/ask", files={"image": ("any name.exe", png(), "text/plain")}, data=fields).json()
    sent = client.post(
        "/v1/spatial/ask", json={"image": PICTURE, "question": "Is there a red square?", "camera": [64, 64, 32, 32]}
    ).json()
    assert {k: form[k] for k in ("answer", "objects", "camera")} == {k: sent[k] for k in ("answer", "objects", "camera")}


def test_locate_and_scene(client: httpx.Client) -> None:
    found = client.post("/v1/spatial/locate", json={"image": PICTURE, "what": "红色方块", "fov_deg": 60}).json()
    assert found["absent"] is False and found["objects"][0]["label"] == "red square"
    scene = client.post("/v1/spatial/scene", json={"image": PICTURE, "language": "zh"}).json()
    assert scene["schema"] == "deixis.scene/1" and len(scene["objects"]) == 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, 30)
    return path.read_bytes()


def test_watch(client: httpx.Client, clip: bytes) -> None:
    fields = {"question": "What happened?", "frames": "3"}
    response = client.post("/v1/spatial/watch", files={"video": clip}, data=fields)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["tracks"][0]["label"] == "red square" and answer["video"]["complete"]


def test_a_job_tells_its_progress_and_keeps_its_answer(client: httpx.Client, clip: bytes) -> None:
    fields = {"question": "What happened?", "frames": "3", "background": "true"}
    response = client.post("/v1/spatial/watch", files={"video": clip}, data=fields)
    assert response.status_code == 202
    job = response.headers["location"]
    with client.stream("GET", f"{job}/events") as events:
        told = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line]
    assert told[-1]["status"] == "done" and told[-1]["result"]["tracks"]
    assert client.get(job).json() == told[-1]
    shares = [one["share"] for one in told if one["step"] == "locate"]
    assert shares == sorted(shares)
    assert client.get("/v1/jobs/job-none").status_code == 404


def test_a_job_can_be_ended(clip: bytes) -> None:
    with running(models=["fake:slow=30"], slots=1) as here, here.client() as client:
        fields = {"question": "What happened?", "background": "true"}
        job = client.post("/v1/spatial/watch", files={"video": clip}, data=fields).headers["location"]
        wait_for(lambda: here.gateway.models.served[0].running == 1, 10)
        assert client.delete(job).json()["status"] == "cancelled"
        wait_for(lambda: here.gateway.models.served[0].running == 0, 1)
        assert client.get(job).json()["status"] == "cancelled"


def test_jobs_belong_to_their_caller(clip: bytes) -> None:
    keys = ("first-key-of-some-length", "other-key-of-some-length")
    with running(api_keys=keys) as here, here.client() as client:
        first, other = ({"Authorization": f"Bearer {key}"} for key in keys)
        fields = {"question": "What happened?", "background": "true", "frames": "2"}
        job = client.post("/v1/spatial/watch", files={"video": clip}, data=fields, headers=first).headers["location"]
        assert client.get(job, headers=other).status_code == 404
        assert client.delete(job, headers=other).status_code == 404
        assert client.get(job, headers=first).status_code == 200
        assert client.get(job).status_code == 401
        for path in ("/v1/models", "/metrics", "/openapi.json", "/docs", "/nothing"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer wrong-key-of-some-length"}).status_code == 401
        for path in ("/health/live", "/health/ready"):
            assert client.get(path).status_code == 200


def test_models_and_health(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert [row["id"] for row in listed["data"]] == ["fake"]
    assert listed["data"][0]["deixis"]["state"] == "ready"
    assert client.get("/v1/models/fake").json() == listed["data"][0]
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_figures_count_what_happens(served: Running, client: httpx.Client) -> None:
    def figure(text: str, name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    before = client.get("/metrics").text
    client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
    client.post("/v1/spatial/ask", json={"image": PICTURE})
    wait_for(lambda: served.gateway.admission.taken == 0, 5)
    after = client.get("/metrics").text
    grown = {name: figure(after, name) - figure(before, name) for name in ("deixis_accepted_total", "deixis_ended_total")}
    assert grown == {"deixis_accepted_total": 2, "deixis_ended_total": 2}
    assert figure(after, "deixis_ends_total") == figure(after, "deixis_ended_total")
    assert figure(after, "deixis_tokens_total") - figure(before, "deixis_tokens_total") == 6
    assert figure(after, 'deixis_errors_total{type="BodyError"}') > figure(before, 'deixis_errors_total{type="BodyError"}')


SECRET = "a question that nobody else may read"


def test_nothing_of_a_request_is_logged(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("deixis")
    with caplog.at_level(logging.DEBUG, "deixis"):
        assert logger.propagate
        client.post("/v1/spatial/ask", json={"image": PICTURE, "question": SECRET})
        client.post(
            "/v1/spatial/ask", json={"image": "http://127.0.0.1/secret", "question": SECRET}, headers={"X-Secret": SECRET}
        )
        client.get(f"/v1/spatial/{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
        time.sleep(0.1)
    lines = [JsonLines().format(record) for record in caplog.records]
    told = [json.loads(line) for line in lines if '"deixis.requests"' in line]
    assert {(row["route"], row["status"]) for row in told} >= {("/v1/spatial/ask", 200), ("/v1/spatial/ask", 400), ("other", 404)}
    assert all(row["request"] and row["ms"] >= 0 for row in told)
    assert not any("nobody else" in line or "iVBOR" in line or "127.0.0.1/secret" in line for line in lines)


def test_a_request_id_is_kept_where_it_is_one(client: httpx.Client) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": "my-id.7"}).headers["x-request-id"] == "my-id.7"
    assert client.get("/health/live", headers={"X-Request-ID": "a b\t<script>"}).headers["x-request-id"] != "a b\t<script>"


def test_nothing_is_written_to_disk(client: httpx.Client, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    before = set(Path(tempfile.gettempdir()).iterdir())
    large = png(2000, 1500) + b"\0" * 3_000_000  # beyond what a form keeps in memory by itself
    assert client.post("/v1/spatial/locate", files={"image": large}, data={"what": "it"}).status_code == 200
    assert client.post("/v1/spatial/watch", files={"video": clip}, data={"question": "What?", "frames": "2"}).status_code == 200
    new = set(Path(tempfile.gettempdir()).iterdir()) - before
    assert not [path for path in new if path.stat().st_uid == os.getuid() and path.suffix in (".png", ".mp4", ".sqlite")]


def test_the_same_answer_as_in_this_process(client: httpx.Client) -> None:
    from tests.service.fake_worker import load

    here: Deixis = load("fake")
    own = here.ask(png(), "Is there a red square?").to_json()
    told = client.post("/v1/spatial/ask", json={"image": PICTURE, "question": "Is there a red square?"}).json()
    assert {k: v for k, v in told.items() if k != "timings_ms"} == {
        k: v for k, v in json.loads(json.dumps(own)).items() if k != "timings_ms"
    }
    assert callable(serve_function)
