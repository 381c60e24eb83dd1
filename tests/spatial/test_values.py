"""Short answers, in both languages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.spatial.language.prompts import Language
from deixis.spatial.language.values import ValueKind, parse_value

KINDS: list[tuple[str, Language, ValueKind]] = [
    ("Yes", "en", "yes"),
    ("yes.", "en", "yes"),
    ("Yes, the mouse is to the left of the keyboard.", "en", "yes"),
    ("**Yes**", "en", "yes"),
    ("Answer: yes", "en", "yes"),
    ("It is.", "en", "yes"),
    ("True", "en", "yes"),
    ("No", "en", "no"),
    ("No, it is not.", "en", "no"),
    ("It is not.", "en", "no"),
    ("Not really", "en", "no"),
    ("absent", "en", "absent"),
    ("None", "en", "absent"),
    ("There is no red cup in the picture.", "en", "absent"),
    ("Not visible", "en", "absent"),
    ("I can't tell", "en", "unsure"),
    ("I'm not sure.", "en", "unsure"),
    ("", "en", "unsure"),
    ("...", "en", "unsure"),
    ("red cup", "en", "label"),
    ("nothing", "en", "absent"),
    ("nose", "en", "label"),
    ("yesterday", "en", "label"),
    ("C. window", "en", "label"),
    ("Correct answer: **B. Blue.**", "en", "label"),
    ("oblique", "en", "label"),
    ("usb stick", "en", "label"),
    ("3", "en", "number"),
    ("There are three cups", "en", "label"),
    ("是", "zh", "yes"),
    ("是的", "zh", "yes"),
    ("是的,鼠标在键盘左边。", "zh", "yes"),
    ("对", "zh", "yes"),
    ("有", "zh", "yes"),
    ("是在左边", "zh", "yes"),
    ("否", "zh", "no"),
    ("不是", "zh", "no"),
    ("不在", "zh", "no"),
    ("不", "zh", "no"),
    ("没有", "zh", "absent"),
    ("没有找到", "zh", "absent"),
    ("没有被遮挡", "zh", "no"),
    ("无", "zh", "absent"),
    ("不确定", "zh", "unsure"),
    ("看不清", "zh", "unsure"),
    ("红色杯子", "zh", "label"),
    ("俯视", "zh", "label"),
    ("Yes", "zh", "yes"),
    ("是的", "en", "yes"),
]


@pytest.mark.parametrize(("text", "language", "kind"), KINDS)
def test_kind(text: str, language: Language, kind: ValueKind) -> None:
    assert parse_value(text, language).kind == kind


NUMBERS: list[tuple[str, Language, float, str]] = [
    ("0.85 m", "en", 0.85, "m"),
    ("about 85 cm", "en", 0.85, "m"),
    ("0.85米", "zh", 0.85, "m"),
    ("约85厘米", "zh", 0.85, "m"),
    ("60%", "en", 60, "%"),
    ("35 degrees", "en", 35, "deg"),
    ("35度", "zh", 35, "deg"),
    ("3 markers", "en", 3, ""),
    ("three", "en", 3, ""),
    ("三个", "zh", 3, ""),
    ("十二", "zh", 12, ""),
    ("一共有两只", "zh", 2, ""),
    ("0", "en", 0, ""),
    ("-1.5 m", "en", -1.5, "m"),
]


@pytest.mark.parametrize(("text", "language", "number", "unit"), NUMBERS)
def test_number(text: str, language: Language, number: float, unit: str) -> None:
    value = parse_value(text, language)
    assert (value.kind, value.unit) == ("number", unit)
    assert value.number == pytest.approx(number)


def test_number_anywhere_when_wanted() -> None:
    value = parse_value("There are three cups on the table.", "en", wants="number")
    assert (value.kind, value.number) == ("number", 3)
    assert parse_value("The cup stands 0.85 meters away", "en", wants="number").number == pytest.approx(0.85)
    assert parse_value("图中有三个杯子", "zh", wants="number").number == 3
    assert parse_value("none", "en", wants="number").kind == "absent"


def test_span_is_the_deciding_word() -> None:
    text = "Answer: Yes, it is."
    start, end = parse_value(text, "en").span
    assert text[start:end] == "Yes"
    text = "about 0.85 m"
    start, end = parse_value(text, "en").span
    assert text[start:end] == "0.85"


def test_option_letter() -> None:
    value = parse_value("Correct answer: **B. Blue.**", "en")
    assert (value.option, value.label) == ("B", "Blue")


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("yesno 0123456789.m米是否没有三十%度*:ABCabc,。\n-+e"), max_size=40),
    st.sampled_from(["en", "zh"]),
)
def test_never_raises(text: str, language: Language) -> None:
    for wants in ("any", "number"):
        value = parse_value(text, language, wants=wants)  # type: ignore[arg-type]
        assert 0 <= value.span[0] <= value.span[1] <= len(text)
