"""From where the camera looks: from above, obliquely or at eye level, and by how many degrees it is tilted down."""

from collections.abc import Mapping

from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.picture import Picture, as_typed, pick
from deixis.lab.questions.question import Question, degrees, written
from deixis.spatial.language.prompts import Language

# Degrees of pitch (0 level, 90 straight down). Between the bands two names would do, so nothing is asked there.
TOP_DOWN_FROM_DEG = 58.0
OBLIQUE_DEG = (18.0, 52.0)
EYE_LEVEL_TO_DEG = 12.0
# A camera that looks up by more than this has no "tilt down".
LOOKS_UP_DEG = -0.5

VIEWPOINT: Phrasings = {
    "en": (
        "From which viewpoint was this picture taken: top-down, oblique or eye-level?",
        "Is this a top-down, an oblique or an eye-level view?",
        "What is the camera's viewpoint, top-down, oblique or eye-level?",
        "What kind of view is this: eye-level, oblique or top-down?",
        "How does the camera look at the scene: eye-level, oblique or top-down?",
        "Is the camera's view eye-level, oblique or top-down?",
        "What is the viewpoint of this picture?",
        "From what viewpoint do we see the scene?",
    ),
    "zh": (
        "这张图是俯视、斜视还是平视？",
        "拍摄视角是平视、斜视还是俯视？",
        "相机的视角是哪一种：俯视、斜视、平视？",
        "画面是从什么视角拍的，俯视、斜视还是平视？",
        "这是平视图、斜视图还是俯视图？",
        "镜头是俯视、斜视还是平视？",
        "这张图的拍摄视角是什么？",
        "相机是从什么视角拍的？",
    ),
}
TILT: Phrasings = {
    "en": (
        "By how many degrees is the camera tilted down?",
        "What is the camera's tilt in degrees?",
        "How many degrees below the horizontal does the camera look?",
        "What is the pitch angle of the camera?",
        "At what angle does the camera look down?",
        "How steeply does the camera look down, in degrees?",
        "What is the downward tilt of the view, in degrees?",
    ),
    "zh": (
        "相机向下倾斜了多少度？",
        "相机的俯角是多少度？",
        "镜头朝下多少度？",
        "拍摄的俯角是多少？",
        "相机的俯仰角是多少度？",
        "镜头与水平方向的夹角是多少度？",
        "画面向下看的角度是多少？",
    ),
}


def view_of(pitch_deg: float) -> str | None:
    """The viewpoint's English name; None where two names would do."""
    if pitch_deg >= TOP_DOWN_FROM_DEG:
        return "top-down"
    if OBLIQUE_DEG[0] <= pitch_deg <= OBLIQUE_DEG[1]:
        return "oblique"
    return "eye-level" if pitch_deg <= EYE_LEVEL_TO_DEG else None


def viewpoint(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The name of the view, where only one fits."""
    name = view_of(float(picture.truth["pose"]["pitch_deg"]))
    if name is None:
        return None
    text = as_typed(pick(VIEWPOINT[language], rng), rng)
    answer = name if language == "en" else words.VIEWPOINTS[name]
    return written("viewpoint", language, "ask", text, answer, [], {"viewpoint": name, "objects": []})


def tilt(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The pitch in whole degrees."""
    pitch_deg = float(picture.truth["pose"]["pitch_deg"])
    if pitch_deg < LOOKS_UP_DEG:
        return None
    whole = max(round(pitch_deg), 0)
    text = as_typed(pick(TILT[language], rng), rng)
    return written(
        "tilt", language, "ask", text, degrees(whole, language), [], {"degrees": whole, "pitch_deg": pitch_deg, "objects": []}
    )


KINDS: Mapping[str, Kind] = {
    "viewpoint": Kind(viewpoint, VIEWPOINT),
    "tilt": Kind(tilt, TILT),
}
