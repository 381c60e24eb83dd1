"""From token probabilities to scores, intervals and a confidence. Not calibrated: these are the model's own probabilities.

Knows tokens and spans of text. Does not know pictures or relations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from deixis.backends import Completion, TokenProb, tokens_under
from deixis.spatial.answer import Claim, Interval

Span = tuple[int, int]

_YES = frozenset({"yes", "yeah", "true", "correct", "是", "有", "对", "能", "会", "在"})
_NO = frozenset({"no", "not", "none", "false", "absent", "nope", "否", "不", "没", "没有", "不是", "无"})

# The rule is crude on purpose until it is calibrated: geometry that contradicts the model halves its probability, geometry that
# cannot tell takes a tenth.
DISAGREES, UNDECIDED = 0.5, 0.9


def span_probability(completion: Completion, span: Span) -> float | None:
    """The joint probability of the tokens under text[start:end]; None where the model gives none."""
    tokens = tokens_under(completion.tokens, span)
    return math.exp(min(sum(token.logprob for token in tokens), 0.0)) if tokens else None


def yes_no_probability(completion: Completion, span: Span, said: Literal["yes", "no"]) -> float | None:
    """P(said) over P(yes) + P(no) at the deciding token, from its alternatives; the token's own probability without them."""
    tokens = tokens_under(completion.tokens, span)
    if not tokens:
        return None
    masses = {"yes": 0.0, "no": 0.0}
    for text, logprob in tokens[0].top:
        word = text.strip().lower()
        if word in _YES:
            masses["yes"] += math.exp(logprob)
        elif word in _NO:
            masses["no"] += math.exp(logprob)
    total = masses["yes"] + masses["no"]
    return masses[said] / total if masses[said] > 0 else span_probability(completion, span)


def mean_probability(completion: Completion, spans: Sequence[Span]) -> float | None:
    """The mean probability of the tokens under several spans: an object's score from the digits of its box."""
    tokens = [token for span in spans for token in tokens_under(completion.tokens, span)]
    return sum(math.exp(min(token.logprob, 0.0)) for token in tokens) / len(tokens) if tokens else None


def number_interval(completion: Completion, span: Span, mass: float = 0.9) -> Interval | None:
    """Where `mass` of the probability of a whole number lies, from its digits' alternatives; None without alternatives."""
    pieces = _pieces(tokens_under(completion.tokens, span))
    return None if pieces is None else (_quantile(pieces, (1 - mass) / 2), _quantile(pieces, (1 + mass) / 2))


def near_probability(completion: Completion, span: Span, *, share: float = 0.0, within: float = 0.0) -> float | None:
    """The probability that a number, whole or decimal, lies near the written one: within a share of it, or a difference.

    From its digits' alternatives, the decimal point taken for certain; None without alternatives.
    """
    tokens = tokens_under(completion.tokens, span)
    points = [i for i, token in enumerate(tokens) if token.text == "."]
    digits = [token for token in tokens if token.text != "."]
    pieces = _pieces(digits)
    if pieces is None or len(points) > 1:
        return None
    unit = 10 ** (len(tokens) - 1 - points[0]) if points else 1
    written = int("".join(token.text for token in digits))
    reach = share * written + within * unit
    low, high = written - reach - 0.5, written + reach + 0.5
    inside = sum(mass * max(0.0, min(end, high) - max(start, low)) / (end - start) for start, end, mass in pieces)
    return min(inside / sum(mass for _, _, mass in pieces), 1.0)


def _pieces(tokens: Sequence[TokenProb]) -> list[tuple[float, float, float]] | None:
    """Where the probability of a whole number lies: sorted (low, high, mass), half-open: n covers [n - ½, n + ½).

    A number of n digit tokens is a chain: at each place the written digit goes on, another digit leaves for its own block of
    10^places numbers. How the mass spreads in such a block is not known, since the model never wrote it; it is laid on the
    tenth of the block that faces the written number, because a model that wavers between 299 and 300 means neighbours. Only
    numbers of the written length are counted.
    """
    digits = "".join(token.text for token in tokens).strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) != len(tokens) or not all(token.top for token in tokens):
        return None
    written = int(digits)
    pieces: list[tuple[float, float, float]] = []
    alive, prefix = 1.0, 0
    for i, token in enumerate(tokens):
        block = 10 ** (len(tokens) - 1 - i)
        own = int(token.text)
        weights = {int(text): math.exp(lp) for text, lp in token.top if len(text) == 1 and text.isascii() and text.isdigit()}
        weights[own] = math.exp(min(token.logprob, 0.0))
        total = sum(weights.values())
        for digit, weight in weights.items():
            if digit != own and total > 0:
                low = (prefix + digit) * block - 0.5
                edge = max(block / 10, 1.0)
                start = low + block - edge if digit < own else low
                pieces.append((start, start + edge, alive * weight / total))
        alive *= weights[own] / total if total > 0 else 1.0
        prefix = (prefix + own) * 10
    pieces.append((written - 0.5, written + 0.5, alive))
    return sorted(pieces)


def _quantile(pieces: Sequence[tuple[float, float, float]], share: float) -> float:
    """The point below which `share` of the mass lies; pieces are uniform, sorted and do not overlap."""
    target = share * sum(mass for _, _, mass in pieces)
    for low, high, mass in pieces:
        if mass > 0 and target <= mass:
            return low + (high - low) * target / mass
        target -= mass
    return pieces[-1][1]


def after_checking(probability: float | None, claims: Sequence[Claim]) -> float:
    """The confidence of an answer: its tokens' probability, times 0.5 if a claim is contradicted, or 0.9 if one is undecided.

    Without token probabilities the model's own part is taken as 0.5: nothing is known of it.
    """
    confidence = 0.5 if probability is None else probability
    if any(claim.agrees is False for claim in claims):
        return confidence * DISAGREES
    if any(claim.agrees is None for claim in claims):
        return confidence * UNDECIDED
    return confidence
