"""Which questions the ledger reads: their words in English and Chinese, and the names, times and verbs that they hold.

Knows patterns. Does not know answers. Groups: a and b are names, t and u seconds, edge the start or the end, verb what happens,
rel before or after. A group may stand several times in a pattern, with underscores behind its name.
"""

from __future__ import annotations

import re
from typing import Literal

from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import words
from deixis.spatial.video.detection import EventKind

Kind = Literal[
    "last_seen", "where_then", "where", "hidden_things", "who_hides", "how_long_hidden", "state", "first_or_last", "order",
    "moved", "met", "cause", "how_often", "moment", "did", "what_happened", "count_over_time", "count", "listed",
]  # fmt: skip

ANYTHING: dict[Language, str] = {"en": r"(?:different )?(?:thing|object|item)s?", "zh": r"(?:样|个|种)?(?:物体|东西|物品|物件)"}
NOWHERE: dict[Language, str] = {  # no other thing: none is named, or the place
    "en": r"(?:view|sight|video|picture|frame|scene|table|desk|room|air|ground|floor)?",
    "zh": r"(?:画面|视频|桌子?|房间|地面?)?",
}
# What holds such words is no name, but a question that was not understood.
NO_NAME: dict[Language, str] = {
    "en": r"\b(?:before|after|when|while|and|or|that|which|who|what|if|it|they|order|at|times?|over|number|happen\w*|between)\b",
    "zh": r"[吗谁吧几次]|什么|多少|时候|之后|之前|以前|以后|怎么|顺序|发生|动过|变化|[秒]",
}
START = ("start", "beginning", "开始时", "开头")

VERBS: tuple[tuple[str, str, tuple[EventKind, ...]], ...] = (
    (r"fall|drop|fell|falls|drops|falling", r"掉|落|跌|摔", ("falls",)),
    (
        r"start\w* (?:to )?mov\w*|begin\w* (?:to )?mov\w*|mov(?:e|es|ed|ing)|roll\w*|slid\w*",
        r"开始(?:移|运)?动|移动|滚|滑|动",
        ("moves",),
    ),
    (r"stop\w*|come\w* to rest|halt\w*", r"停", ("stops",)),
    (r"hidden|hides|hid|cover\w*|occlude\w*|disappear\w*|go\w* behind", r"[挡遮盖藏]|消失", ("is_hidden",)),
    (r"reveal\w*|reappear\w*|uncover\w*|come\w* (?:out|back)", r"露出|重新出现|再次出现", ("is_revealed", "appears")),
    (r"taken (?:out|away)|remov\w*|tak\w* away", r"拿走|取走|移走|拿出", ("is_taken_out", "leaves")),
    (r"put (?:in|back|down)|added|placed", r"放[进入回下]", ("is_put_in",)),
    (r"leav\w*|left (?:the )?(?:view|frame|picture)|exit\w*|go\w* out", r"离开", ("leaves",)),
    (r"appear\w*|enter\w*|com\w* into", r"出现|进入", ("appears", "is_put_in")),
    (r"hit\w*|collid\w*|bump\w*|touch\w*", r"撞|碰", ("hits",)),
    (r"carri\w*|carry\w*", r"带走|带着|搬", ("carried_by",)),
    (r"swap\w*|exchang\w*|switch\w*", r"交换|互换|调换", ("swapped",)),
)

