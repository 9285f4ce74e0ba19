"""When ``Xxx: text`` at the start of a line names a speaker.

These rules decide who says what, so they are hard to change once scripts are in use.

**The form.** Up to the first ``:`` or ``：`` of a line: 1..40 characters, starting with a letter,
made of letters, digits, marks, spaces and ``. ' ’ - & ( ) （ ） · ・ _ # /``. A ``#`` stands before
a digit, ``_`` and ``/`` between other characters; with either a name holds a capital and no word
with a full stop (a path), but for ``speaker_00``. A label with Han or kana has at most 10
characters, any other one at most 4 words, or 8 of which all but particles (``of the``) have a
capital. What stands in brackets at the end (``Alice (to Bob, aside)``) counts only for the 40
characters. The colon is not followed by ``//``, a backslash or another colon, and does not stand
between two digits (``At 10:30``).

**What may stand around it** is not spoken: marks of emphasis (``**Alice:**``, ``__Alice__:``),
square brackets (``[Alice]:``, but not before a URL), and in front the mark of a list item, a
heading or a quotation (``- Alice:``) and a time (``[00:01] Alice:``, ``0:01:30 Alice:``).

**What is never a name**, whatever follows:

* an English phrase whose last of several words is a verb of speech (``Alice replied:``), or most
  of whose several words start with a small letter (``he did three things:``);
* a Chinese phrase that ends in 说 (but 解说, a commentator), or in 道 after 说, 问, 答, 喊, 叫, 笑,
  写 or 想.

**What is a name only in company** (:func:`speaker_keys`):

* a common non-name (``Note``, ``Chapter 2``, ``注意``; the lists below), if it occurs at least
  twice and the script has another label that is a name;
* a label in a list, or behind a time without brackets (``- Pears: two``, ``10:30 Lunch: soup``), if
  the same name also occurs without, or one of these labels occurs twice;
* one word in small letters (``alice:``), if the same name also occurs with a capital, or as the
  common non-names do; where no label has a capital, such words are names like any others;
* a Chinese label directly before an opening quote (``他想：“…”`` is prose), if the same name also
  occurs as a plain label.

**What is always a name**: ``Speaker 1`` with any number, ``Narrator``, 旁白, 说话人1.

**Sameness.** Two labels name the same speaker if they agree after NFKC and case folding, with
``’`` read as ``'``; so do ``Alice (whispering)`` and ``Alice``, where the latter occurs. The first
way it is written is the way it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from serve_app.core.text import SPEECH_VERBS, is_syllabic

MAX_LABEL_CHARS: Final = 40
MAX_LABEL_WORDS: Final = 4
MAX_LONG_LABEL_WORDS: Final = 8
MAX_CJK_LABEL_CHARS: Final = 10

_TIME: Final = r"\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d{1,3})?"
_SPAN: Final = rf"{_TIME}(?: ?(?:-->|[-–—]) ?{_TIME})?"
_FORM = re.compile(
    r"(?P<item>(?:[-*+•–—>]|#{1,6}) )?(?P<mark>[*_]{1,3})?"
    rf"(?:(?:\[{_SPAN}\]|\({_SPAN}\)|(?P<bare_time>{_SPAN})(?= )) ?(?:[-–—] )?)?"
    r"(?P<late_mark>(?(mark)|[*_]{1,3}))?(?P<open>\[)?"
    r"(?P<name>[^:：*\[\]]{1,40}?)(?(open)\]) ?"
    r"(?P<before>[*_]{1,3})?[:：](?!//|[:：\\])(?P<rest>.*)"
)
_ASIDE = re.compile(r" ?[(（][^()（）]*[)）]$")
_SIGNS: Final = frozenset(" .'’-&()（）·・_#/")
_MISPLACED = re.compile(r"#(?!\d)|(?<!\w)_|_(?!\w)|^/|/$")
_PATH = re.compile(r"\S*[_/]\S*\.\S|\S\.\S*[_/]")
_URL = re.compile(r"<?(?:\w+://|www\.|mailto:)")
_PARTICLES: Final = frozenset(
    ("a", "an", "the", "of", "and", "in", "at", "on", "to", "for", "de", "der", "van", "von", "la")
)
_ALWAYS = re.compile(r"(?:speaker|说话人|发言人)[ _#-]*\d+|narrator|旁白")
_QUOTES: Final = tuple('“「『"＂‘')
_SAYS = re.compile(r"(?<!解)说$|[说問问答喊叫笑写想]道$")
_COMMON_NAMES: Final = (
    "note|notes|n.b.|nb|warning|caution|danger|important|attention|notice|example|examples|e.g.|"
    "i.e.|eg|ie|tip|tips|hint|hints|ps|p.s.|pps|p.p.s.|subject|re|fw|fwd|from|to|cc|bcc|date|time|title|"
    "subtitle|author|authors|by|source|sources|reference|references|summary|abstract|introduction|"
    "intro|conclusion|contents|table of contents|ingredients|directions|instructions|method|steps|"
    "serves|recipe|setting|cast|characters|dramatis personae|moral|definition|result|results|todo|"
    "fyi|btw|update|edit|edited|version|disclaimer|copyright|address|phone|tel|fax|email|e-mail|"
    "website|web|url|link|http|https|ftp|mailto|file|data|isbn|keywords|tags|category|pros|cons|"
    "location|place|price|"
    "注意|提示|例如|比如|譬如|注|备注|说明|警告|重要|标题|题目|副标题|作者|译者|来源|出处|时间|地点|"
    "日期|主题|摘要|目录|总结|结论|前言|序|参考|参考文献|附注|附录|译者注|编者按|又及|材料|配料|做法|步骤|"
    "收件人|发件人|抄送|人物|场景|布景|举例|定义|关键词|网址|电话|邮箱|地址|版权|声明|更新|即|也就是说"
)
_COMMON: Final = frozenset(_COMMON_NAMES.split("|"))
_COMMON_FORM = re.compile(
    r"(?:chapter|part|section|act|scene|step|figure|fig\.?|table|episode|book|volume|vol\.?|lesson|"
    r"appendix|page|day|item|option|exercise|no\.?)(?: [\w.]+)?"
    r"|(?:my )?dear(?: .*)?|(?:尊敬|亲爱)的.*|第.{1,5}[章回节集幕场部卷课步条]|[图表]\s?\w{1,3}"
)


class Grade(Enum):
    """How much a label looks like a name by itself."""

    ALWAYS = "always"
    NAME = "name"
    SMALL = "small"
    QUOTING = "quoting"
    LISTED = "listed"
    COMMON = "common"


@dataclass(frozen=True, slots=True)
class Label:
    """A line's start that has the form of a label.

    Args:
        name: As written.
        key: Equal for labels of the same speaker.
        rest: What follows the colon, without spaces around it.
        grade: How far it can be trusted.
        lead: What stands before the name.
    """

    name: str
    key: str
    rest: str
    grade: Grade
    lead: str = ""


def name_key(name: str) -> str:
    """What is equal for two ways of writing the same speaker's name."""
    return unicodedata.normalize("NFKC", name).replace("’", "'").casefold().strip()


