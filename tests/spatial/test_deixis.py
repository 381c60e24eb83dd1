"""The whole way of a question with a scripted model: steps, camera, verdicts, and the JSON that users rely on."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deixis
from deixis.backends import Completion, FakeBackend, ModelCard, TokenProb
from deixis.errors import CameraError, OptionError, PictureError, QuestionError
from deixis.geometry import Camera
from deixis.media import load_picture
from deixis.spatial import Deixis, LocateAnswer

PICTURE = load_picture(np.zeros((480, 640, 3), np.uint8))
NANO = ModelCard("nano", "named by the caller", virtual_focal=1.0, knows="rendered worlds")

CUP = '{"bbox_2d": [100, 200, 300, 400], "label": "red cup"}'
BOOK = '{"bbox_2d": [500, 200, 700, 400], "label": "book"}'
# Depths in a camera of f = 640 px: the cup's centre projects into its box, so does the book's.
CUP_3D = '{"bbox_3d": [-0.3, -0.12, 1.0, 0.2, 0.2, 0.2, 0, 0, 0], "label": "red cup"}'
BOOK_3D = '{"bbox_3d": [0.2, -0.3, 2.0, 0.4, 0.4, 0.2, 0, 0, 0], "label": "book"}'
SCRIPT = {
    "Report 3D": f"```json\n[{CUP_3D}, {BOOK_3D}]\n```",
    "bbox": f"```json\n[\n\t{CUP},\n\t{BOOK}\n]\n```",
    "3D边界框": f"[{CUP_3D}]",
    "": "Yes",
}


def asking(script: dict[str, Any] | None = None, card: ModelCard = NANO) -> tuple[Deixis, FakeBackend]:
    backend = FakeBackend(SCRIPT if script is None else {**SCRIPT, **script}, card=card)
    return Deixis(backend), backend


def test_public_name() -> None:
    assert deixis.Deixis is Deixis


def test_relation_in_the_plane_needs_no_3d() -> None:
    session, backend = asking()
    answer = session.ask(PICTURE, "Is the red cup left of the book?")
    assert [conversation.text.splitlines()[0] for conversation in backend.asked[:2]] == ["Is the red cup left of the book?"] * 2
    assert not any("3D" in conversation.text for conversation in backend.asked)
    assert (answer.answer, answer.verdict) == ("Yes", "yes")
    assert [item.label for item in answer.objects] == ["red cup", "book"]
    assert answer.objects[0].box_px == pytest.approx((64, 96, 192, 192))
    assert answer.objects[0].score == pytest.approx(0.9)
    (claim,) = answer.claims
    assert (claim.claim, claim.geometry, claim.agrees) == ("red cup is left of book", "yes", True)


def test_relation_in_depth_takes_three_and_finds_metres() -> None:
    session, backend = asking()
    answer = session.ask(PICTURE, "Is the red cup in front of the book?", camera=(640, 640, 320, 240))
    assert sum("3D" in conversation.text for conversation in backend.asked) == 1
    assert [item.depth_m for item in answer.objects] == [1.0, 2.0]
    assert answer.claims[0].agrees is True
    assert answer.camera.source == "user"


def test_both_readings_are_kept_where_they_contradict() -> None:
    session, _ = asking({"": "No"})
    answer = session.ask(PICTURE, "Is the red cup left of the book?")
    (claim,) = answer.claims
    assert (claim.model, claim.geometry, claim.agrees) == ("no", "yes", False)
    assert claim.looked_again
    assert answer.confidence < asking()[0].ask(PICTURE, "Is the red cup left of the book?").confidence


def test_metres_are_converted_to_the_answers_camera() -> None:
    session, _ = asking({"Answer with": "1.00 m"})
    assert session.ask(PICTURE, "How far is the red cup?", camera=(640, 640, 320, 240)).answer == "1.00 m"
    answer = session.ask(PICTURE, "How far is the red cup?", camera=(320, 320, 320, 240))
    assert (answer.answer, answer.verdict) == ("0.50 m", "0.50 m")
    box = answer.objects[0].box_3d
    assert box is not None
    assert box.center_m == pytest.approx((-0.3, -0.12, 0.5))
    assert answer.claims[0].agrees is True


def test_metres_of_an_unknown_camera_stay_and_say_so() -> None:
    session, _ = asking({"Answer with": "1.00 m"}, ModelCard("big"))
    answer = session.ask(PICTURE, "How far is the red cup?", camera=(320, 320, 320, 240))
    assert answer.answer == "1.00 m"
    assert any("which camera" in note for note in answer.provenance.notes)


def test_camera_order() -> None:
    session, _ = asking()
    question = "Is the red cup left of the book?"
    assert session.ask(PICTURE, question).camera == Camera.assumed(640, 480)
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769)[0xA405] = 35  # focal length in 35 mm film
    image = Image.new("RGB", (640, 480))
    image.info["exif"] = exif.tobytes()
    with_exif = load_picture(image)
    if with_exif.camera is not None:
        assert session.ask(with_exif, question).camera.source == "exif"
    assert session.ask(with_exif, question, camera=(500, 500, 320, 240)).camera.fx == 500
    own = Camera(700, 700, 320, 240, 640, 480, "estimated")
    assert session.ask(PICTURE, question, camera=own).camera is own


@pytest.mark.parametrize(
    ("camera", "error"),
    [
        ((1, 2, 3), OptionError),
        ((0, 500, 320, 240), CameraError),
        ((float("nan"), 500, 320, 240), CameraError),
        (Camera.assumed(64, 48), OptionError),
    ],
)
def test_bad_cameras(camera: Any, error: type[Exception]) -> None:
    session, backend = asking()
    with pytest.raises(error):
        session.ask(PICTURE, "Is the red cup left of the book?", camera=camera)
    assert not backend.asked


@pytest.mark.parametrize(
    ("picture", "question", "error"), [(PICTURE, " ", QuestionError), ("nowhere.png", "Where?", PictureError)]
)
def test_bad_input_never_reaches_the_model(picture: Any, question: str, error: type[Exception]) -> None:
    session, backend = asking()
    for call in (session.ask, session.locate):
        with pytest.raises(error):
            call(picture, question)
    assert not backend.asked


# what the model says, what it finds, question, verdict
VERDICTS = [
    ("Yes", None, "Is the red cup left of the book?", "yes"),
    ("Yes, it is.", None, "Is the red cup left of the book?", "yes"),
    ("absent", "[]", "Is the red cup left of the book?", "absent"),
    ("Yes", "```json\n[]\n```", "Is the red cup left of the book?", "absent"),
    ("0.85 m", "[]", "How far is the red cup?", "absent"),
    ("Yes", "[]", "Is there a red cup?", "unsure"),
    ("No", "[]", "Is there a red cup?", "no"),
    ("Yes", None, "Is there a red cup?", "yes"),
    ("absent", "[]", "Is there a red cup?", "no"),
    ("absent", "[]", "How many red cups are there?", "0"),
    ("three", None, "How many red cups are there?", "3"),
    ("60%", None, "How much of the red cup is visible?", "60%"),
    ("red cup", None, "Which object is nearest?", "red cup"),
    ("I can't tell", None, "Is the red cup left of the book?", "unsure"),
    ("", None, "Is the red cup left of the book?", "unsure"),
    ("No", None, "What is left of the book?", "unsure"),
    ('[{"bbox_2d": [1, 2, 3, 4], "label": "cup"}]', None, "What hides the cup?", "unsure"),
    ("Yes", "I see nothing", "Is the red cup left of the book?", "yes"),
    ("是", None, "红色杯子在书的左边吗?", "yes"),
    ("没有", "[]", "红色杯子在书的左边吗?", "absent"),
    ("没有", "[]", "图中有红色杯子吗?", "no"),
]


@pytest.mark.parametrize(("said", "found", "question", "verdict"), VERDICTS)
def test_verdict(said: str, found: str | None, question: str, verdict: str) -> None:
    script = {"Answer with": said, "请用一个词": said}
    if found is not None:
        script["bbox"] = found
    session, _ = asking(script)
    answer = session.ask(PICTURE, question)
    assert answer.verdict == verdict
    assert 0 <= answer.confidence <= 1


def test_absent_by_evidence_alone_is_less_sure() -> None:
    session, _ = asking({"bbox": "[]"})
    answer = session.ask(PICTURE, "Is the red cup left of the book?")
    assert (answer.answer, answer.verdict) == ("absent", "absent")
    (claim,) = answer.claims
    assert (claim.model, claim.geometry, claim.agrees) == ("yes", "no", False)
    said_so = asking({"bbox": "[]", "Answer with": "absent"})[0].ask(PICTURE, "Is the red cup left of the book?")
    assert said_so.verdict == "absent"
    assert said_so.confidence > answer.confidence


def test_unreadable_evidence_denies_nothing() -> None:
    answer = asking({"bbox": "I see both."})[0].ask(PICTURE, "Is the red cup left of the book?")
    assert (answer.verdict, answer.claims) == ("yes", ())
    assert answer.confidence > 0.8


def test_a_measured_value_is_sure_where_its_neighbourhood_is() -> None:
    # P(1.2 m) is 0.3, but P(about 1.2 m) is 0.9.
    digits = (("1", {"1": 0.9, "3": 0.1}), (".", {".": 1.0}), ("2", {"2": 0.3, "1": 0.4, "3": 0.3}), (" m", {" m": 1.0}))
    tokens = tuple(
        TokenProb(text, math.log(top[text]), tuple((other, math.log(p)) for other, p in top.items())) for text, top in digits
    )
    session, _ = asking({"Answer with": Completion("1.2 m", tokens), "Report 3D": CUP_3D.replace("1.0", "1.2")})
    answer = session.ask(PICTURE, "How far is the red cup?", camera=(640, 640, 320, 240))
    assert (answer.answer, answer.claims[0].agrees) == ("1.20 m", True)
    assert answer.confidence > 0.85


def test_without_evidence_there_is_one_step() -> None:
    session, backend = asking()
    answer = session.ask(PICTURE, "Is the red cup left of the book?", evidence=False)
    assert len(backend.asked) == 1
    assert (answer.objects, answer.claims, answer.verdict) == ((), (), "yes")


def test_3d_boxes_go_to_the_objects_they_cover() -> None:
    twins = (
        '[{"bbox_2d": [100, 200, 300, 400], "label": "cup"}, {"bbox_2d": [500, 200, 700, 400], "label": "cup"},'
        ' {"bbox_2d": [0, 900, 50, 950], "label": "cup"}]'
    )
    boxes = f"[{BOOK_3D.replace('book', 'cup')}, {CUP_3D.replace('red cup', 'cup')}]"  # the other way round
    session, _ = asking({"Report 3D": boxes, "bbox": twins})
    found = session.locate(PICTURE, "cups", three_d=True, camera=(640, 640, 320, 240))
    assert [item.depth_m for item in found.objects] == [1.0, 2.0, None]


def test_what_has_no_3d_box_is_asked_for_by_its_name() -> None:
    by_name = {"of: book. Report 3D": f"[{BOOK_3D}]", "of: everything. Report 3D": f"[{CUP_3D}]"}
    session, backend = asking(by_name)
    found = session.locate(PICTURE, "everything", three_d=True, camera=(640, 640, 320, 240))
    assert [item.depth_m for item in found.objects] == [1.0, 2.0]
    assert len(backend.asked) == 3
    assert list(found.provenance.timings_ms) == ["locate", "locate_3d", "total"]
    # Twins: the one box there is stays with the one that it covers, and nothing is asked twice.
    twins = f"[{CUP}, {BOOK.replace('book', 'red cup')}]"
    session, backend = asking({"Report 3D": f"[{CUP_3D}]", "bbox": twins})
    found = session.locate(PICTURE, "everything", three_d=True, camera=(640, 640, 320, 240))
    assert [item.depth_m for item in found.objects] == [1.0, None]
    assert len(backend.asked) == 3
    session, backend = asking({"Report 3D": f"[{CUP_3D}]", "bbox": twins})
    session.locate(PICTURE, "red cup", three_d=True, camera=(640, 640, 320, 240))
    assert len(backend.asked) == 2


def test_a_3d_answer_to_a_2d_request_is_projected() -> None:
    session, _ = asking({"bbox": f"[{CUP_3D}]"})
    found = session.locate(PICTURE, "the red cup", camera=(640, 640, 320, 240))
    assert found.objects[0].depth_m == 1.0
    assert found.objects[0].box_px[0] < found.objects[0].box_px[2]
    assert "kind_mismatch" in {problem.kind for problem in found.provenance.problems}


def test_3d_boxes_without_2d_ones_are_projected() -> None:
    session, _ = asking({"bbox": "sorry"})
    found = session.locate(PICTURE, "the red cup", three_d=True, camera=(640, 640, 320, 240))
    assert [item.label for item in found.objects] == ["red cup", "book"]
    assert not found.absent


def test_locate_absent_and_unreadable() -> None:
    assert asking({"bbox": "```json\n[]\n```"})[0].locate(PICTURE, "a dog").absent
    unread = asking({"bbox": "There are two of them."})[0].locate(PICTURE, "a dog")
    assert (unread.objects, unread.absent) == ((), False)
    assert [problem.kind for problem in unread.provenance.problems] == ["no_json"]


def test_nano_says_what_it_knows() -> None:
    session, _ = asking()
    note, uncalibrated = session.ask(PICTURE, "Is the red cup left of the book?").provenance.notes
    assert "not calibrated" in uncalibrated
    assert "rendered worlds" in note
    assert "deixis models pull" in note
    assert "--model" in note
    (note,) = asking({"bbox": "[]"})[0].locate(PICTURE, "杯子").provenance.notes
    assert "nano只认识渲染的场景" in note
    assert "deixis models pull" in note
    assert asking(card=ModelCard("big"))[0].locate(PICTURE, "cup").provenance.notes == ()


def test_thinking_models_get_room_and_keep_their_reasoning() -> None:
    budgets: list[int] = []

    class Budget(FakeBackend):
        def complete(self, conversation: Any, *, max_new_tokens: int, temperature: float = 0.0) -> Any:
            budgets.append(max_new_tokens)
            return super().complete(conversation, max_new_tokens=max_new_tokens).split()

    backend = Budget({**SCRIPT, "Answer with": "<think>\nhm\n</think>\n\nYes"}, card=ModelCard("t", thinking=True))
    answer = Deixis(backend).ask(PICTURE, "Is the red cup left of the book?")
    assert (answer.answer, answer.reasoning, answer.verdict) == ("Yes", "hm", "yes")
    assert min(budgets) > 8_000
    assert answer.to_json()["reasoning"] == "hm"


def test_ask_json_contract() -> None:
    session, _ = asking()
    row = session.ask(PICTURE, "Is the red cup in front of the book?", camera=(640, 640, 320, 240)).to_json()
    contract = ["answer", "verdict", "confidence", "objects", "claims", "camera", "model", "timings_ms"]
    assert [key for key in row if key in contract] == [*contract[:6], "model", "timings_ms"]
    assert set(row) - set(contract) <= {"model_why", "note", "problems", "reasoning", "calibrated", "question"}
    assert row["calibrated"] is False
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    first = row["objects"][0]
    assert list(first)[:4] == ["label", "box_px", "score", "interval_px"]
    assert first["box_px"] == [64, 96, 192, 192]
    assert len(first["box_3d"]) == 9
    assert list(row["claims"][0])[:5] == ["claim", "frame", "model", "geometry", "agrees"]
    assert row["camera"] == {"fx": 640, "fy": 640, "cx": 320, "cy": 240, "width": 640, "height": 480, "source": "user"}
    assert row["model"] == "nano"
    assert list(row["timings_ms"]) == ["ask", "evidence", "evidence_3d", "ask_again", "translate", "total"]


def test_locate_json_contract() -> None:
    session, _ = asking()
    row = session.locate(PICTURE, "cups and books").to_json()
    assert list(row)[:2] == ["objects", "absent"]
    assert {"model", "timings_ms"} <= set(row)
    assert "camera" not in row
    assert "camera" in session.locate(PICTURE, "cups", three_d=True).to_json()
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_intervals_hold_their_coordinate() -> None:
    text = f"[{CUP}]"
    tokens = tuple(
        TokenProb(char, -0.1, ((char, -0.1), ("9" if char != "9" else "8", -2.4))) if char.isdigit() else TokenProb(char, -0.01)
        for char in text
    )
    session, _ = asking({"bbox": Completion(text, tokens)})
    found = session.locate(PICTURE, "the red cup")
    assert isinstance(found, LocateAnswer)
    (item,) = found.objects
    assert item.interval_px is not None
    for at, (low, high) in zip(item.box_px, item.interval_px, strict=True):
        assert low <= at <= high
    assert item.interval_px[0][1] > item.box_px[0]
    assert item.interval_px[2][1] <= 640


def test_load_time_joins_the_timings() -> None:
    session, _ = asking()
    answer = session.ask(PICTURE, "Is the red cup left of the book?").with_load_ms(12)
    assert next(iter(answer.to_json()["timings_ms"].items())) == ("load", 12)
    assert session.locate(PICTURE, "cup").with_load_ms(3).to_json()["timings_ms"]["load"] == 3
