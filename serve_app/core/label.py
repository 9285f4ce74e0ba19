"""When ``Xxx: text`` at the start of a line names a speaker.

These rules decide who says what, so they are hard to change once scripts are in use.

**The form.** Up to the first ``:`` or ``：`` of a line: 1..40 characters, at most 4 words, starting
with a letter, made of letters, digits, marks, spaces and ``. ' ’ - & ( ) （ ） · ・``; a label with
Han or kana has at most 10 characters. The colon is not followed by ``//``, a backslash or another
colon, and does not stand between two digits (``At 10:30``).

**What is never a name**, whatever follows:

* an English phrase whose last of several words is a verb of speech (``Alice replied:``), or most
  of whose several words start with a small letter (``he did three things:``);
* a Chinese phrase that ends in 说 (but 解说, a commentator), or in 道 after 说, 问, 答, 喊, 叫, 笑,
  写 or 想.

**What is a name only in company** (:func:`speaker_keys`):

* a common non-name (``Note``, ``Chapter 2``, ``注意``; the lists below), if it occurs at least
  twice and the script has another label that is a name;
* one word in small letters (``alice:``), if the same name also occurs with a capital, or as the
  common non-names do; where no label has a capital, such words are names like any others;
* a Chinese label directly before an opening quote (``他想：“…”`` is prose), if the same name also
  occurs as a plain label.

**Sameness.** Two labels name the same speaker if they agree after NFKC and case folding, with
``’`` read as ``'``. The first way it is written is the way it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from serve_app.core.text import SPEECH_VERBS, is_syllabic

MAX_LABEL_CHARS: Final = 40
MAX_LABEL_WORDS: Final = 4
MAX_CJK_LABEL_CHARS: Final = 10

_FORM = re.compile(r"(?P<name>[^:：]{1,40}?) ?[:：](?!//|[:：\\])(?P<rest>.*)")
_SIGNS: Final = frozenset(" .'’-&()（）·・")
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

    NAME = "name"
    SMALL = "small"
    QUOTING = "quoting"
    COMMON = "common"


@dataclass(frozen=True, slots=True)
class Label:
    """A line's start that has the form of a label.

    Args:
        name: As written.
        key: Equal for labels of the same speaker.
        rest: What follows the colon, without spaces around it.
        grade: How far it can be trusted.
    """

    name: str
    key: str
    rest: str
    grade: Grade


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
    words = name.split()
    if any(map(is_syllabic, name)):
        if len(name) > MAX_CJK_LABEL_CHARS or _SAYS.search(name):
            return None
    elif len(words) > 1 and _is_phrase(words):
        return None
    key, rest = name_key(name), rest.strip()
    return Label(name, key, rest, _grade(name, key, rest))


def _has_form(name: str) -> bool:
    return (
        len(name) <= MAX_LABEL_CHARS
        and name[0].isalpha()
        and len(name.split()) <= MAX_LABEL_WORDS
        and all(
            char.isalnum() or char in _SIGNS or unicodedata.category(char)[0] == "M"
            for char in name
        )
    )


def _is_phrase(words: list[str]) -> bool:
    """Whether several words read as English prose rather than as a name."""
    small = sum(word[0].islower() for word in words)
    return words[-1].lower() in SPEECH_VERBS or 2 * small > len(words)


def _grade(name: str, key: str, rest: str) -> Grade:
    if key in _COMMON or _COMMON_FORM.fullmatch(key):
        return Grade.COMMON
    if name.islower() and " " not in name:
        return Grade.SMALL
    if rest.startswith(_QUOTES) and any(map(is_syllabic, name)):
        return Grade.QUOTING
    return Grade.NAME


def speaker_keys(labels: Iterable[Label]) -> frozenset[str]:
    """Keys of the labels of one script that are names; see the module docstring."""
    found = list(labels)
    counts = Counter(label.key for label in found)
    names = {label.key for label in found if label.grade is Grade.NAME}
    names = names or {label.key for label in found if label.grade is Grade.SMALL}
    weak = {label.key for label in found if label.grade in {Grade.COMMON, Grade.SMALL}}
    return frozenset(names | {key for key in weak if counts[key] > 1 and names - {key}})