def read_label(line: str) -> Label | None:
    """The label that a clean line starts with, or None if it has not the form of a name."""
    match = _FORM.match(line)
    if match is None:
        return None
    name, rest = match["name"], match["rest"]
    if not _has_form(name) or (name[-1].isdigit() and rest[:1].isdigit()):
        return None
    mark = match["mark"] or match["late_mark"] or ""
    if mark and not match["before"] and rest.startswith(mark):
        rest = rest.removeprefix(mark)
    elif mark != (match["before"] or ""):
        return None
    rest = rest.strip()
    if match["open"] and _URL.match(rest):
        return None
    listed = match["item"] is not None or match["bare_time"] is not None
    return _label(name, rest, line[: match.start("name")], listed=listed)


def without_aside(label: Label, keys: Container[str]) -> Label:
    """*label* without the brackets at the end of its name, if what is left has one of *keys*."""
    name = _bare(label.name)
    if name == label.name or name_key(name) not in keys:
        return label
    return _label(name, label.rest, label.lead, listed=label.grade is Grade.LISTED)


def _label(name: str, rest: str, lead: str, *, listed: bool) -> Label:
    key = name_key(name)
    return Label(name, key, rest, _grade(name, key, rest, listed=listed), lead)


def _bare(name: str) -> str:
    return _ASIDE.sub("", name) or name


def _has_form(name: str) -> bool:
    """Whether a name is made as names are, and does not read as prose."""
    bare = _bare(name)
    return (
        name[0].isalpha()
        and len(name) <= MAX_LABEL_CHARS
        and all(
            char.isalnum() or char in _SIGNS or unicodedata.category(char)[0] == "M"
            for char in bare
        )
        and not _MISPLACED.search(bare)
        and not _is_code(bare)
        and not (_is_phrase_zh(bare) if any(map(is_syllabic, bare)) else _is_phrase(bare.split()))
    )


def _is_code(name: str) -> bool:
    """Whether a name is that of a variable or a file."""
    joined = "_" in name or "/" in name
    return (
        joined
        and not _ALWAYS.fullmatch(name_key(name))
        and (name == name.lower() != name.upper() or _PATH.search(name) is not None)
    )


def _is_phrase_zh(name: str) -> bool:
    return len(name) > MAX_CJK_LABEL_CHARS or _SAYS.search(name) is not None


def _is_phrase(words: list[str]) -> bool:
    """Whether words read as English prose rather than as a name."""
    if len(words) == 1:
        return False
    small = sum(word[0].islower() for word in words)
    if len(words) > MAX_LABEL_WORDS:
        small = sum(word[0].islower() and word not in _PARTICLES for word in words)
        return len(words) > MAX_LONG_LABEL_WORDS or small > 0
    return words[-1].lower() in SPEECH_VERBS or 2 * small > len(words)


def _grade(name: str, key: str, rest: str, *, listed: bool) -> Grade:
    if _ALWAYS.fullmatch(key):
        return Grade.ALWAYS
    if key in _COMMON or _COMMON_FORM.fullmatch(key):
        return Grade.COMMON
    if listed:
        return Grade.LISTED
    if name.islower() and " " not in name:
        return Grade.SMALL
    if rest.startswith(_QUOTES) and any(map(is_syllabic, name)):
        return Grade.QUOTING
    return Grade.NAME


def speaker_keys(labels: Iterable[Label]) -> frozenset[str]:
    """Keys of the labels of one script that are names; see the module docstring."""
    found = list(labels)
    counts = Counter(label.key for label in found)
    by_grade: dict[Grade, Counter[str]] = {grade: Counter() for grade in Grade}
    for label in found:
        by_grade[label.grade][label.key] += 1
    names = {*by_grade[Grade.ALWAYS], *by_grade[Grade.NAME]}
    if max(by_grade[Grade.LISTED].values(), default=0) > 1:
        names |= by_grade[Grade.LISTED].keys()
    names = names or set(by_grade[Grade.SMALL])
    weak = by_grade[Grade.COMMON].keys() | by_grade[Grade.SMALL].keys()
    return frozenset(names | {key for key in weak if counts[key] > 1 and names - {key}})
