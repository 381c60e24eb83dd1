"""Heat maps: what is left out of them, where they come from, and that nano looks at what it is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis import Deixis
from deixis.backends import Conversation, FakeBackend, Look, Looking
from deixis.cli import run
from deixis.errors import OptionError
from deixis.lab.make import example
from deixis.media import load_picture
from deixis.spatial.showing.explain import HeatMap, draw_heat, explain, heat_map
from tests.spatial.scenes import PICTURE

EXAMPLE = Path(__file__).parents[2] / "examples" / "desk.png"
SIZE = (448, 352)
TIMES = 5.0  # what a thing's box gets over its share of the picture, in the median; measured with nano: 13


def looked(answer: np.ndarray, unasked: np.ndarray | None = None) -> Look:
    """Four layers and three tokens, all alike in the later half; the earlier half looks at the first patch alone."""
    early = np.zeros_like(answer)
    early[0, 0] = 1
    before = np.full_like(answer, 1 / answer.size) if unasked is None else unasked
    layers = np.stack([early, early, answer, answer])
    return Look("Yes", np.repeat(layers[:, None], 3, axis=1).astype(np.float32), np.stack([before] * 4).astype(np.float32))


def test_a_map_has_neither_background_nor_sinks_nor_early_layers() -> None:
    answer, before = np.full((4, 5), 0.01), np.full((4, 5), 0.01)
    answer[2, 3] = 0.3
    answer[3, 4] = before[3, 4] = 0.5  # looked at whatever is asked
    heat = heat_map(looked(answer, before), "Where?")
    assert heat.weights[2, 3] == pytest.approx(1.0)
    assert heat.weights.sum() == pytest.approx(1.0)
    assert (heat.asked, heat.reply) == ("Where?", "Yes")


def test_attention_that_is_even_says_nothing() -> None:
    assert heat_map(looked(np.full((4, 5), 0.02)), "").weights == pytest.approx(np.full((4, 5), 1 / 20))


def test_share_in_a_box_counts_parts_of_patches() -> None:
    heat = HeatMap(np.array([[0.5, 0.5], [0.0, 0.0]]), "", "")
    assert heat.share_in((0, 0, 640, 480), 640, 480) == pytest.approx(1.0)
    assert heat.share_in((0, 0, 320, 240), 640, 480) == pytest.approx(0.5)
    assert heat.share_in((160, 120, 320, 480), 640, 480) == pytest.approx(0.125)


def test_a_part_of_a_map_is_a_map() -> None:
    weights = np.zeros((6, 4))
    weights[2, 1], weights[0, 0] = 0.6, 0.4  # the second in the border
    part = HeatMap(weights, "Where?", "There").part((0, 160, 640, 320), 640, 480)
    assert part.weights.shape == (2, 4)
    assert part.weights[0, 1] == pytest.approx(1.0)
    half = HeatMap(weights, "", "").part((0, 200, 640, 320), 640, 480)  # the patch is cut in two
    assert half.weights[0, 1] == pytest.approx(1.0)
    empty = HeatMap(weights, "", "").part((320, 160, 640, 320), 640, 480)
    assert empty.weights == pytest.approx(np.full((2, 2), 0.25))


def test_a_long_picture_is_looked_at_with_its_borders_and_mapped_without() -> None:
    seen: list[tuple[int, ...]] = []

    class Seeing(FakeBackend):
        def look(self, conversation: Conversation, *, max_new_tokens: int) -> Look:
            (pixels, _) = conversation.turns[0].parts
            height, width = pixels.shape[:2]  # type: ignore[union-attr]
            seen.append((height, width))
            answer = np.zeros((height // 32, width // 32))
            answer[round(height / 64), 5] = 1.0  # in the middle row, six patches from the left
            return looked(answer)

    backend = Seeing({"": "Yes"})
    picture = load_picture(np.full((160, 960, 3), 90, np.uint8))
    heat = explain(backend, picture, Deixis(backend).ask(picture, "Is it dark?", evidence=False))
    assert seen == [(480, 960)]  # 2:1
    assert heat.weights.shape == (5, 30)
    assert heat.share_in((160, 0, 192, 160), 960, 160) == pytest.approx(1.0)


def test_the_drawing_is_bright_where_the_model_looked() -> None:
    weights = np.zeros((15, 20))
    weights[7, 5] = 1.0
    drawn = np.asarray(draw_heat(PICTURE, HeatMap(weights, "Where is it?", "There")), np.float64)
    assert drawn.shape[0] > 480 and drawn.shape[1] == 640  # the question stands below
    assert drawn[240, 176].mean() > 2 * drawn[240, 560].mean()


def test_a_server_has_none() -> None:
    backend = FakeBackend({"": "Yes"})
    answer = Deixis(backend).ask(PICTURE, "Is it dark?", evidence=False)
    with pytest.raises(OptionError, match="gives no attention weights"):
        explain(backend, PICTURE, answer)


def test_the_command_saves_a_heat_map(tmp_path: Path) -> None:
    target = tmp_path / "heat.png"
    asked = ["ask", str(EXAMPLE), "Is the blue cup left of the router?", "--model", "nano", "--json", "--explain"]
    assert run([*asked, str(target)]) == 0
    with Image.open(target) as image:
        assert image.size[0] == 640
    assert run([*asked, str(tmp_path / "heat.txt")]) == 2
    server = [*asked[:4], "http://127.0.0.1:9/v1#x", "--explain", str(tmp_path / "none.png")]
    assert run(server) == 2
    assert not (tmp_path / "none.png").exists()


def test_nano_looks_at_what_it_is_asked_about() -> None:
    session = Deixis("nano")
    assert isinstance(session.backend, Looking)
    times = []
    for index in range(6):
        made = example("desk", 810_301, index, SIZE)
        picture = load_picture(made.pixels)
        objects = {thing["id"]: thing for thing in made.truth["objects"]}
        question = next(q for q in made.questions if q.kind == "locate_one" and q.language == "en" and q.target["objects"])
        x1, y1, x2, y2 = objects[question.target["objects"][0]]["box_px"]
        heat = explain(session.backend, picture, session.locate(picture, question.question))
        times.append(heat.share_in((x1, y1, x2, y2), *SIZE) * SIZE[0] * SIZE[1] / ((x2 - x1) * (y2 - y1)))
    assert np.median(times) > TIMES
