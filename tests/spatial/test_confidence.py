"""Token probabilities to scores and intervals."""

from __future__ import annotations

import math

import pytest

from deixis.backends import Completion, TokenProb, completion_of
from deixis.spatial.checking.confidence import (
    mean_probability,
    near_probability,
    number_interval,
    odds_between,
    span_probability,
    word_masses,
    yes_no_probability,
)

Top = dict[str, float]


def completion(*tokens: tuple[str, float, Top]) -> Completion:
    """Tokens with their probability and their alternatives'."""
    made = tuple(TokenProb(text, math.log(p), tuple((other, math.log(q)) for other, q in top.items())) for text, p, top in tokens)
    return Completion("".join(token.text for token in made), made)


def test_probabilities_of_spans() -> None:
    reply = completion_of("is 42", probability=0.5)
    assert span_probability(reply, (3, 5)) == pytest.approx(0.25)
    assert mean_probability(reply, [(3, 5), (0, 2)]) == pytest.approx(0.5)
    assert span_probability(Completion("42"), (0, 2)) is None
    assert mean_probability(Completion("42"), [(0, 2)]) is None


def test_yes_against_no() -> None:
    reply = completion(("Yes", 0.6, {"Yes": 0.6, " no": 0.15, "red": 0.2, "yes": 0.05}))
    assert yes_no_probability(reply, (0, 3), "yes") == pytest.approx(0.65 / 0.8)
    assert yes_no_probability(reply, (0, 3), "no") == pytest.approx(0.15 / 0.8)
    zh = completion(("是", 0.9, {"是": 0.9, "否": 0.1}))
    assert yes_no_probability(zh, (0, 1), "yes") == pytest.approx(0.9)
    assert yes_no_probability(completion_of("Yes", probability=0.7), (0, 3), "yes") == pytest.approx(0.7)
    assert yes_no_probability(Completion("Yes"), (0, 3), "yes") is None


def test_interval_of_a_sure_number() -> None:
    sure = completion(("4", 1.0, {"4": 1.0}), ("2", 1.0, {"2": 1.0}))
    low, high = number_interval(sure, (0, 2)) or (0, 0)
    assert 41.5 <= low < 42 < high <= 42.5


def test_interval_spreads_over_the_last_digit() -> None:
    even: Top = {str(digit): 0.1 for digit in range(10)}
    reply = completion(("4", 1.0, {"4": 1.0}), ("2", 0.1, even))
    assert number_interval(reply, (0, 2), 0.9) == pytest.approx((40.0, 49.0))


def test_interval_across_a_border_stays_near() -> None:
    # 299 or 300: the model wavers at the first digit, and means neighbours.
    reply = completion(("3", 0.6, {"3": 0.6, "2": 0.4}), ("0", 1.0, {"0": 1.0}), ("0", 1.0, {"0": 1.0}))
    low, high = number_interval(reply, (0, 3)) or (0, 0)
    assert 289 < low < 299.5
    assert high == pytest.approx(300.5, abs=0.2)


def test_interval_needs_digit_tokens_with_alternatives() -> None:
    assert number_interval(completion_of("42"), (0, 2)) is None
    assert number_interval(completion(("42", 1.0, {"42": 1.0})), (0, 2)) is None
    assert number_interval(completion(("x", 1.0, {"x": 1.0})), (0, 1)) is None
    assert number_interval(Completion("42"), (0, 2)) is None


def test_interval_covers_as_much_as_it_says() -> None:
    # P(2)=.5 P(3)=.3 P(4)=.2 for the last digit: 90% lies within [1.5, 4.5] less 5% at each end.
    reply = completion(("2", 0.5, {"2": 0.5, "3": 0.3, "4": 0.2}))
    low, high = number_interval(reply, (0, 1), 0.9) or (0, 0)
    assert low == pytest.approx(1.6)
    assert high == pytest.approx(4.25)


NEAR = [
    ({"within": 0}, 0.5),
    ({"within": 0.01}, 0.9),  # 1.12 and 1.13
    ({"share": 0.03}, 0.95),  # and 1.09, the edge of what begins with 1.0
    ({"within": 9}, 1.0),
]


@pytest.mark.parametrize(("near", "expected"), NEAR)
def test_near_a_decimal(near: dict[str, float], expected: float) -> None:
    reply = completion(
        ("about ", 1.0, {}), ("1", 1.0, {"1": 1.0}), (".", 1.0, {}), ("1", 0.95, {"1": 0.95, "0": 0.05}),
        ("2", 0.5 / 0.95, {"2": 0.5 / 0.95, "3": 0.4 / 0.95, "9": 0.05 / 0.95}), (" m", 1.0, {}),
    )  # fmt: skip
    assert near_probability(reply, (6, 10), **near) == pytest.approx(expected, abs=0.006)


def test_near_needs_digit_tokens_with_alternatives() -> None:
    assert near_probability(completion_of("0.85 m"), (0, 4), share=0.1) is None
    assert near_probability(completion(("1.1", 1.0, {"1.1": 1.0})), (0, 3), share=0.1) is None
    assert near_probability(Completion("1.1"), (0, 3), share=0.1) is None


def test_masses_of_the_deciding_token() -> None:
    reply = completion(("**", 1.0, {"**": 1.0}), ("Yes", 0.6, {"Yes": 0.6, " no": 0.15, "absent": 0.2, "yes": 0.05}))
    assert word_masses(reply) == pytest.approx({"yes": 0.65, "no": 0.15, "absent": 0.2})
    assert word_masses(completion(("是", 0.9, {"是": 0.9, "没有": 0.1})))["absent"] == pytest.approx(0.1)
    # Without alternatives, what the word leaves is shared; without probabilities nothing is known but the word.
    assert word_masses(completion_of("No", probability=0.8)) == pytest.approx({"yes": 0.1, "no": 0.8, "absent": 0.1})
    assert word_masses(Completion("No.")) == pytest.approx({"yes": 0.25, "no": 0.5, "absent": 0.25})
    assert word_masses(Completion("")) == word_masses(Completion("red cup"))
    assert word_masses(Completion("red cup"))["yes"] == word_masses(Completion("red cup"))["no"]


ODDS = [
    ("red cup", "blue cup", math.log(0.6 / 0.3)),
    ("blue cup", "red cup", -math.log(0.6 / 0.3)),
    ("red cup", "red book", math.log(0.8 / 0.2)),  # they part at the second token
    ("red cup", "green cup", math.log(0.6 / 0.3)),  # not among the likeliest: no likelier than the least of them
    ("blue cup", "green cup", 0.0),  # neither was said
    ("the red cup", "the blue cup", math.log(0.6 / 0.3)),
]


@pytest.mark.parametrize(("a", "b", "odds"), ODDS)
def test_odds_between_labels(a: str, b: str, odds: float) -> None:
    said = [("red", 0.6, {"red": 0.6, "blue": 0.3}), (" cup", 0.8, {" cup": 0.8, " book": 0.2})]
    reply = completion(("the ", 1.0, {}), *said) if a.startswith("the") else completion(*said)
    assert odds_between(reply, a, b) == pytest.approx(odds)
