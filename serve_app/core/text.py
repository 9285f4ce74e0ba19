"""Plain text: cleaning it, joining its lines, and telling its characters apart.

These rules decide what is spoken and how it is cut, so a change to them changes plans and audio;
``PLAN_VERSION`` in :mod:`serve_app.core.plan` has to be raised with them.

**Cleaning** (:func:`clean`), in this order:

1. ``\\r\\n``, ``\\r``, ``\\v``, ``\\f``, the separators U+001C..1E, U+0085, U+2028 and U+2029
   become ``\\n``; the tab, U+001F and every space of Unicode (category Zs) become a plain space.
2. What has no sound and no shape goes: other control and format characters (Cc, Cf: zero-width,
   bidi, soft hyphen, BOM, tags), lone surrogates, private use, non-characters, variation
   selectors, the combining grapheme joiner and the Hangul fillers.
3. NFC. It comes after the removal, because a removed joiner may have kept two characters apart.
4. Runs of spaces become one; spaces at the ends of lines go.

**Joining** (:func:`join_lines`): the wrapped lines of a paragraph are joined by one space, but by
none between two characters of a script without spaces (Han, kana and their punctuation). Quotes,
dashes and dots that Chinese shares with English count as such if the other side is one. The result
never holds a line break, so no text can forge a turn.

**Speakable** means: holds a letter or a digit of any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

_VERBS: Final = (
    "said says say saying asked asks ask replied replies reply answered answers cried cries "
    "shouted shouts whispered whispers added adds continued continues called calls exclaimed "
    "exclaims remarked remarks thought thinks wrote writes began begins repeated repeats muttered "
    "mutters murmured murmurs screamed yelled sighed laughed explained declared announced observed "
    "interrupted insisted admitted agreed suggested responded inquired enquired demanded begged "
    "pleaded noted concluded warned promised told"
)
SPEECH_VERBS: Final = frozenset(_VERBS.split())
"""Lower-case English verbs that tie a quotation to whoever says it."""

CLOSERS: Final = "\"'”’»›)]}）」』】》〉］｝〕＂＇"
"""Closing quotes and brackets; the straight ones also open."""

OPENERS: Final = "“‘«‹([{（「『【《〈［｛〔"
"""Opening quotes and brackets."""

_BREAKS: Final = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u3164\uffa0")
_SYLLABIC: Final = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u30ff\u3100-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003fffd"
)
_HANGUL: Final = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\uac00-\ud7ff\uffa1-\uffdc"
_SHARED: Final = frozenset("“”‘’…—–―·")

_SPACES = re.compile(" {2,}")
_HAN = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]"
)
_SYLLABLE = re.compile(f"[{_SYLLABIC}{_HANGUL}]")
_SPACELESS = re.compile(f"[{_SYLLABIC}\u3001-\u3003\u3008-\u3020\u3030-\u3035\uff01-\uff65]")
_SPEAKABLE = re.compile(r"[^\W_]")
_WORD = re.compile(rf"[^\W_](?:(?<![{_SYLLABIC}{_HANGUL}])(?:(?![{_SYLLABIC}{_HANGUL}])[^\W_])+)?")
_TERMINAL = re.compile(rf"[.!?…。！？｡．‼⁇⁈⁉][{re.escape(CLOSERS)}]*$")
_QUESTION = re.compile(r"[?？⁇⁈][^\w?？]*$")


def _mapped(char: str) -> str | None:
    """What cleaning makes of one character other than the newline; None removes it."""
    if char in _BREAKS:
        return "\n"
    category = unicodedata.category(char)
    if category == "Zs" or char in "\t\x1f":
        return " "
    code = ord(char)
    gone = (
        category in {"Cc", "Cf", "Cs", "Co"}
        or code & 0xFFFE == 0xFFFE
        or 0xFDD0 <= code <= 0xFDEF
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0100 <= code <= 0xE01EF
        or char in _FILLERS
    )
    return None if gone else char


def clean(text: str) -> str:
    """Normalise *text* without losing anything that can be heard; see the module docstring.

    Args:
        text: Any string, lone surrogates included.
    Returns:
        NFC text whose only control character is ``\\n``, with single spaces and none at the ends
        of lines. Cleaning it again changes nothing.
    """
    text = text.replace("\r\n", "\n")
    table = {ord(char): _mapped(char) for char in set(text) if char != "\n"}
    if any(char is None or ord(char) != code for code, char in table.items()):
        text = text.translate(table)
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", text))
    return text.replace(" \n", "\n").replace("\n ", "\n").strip(" ")


def join_lines(lines: Iterable[str]) -> str:
    """Join wrapped lines of one paragraph into one line; empty lines are skipped.

    Args:
        lines: Clean lines; a line break inside one is treated as a wrap too.
    Returns:
        Text without a line break; see the module docstring for where a space is put.
    """
    joined: list[str] = []
    last = ""
    for line in (part.strip() for text in lines for part in text.splitlines()):
        if not line:
            continue
        if last and not _spaceless(last, line[0]):
            joined.append(" ")
        joined.append(line)
        last = line[-1]
    return "".join(joined)


def _spaceless(left: str, right: str) -> bool:
    """Whether two characters meet without a space in running text."""
    if _SPACELESS.match(left):
        return bool(_SPACELESS.match(right)) or right in _SHARED
    return left in _SHARED and bool(_SPACELESS.match(right))


def han_letters(text: str) -> int:
    """How many letters of *text* are Chinese characters; radicals are no letters."""
    return sum(map(str.isalpha, _HAN.findall(text)))


def is_syllabic(char: str) -> bool:
    """Whether *char* stands for about a syllable: Han, kana, bopomofo or Hangul."""
    return bool(_SYLLABLE.match(char))


def speakable(text: str) -> bool:
    """Whether *text* holds a letter or a digit."""
    return bool(_SPEAKABLE.search(text))


def prefix_words(text: str) -> tuple[int, ...]:
    """Words that start before each offset, ``len(text) + 1`` values; a syllable sign is a word."""
    starts = [0] * (len(text) + 1)
    for match in _WORD.finditer(text):
        starts[match.start() + 1] = 1
    return tuple(accumulate(starts))


def words(text: str) -> int:
    """Words of *text*, the last value of :func:`prefix_words`."""
    return len(_WORD.findall(text))


def ends_sentence(text: str) -> bool:
    """Whether *text* ends in terminal punctuation, closing quotes and brackets aside."""
    return bool(_TERMINAL.search(text))


def ends_question(text: str) -> bool:
    """Whether the last sign of *text* that is not a quote, dash or space is a question mark."""
    return bool(_QUESTION.search(text[-32:]))