_A, _B = r"(?:the |a |an |any |my |some )?(?P<a>[\w' -]{1,60}?)", r"(?:the |a |an )?(?P<b>[\w' -]{1,60}?)"
_ZA, _ZB = r"(?P<a>[^,?.在了最是被]{1,20}?)", r"(?P<b>[^,?.在了最]{1,20}?)"
_T_EN = r"(?P<t>\d{1,6}(?:\.\d{1,6})?)\s*(?:seconds|second|sec|s)?"
_EDGE_EN = r"(?:at|in) (?:the )?(?:very )?(?P<edge>start|beginning|end)(?: of (?:the )?(?:video|clip))?"
_THEN_EN = rf"(?:\s*(?:(?:at|after|@|in second|when t ?=)?\s*(?:second |time |t ?= ?)?{_T_EN}|{_EDGE_EN}))"
_AT_EN = rf"{_THEN_EN}?"
_T_ZH = r"第?(?P<t>\d{1,6}(?:\.\d{1,6})?)(?:s|秒)?钟?"
_AT_ZH = rf"(?:在?(?:{_T_ZH}|(?:视频)?的?(?P<edge>开始时|开头|结尾|结束时))(?:的?时候?|时刻)?,?)?"
_SCENE_EN = r"(?: (?:in|on|of) (?:the )?(?:video|clip|picture|image|frame|scene|view|room|table|desk))?"
_SCENE_ZH = r"(?:(?:视频|画面|图|图片|桌子?|场景)(?:[里中上]面?)?)?"
_END = r"\s*[?.!]*\s*$"
_VERBS_EN, _VERBS_ZH = ("|".join(one) for one in zip(*((en, zh) for en, zh, _ in VERBS), strict=True))
_VERB_EN = rf"(?P<verb>(?:is |was |gets? |get |got |be |being |are |been )?(?:{_VERBS_EN})\b[\w ]*?)"
_VERB_ZH = rf"(?P<verb>(?:被[^,?.]{{0,8}}?|开始|(?:从|向|往)[^,?.]{{1,6}}?)?(?:{_VERBS_ZH})[^,?.]{{0,6}}?)"
_BY_EN = rf"(?: (?:by|with|the|behind|under|into) {_B})?"
_WHEN_ZH = r"(?:什么时候|何时|第?几秒)"
_WHERE_ZH = r"(?:哪里|哪儿|什么地方|什么位置|哪|何处)"
_HIDE_ZH = r"(?:挡住|遮住|盖住|遮挡|藏|挡|遮|盖)"
_MOVE_ZH = r"(?:开始)?(?:移动|运动|滚动|动起来|动|掉落)?(?:的|了)*"
_HAPPENED_ZH = r"发生(?:了|过)?(?:什么|哪些)(?:事情|事件|事)?"
_REL_ZH = r"(?P<rel>之前|以前|前|之后|以后|后)"


def _any(*patterns: str) -> str:
    """One of them; groups of the same name in several get as many underscores as keep them apart."""
    apart = (re.sub(r"\(\?P<(\w+)>", rf"(?P<\g<1>{'_' * 4 * k}>", pattern) for k, pattern in enumerate(patterns))
    return "|".join(apart)


def _again(pattern: str, name: str, times: int = 1) -> str:
    """A pattern in which a group stands for a second time (or a later one)."""
    return pattern.replace(f"(?P<{name}>", f"(?P<{name}{'_' * times}>")


def _later_at_zh(times: int) -> str:
    return _again(_again(_AT_ZH, "t", times), "edge", times)


