"""The prompts are a contract with the trained checkpoint: every word is fixed here once more."""

import pytest

from deixis.errors import QuestionError
from deixis.spatial.language import prompts

EXACT = {
    ("ask", "en"): "X\nAnswer with a word, a number or a short phrase.",
    ("ask", "zh"): "X\n请用一个词、一个数或短语回答。",
    ("locate", "en"): "Locate every instance of: X. Report bbox coordinates in JSON format.",
    ("locate", "zh"): "在图中找出所有的X,以JSON格式输出bbox坐标。",
    ("point", "en"): "Point to every instance of: X. Report point coordinates in JSON format.",
    ("point", "zh"): "指出图中所有的X,以JSON格式输出点坐标。",
    ("locate_3d", "en"): "Locate every instance of: X. Report 3D bounding boxes in JSON format.",
    ("locate_3d", "zh"): "在图中找出所有的X,以JSON格式输出3D边界框。",
    ("evidence", "en"): "X\nLocate every object that this question names. Report bbox coordinates in JSON format.",
    ("evidence", "zh"): "X\n找出这个问题提到的每个物体,以JSON格式输出bbox坐标。",
    ("evidence_3d", "en"): "X\nLocate every object that this question names. Report 3D bounding boxes in JSON format.",
    ("evidence_3d", "zh"): "X\n找出这个问题提到的每个物体,以JSON格式输出3D边界框。",
}


@pytest.mark.parametrize(("kind", "language"), EXACT)
def test_every_prompt_is_word_for_word_what_nano_was_trained_on(kind, language):
    assert prompts.PROMPTS[kind]("X", language) == EXACT[kind, language]
    assert getattr(prompts, kind) is prompts.PROMPTS[kind]


def test_the_table_has_every_prompt_and_language():
    assert {(kind, language) for kind in prompts.PROMPTS for language in prompts.LANGUAGES} == set(EXACT)


@pytest.mark.parametrize("kind", prompts.PROMPTS)
def test_braces_in_a_users_text_stay_as_they_are(kind):
    assert "{x} {0}" in prompts.PROMPTS[kind]("{x} {0}", "en")


@pytest.mark.parametrize("kind", prompts.PROMPTS)
def test_an_unknown_language_is_refused(kind):
    with pytest.raises(QuestionError, match="'fr', expected 'en' or 'zh'"):
        prompts.PROMPTS[kind]("X", "fr")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Is the cup left of the book?", "en"),
        ("杯子在哪里？", "zh"),
        ("Where is the 杯子?", "zh"),
        ("U盘", "zh"),
        ("", "en"),
        ("123 ?!", "en"),
        ("？，。", "en"),
        ("Où est la tasse ?", "en"),
        ("㐀", "zh"),
        ("𠀀", "zh"),
        ("カップ", "en"),
    ],
)
def test_guess_language(text, language):
    assert prompts.guess_language(text) == language
