"""From token probabilities to scores, intervals and log-odds. Not calibrated: these are the model's own probabilities.

Knows tokens and spans of text. Does not know pictures or relations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from deixis.backends import Completion, TokenProb, tokens_under
from deixis.spatial.answer import Interval

Span = tuple[int, int]

_YES = frozenset({"yes", "yeah", "true", "correct", "是", "有", "对", "能", "会", "在"})
_NO = frozenset({"no", "not", "none", "false", "absent", "nope", "否", "不", "没", "没有", "不是", "无"})

_ABSENT = frozenset({"absent", "none", "没有", "没", "无"})
_UNSEEN = 1e-5  # of a word that is not among the likeliest


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


def word_masses(completion: Completion) -> dict[Literal["yes", "no", "absent"], float]:
    """The probabilities of yes, no and absent at the token that decides; without alternatives, what is left is shared."""
    masses: dict[Literal["yes", "no", "absent"], float] = {"yes": 0.0, "no": 0.0, "absent": 0.0}
    tokens = [token for token in completion.tokens if _word_of(token.text)] or list(completion.tokens[:1])
    if not tokens:
        tokens = [TokenProb(completion.text.split()[0].strip(".,。，") if completion.text.split() else "", math.log(0.5))]
    token = tokens[0]
    for text, logprob in token.top or ((token.text, token.logprob),):
        if word := _word_of(text):
            masses[word] += math.exp(min(logprob, 0.0))
    if not token.top:
        left = (1 - math.exp(min(token.logprob, 0.0))) / 2
        masses = {word: mass or left for word, mass in masses.items()}
    return {word: max(mass, _UNSEEN) for word, mass in masses.items()}


def odds_between(completion: Completion, a: str, b: str) -> float:
    """The log-odds of answering `a` rather than `b`, at the token where they part; 0 where neither was said."""
    text = completion.text.strip()
    for said, other, sign in ((a, b, 1.0), (b, a, -1.0)):
        if _spoken(text) != _spoken(said):
            continue
        at = 0
        for token in completion.tokens:
            rest = other[at:] if other.startswith(text[:at]) else ""
            at += len(token.text)
            if not rest.startswith(token.text):
                alternatives = [logprob for piece, logprob in token.top if piece and rest.startswith(piece)]
                rest_of_it = math.log(max(1 - math.exp(min(token.logprob, 0.0)), _UNSEEN))
                least = min((logprob for _, logprob in token.top), default=rest_of_it)
                return sign * (token.logprob - max(alternatives, default=least))
        return 0.0
    return 0.0


def _word_of(text: str) -> Literal["yes", "no", "absent"] | None:
    word = text.strip().lower()
    if word in _ABSENT or (len(word) > 2 and "absent".startswith(word)):
        return "absent"
    return "yes" if word in _YES else "no" if word in _NO else None


def _spoken(label: str) -> str:
    """A label without what answers and questions may add to it."""
    return label.lower().replace("的", "").strip(" .。").removeprefix("the ")