# The first that fits is answered.
_TABLE: tuple[tuple[Kind, str, str], ...] = (
    (
        "last_seen",
        _any(
            rf"^(?:when|where|at what time) (?:was|were|is) {_A} (?:last (?:seen|visible)|seen (?:last|for the last time)){_END}",
            rf"^(?:when|where) did (?:you|we|i) last see {_A}{_END}",
            rf"^(?:what|where) (?:is|was) the last (?:place|time|moment) (?:that |where |when )?{_A} (?:was|were) "
            rf"(?:seen|visible)(?: in| at)?{_END}",
        ),
        _any(
            rf"^(?:{_WHEN_ZH}|在?{_WHERE_ZH})?最后(?:一次)?(?:在{_WHERE_ZH})?(?:看到|看见|见到){_ZA}(?:是)?(?:在)?"
            rf"(?:{_WHEN_ZH}|{_WHERE_ZH})?(?:的)?{_END}",
            rf"^{_ZA}(?:是)?(?:{_WHEN_ZH})?最后(?:一次)?(?:是)?(?:在)?(?:{_WHEN_ZH})?(?:被)?(?:看到|看见|出现|见到)(?:的)?{_END}",
        ),
    ),
    (
        "where_then",
        rf"^where (?:is|are|was|were) {_A} (?P<rel>before|after) (?:it |they |that )?{_VERB_EN}{_BY_EN}{_END}",
        rf"^{_ZA}{_VERB_ZH}{_REL_ZH}(?:是)?在{_WHERE_ZH}{_END}",
    ),
    (
        "where",
        rf"^(?:where|in (?:what|which) place) (?:is|are|was|were|did) {_A}"
        rf"(?: (?:be|now|right now|at the moment|at present|currently|go))?{_AT_EN}{_END}",
        rf"^{_AT_ZH}(?:现在|目前|此刻|这时)?{_ZA}(?:现在|目前|此刻)?(?:是)?{_later_at_zh(1)}(?:在|去了?|到了?){_later_at_zh(2)}"
        rf"{_WHERE_ZH}(?:了)?{_END}",
    ),
    (
        "listed",
        _any(
            rf"^(?:what|which) (?:objects|things|items) (?:are|were|can be seen|can you see|do you see|appear|exist)"
            rf"(?: there| visible)?{_SCENE_EN}{_AT_EN}{_END}",
            rf"^what can (?:be seen|you see){_SCENE_EN}{_AT_EN}{_END}",
            rf"^(?:list|name) (?:all )?(?:of )?(?:the )?(?:objects|things|items){_SCENE_EN}{_AT_EN}{_END}",
            rf"^what (?:is|are|was|were){_SCENE_EN.removesuffix('?')}{_AT_EN}{_END}",
        ),
        _any(
            rf"^{_AT_ZH}{_SCENE_ZH}(?:一共|都)?(?:有|能看到|看到|可以看到)了?(?:什么|哪些)(?:物体|东西|物品)?{_END}",
            rf"^(?:请)?列出(?:所有)?(?:{_SCENE_ZH}的?)?(?:所有)?的?(?:物体|东西|物品){_END}",
        ),
    ),
    (
        "hidden_things",
        _any(
            rf"^what (?:did|does|is|was|do) {_A} (?:hide|hiding|cover|covering|occlude|occluding|conceal)\w*{_AT_EN}{_END}",
            rf"^what (?:is|was) (?:hidden|covered|occluded) (?:by|behind|under) {_A}(?: now)?{_AT_EN}{_END}",
            rf"^what (?:is|was|are|were) (?:there )?(?:under|underneath|beneath|below|behind|inside|in) {_A}(?: now)?"
            rf"{_AT_EN}{_END}",
        ),
        _any(
            rf"^{_AT_ZH}{_ZA}{_later_at_zh(1)}{_HIDE_ZH}(?:了|着|的)?(?:是)?(?:什么|哪些?)(?:东西)?{_END}",
            rf"^{_AT_ZH}{_ZA}{_later_at_zh(1)}的?(?:下面|后面|里面|底下|背后|下边|后边)(?:现在)?(?:有|是|藏着)(?:什么|哪些?)(?:东西)?{_END}",
        ),
    ),
    (
        "who_hides",
        rf"^(?:what|who|which \w+) (?:is |was )?(?:hides?|hid|hiding|covers?|covered|covering|occludes?) {_A}{_AT_EN}{_END}",
        _any(
            rf"^{_AT_ZH}(?:什么|谁)(?:东西)?{_HIDE_ZH}(?:了|着)?{_ZA}{_END}",
            rf"^{_AT_ZH}{_ZA}{_later_at_zh(1)}被(?:什么|谁)(?:东西)?{_HIDE_ZH}[住着了]*{_END}",
        ),
    ),
    (
        "how_long_hidden",
        rf"^(?:for )?how long (?:was|is|were|are|has|did|does) {_A} (?:been |be |stay )?"
        rf"(?:hidden|covered|occluded|out of sight|invisible)[\w ]*{_END}",
        rf"^{_ZA}(?:一共)?(?:被[^,?.]{{0,8}}?)?{_HIDE_ZH}住?了?(?:多久|多长时间|几秒|多少秒){_END}",
    ),
    (
        "order",
        _any(
            r"\b(?:in )?(?:what|which) order\b.*\bmov|\border (?:of|in which)\b.*\bmov",
            r"\bmov\w*\b.*\b(?:what|which|the) order\b",
        ),
        r"(?:按|以)?(?:什么|怎样的?|何种)(?:样的)?(?:顺序|次序|先后)[^?]*动|动[^?]*(?:先后|顺序|次序)",
    ),
    (
        "first_or_last",
        _any(
            r"\b(?:who|what|which(?: \w+)?) (?:\w+ )?(?:mov(?:e|ed|es)|started (?:moving|to move)|rolled) (?P<first>first)\b",
            r"\b(?:who|what|which(?: \w+)?) (?:mov(?:e|ed|es)|started (?:moving|to move)) (?P<last>last)\b",
            r"\bwhat was the (?P<first>first) (?:thing )?to move\b",
        ),
        _any(
            r"(?:谁|什么|哪个\S{0,4}?)(?P<first>最先|首先|先|第一个)(?:开始)?(?:移|运)?动",
            r"(?:谁|什么|哪个\S{0,4}?)(?P<last>最后)(?:开始)?(?:移|运)?动",
        ),
    ),
    (
        "moved",
        _any(
            rf"^(?:who|what|which (?:thing|object|one|item)s?) (?:has |have )?(?:moved|moves|move|is moving|was moved)"
            rf"{_SCENE_EN}{_END}",
            rf"^how (?P<number>many) (?:thing|object|item)s? (?:have )?(?:moved|move|were moved|are moving){_SCENE_EN}{_END}",
        ),
        _any(
            rf"^{_SCENE_ZH}(?:有)?(?:谁|什么(?:东西|物体)?|哪些(?:东西|物体)?)(?:移动|运动|动)(?:过|了)*{_END}",
            rf"^{_SCENE_ZH}(?:一?共)?有?(?P<number>几|多少)(?:个|样)?(?:东西|物体)(?:移动|运动|动)(?:过|了)*{_END}",
        ),
    ),
    (
        "met",
        rf"^(?:what|who|which \w+) (?:did|does|has) {_A} (?:hit|bump into|touch|collide with|push|cause|set in motion|"
        rf"knock over|move)(?: to move)?{_END}",
        rf"^{_ZA}(?:撞到|碰到|撞上|推动|撞|碰)了?(?:什么|谁|哪个)(?:东西|物体)?{_END}",
    ),
    (
        "cause",
        _any(
            rf"^(?:what|who|which \w+) (?:caused|made|makes|causes|set|pushed|moved|hit) {_A}"
            rf"(?: (?:to )?(?:move|roll|fall|start)\w*| in motion)?{_END}",
            rf"^why did {_A} (?:move|roll|fall|start)\w*{_END}",
        ),
        _any(
            rf"^(?:是)?(?:什么|谁)(?:东西)?(?:让|使|导致|推动|撞到?|碰到?|引起|移动|推|搬走?|带走)了?{_ZA}{_MOVE_ZH}{_END}",
            rf"^{_ZA}为什么(?:会)?(?:移动|运动|滚动|动|掉)\S{{0,3}}{_END}",
        ),
    ),
    (
        "how_often",
        rf"^how (?:often|many times) (?:did|was|were|is|does|has|have) {_A} {_VERB_EN}{_BY_EN}{_END}",
        rf"^{_ZA}(?:一共)?{_VERB_ZH}(?:了|过)?(?:几|多少)次{_END}",
    ),
    (
        "count_over_time",
        _any(
            rf"^how (?:did|does|has) the (?:number|count) of {_A} chang\w*(?: over time)?{_SCENE_EN}{_END}",
            rf"^how many {_A} (?:are |were |is )?(?:there )?(?P<visible>visible |in sight |can be seen )?"
            rf"(?:over time|throughout|during)(?: the (?:video|clip))?{_END}",
        ),
        _any(
            rf"^{_SCENE_ZH}{_ZA}的?(?:数量|个数|数目)(?:随时间)?(?:是)?(?:怎么|如何|怎样)?(?:随时间)?(?:的)?变化(?:的)?{_END}",
            rf"^(?:不同时刻|每个时刻|各个时刻|随时间){_SCENE_ZH}(?P<visible>能看到|看得到)?(?:各|分别)?有?(?:多少|几)(?:个|只|本|把|支|辆|块)?{_ZA}{_END}",
        ),
    ),
    (
        "count",
        rf"^how many {_A} (?P<visible>can be seen|are visible|were visible|can you see|are in sight)?"
        rf"(?:are|were|was|is)?(?: there)?{_SCENE_EN}{_AT_EN}{_END}",
        rf"^{_AT_ZH}(?:的?时候?)?{_SCENE_ZH}(?P<visible>能看到|看得到)?(?:一共|共)?有?(?:多少|几)(?:个|只|本|把|支|辆|块|样)?{_ZA}{_END}",
    ),
    (
        "moment",
        _any(
            rf"^(?:when|at what (?:time|moment|second)) (?:do|does|did|is|was|were|are) {_A} {_VERB_EN}{_BY_EN}{_END}",
            r"^(?:find|show|give|tell)(?: me)? (?:(?:the )?(?:moment|time|second|point)s? )?(?:when|at which|where|that) "
            rf"{_A} {_VERB_EN}{_BY_EN}{_END}",
        ),
        _any(
            rf"^(?:请?(?:找出|找到|指出|给出))?{_ZA}(?:是)?(?:在)?{_WHEN_ZH}{_VERB_ZH}(?:的|了)?{_END}",
            rf"^(?:请?(?:找出|找到|指出|给出)){_ZA}{_VERB_ZH}(?:的|了)?(?:那一刻|时刻|瞬间|时候|时间){_END}",
            rf"^(?:在)?{_WHEN_ZH}{_ZA}{_VERB_ZH}(?:的|了)?{_END}",
        ),
    ),
    (
        "state",
        _any(
            rf"^(?:is|are) {_A} (?:now |currently |still )?(?P<state>hidden|covered|occluded|visible|in sight|"
            rf"out of (?:sight|view)|there|here|present|gone|taken away)(?: now| right now)?{_AT_EN}{_END}",
            rf"^(?:was|were) {_A} (?:still )?(?P<state>hidden|covered|occluded|visible|in sight|there|present|gone)"
            rf"{_THEN_EN}{_END}",
            rf"^(?:is|are|was|were) {_A} (?:still )?(?:on|in) the (?:table|desk|picture|video|view|room)(?: now)?{_AT_EN}{_END}",
            rf"^(?:is|are|was|were) there {_A}{_SCENE_EN}{_AT_EN}{_END}",
        ),
        _any(
            rf"^{_ZA}(?:现在|目前|此刻)(?:是否)?(?:还|仍)?(?P<state>被?{_HIDE_ZH}|可见|看得见|被拿走)(?:着|了)?吗{_END}",
            rf"^{_AT_ZH}{_ZA}(?:现在|目前)?(?:还|仍然|仍|是否)?在(?:画面|桌子?|那里|那儿|原处)?(?:[里上中])?吗{_END}",
            rf"^{_AT_ZH}{_SCENE_ZH}有(?:没有)?{_ZA}吗?{_END}",
        ),
    ),
    (
        "did",
        rf"^(?:did|does|has|have|was|were) {_A} (?:ever )?{_VERB_EN}{_BY_EN}{_END}",
        _any(rf"^{_ZA}(?:有没有)?{_VERB_ZH}(?:过|了)*吗?{_END}"),
    ),
    (
        "what_happened",
        _any(
            rf"^what (?:happens|happened|is happening|was happening)(?: here| there| first)?{_SCENE_EN}{_AT_EN}{_END}",
            rf"^what happen(?:s|ed) (?:between|from) {_T_EN} (?:and|to) {_again(_T_EN, 't').replace('<t_>', '<u>')}{_END}",
            rf"^what happen(?:s|ed) (?P<rel>before|after) {_A} {_VERB_EN}{_BY_EN}{_END}",
            r"^(?:what events? (?:are|were) there|describe (?:the video|what happen(?:s|ed))|list (?:all )?(?:the )?events)\b",
        ),
        _any(
            rf"^{_T_ZH}(?:到|至|-|~){_T_ZH.replace('<t>', '<u>')}(?:之间|期间|内)?{_HAPPENED_ZH}{_END}",
            rf"^{_ZA}{_VERB_ZH}{_REL_ZH}(?:又|还)?{_HAPPENED_ZH}{_END}",
            rf"^{_AT_ZH}{_SCENE_ZH}(?:都)?{_HAPPENED_ZH}{_END}",
            r"有哪些事件|描述.{0,4}视频",
        ),
    ),
)  # fmt: skip

QUESTIONS: tuple[tuple[Kind, dict[Language, re.Pattern[str]]], ...] = tuple((kind, words(en, zh)) for kind, en, zh in _TABLE)
