"""In which language a figure or sign is said: told from the text around it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from typing import Final

from serve_app.core import estimate
from serve_app.core.spoken.rule import Language
from serve_app.core.spoken.units import UNIT

_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003fffd"
_ANY_HAN = re.compile(f"[{_HAN}]")
_CHUNK_END = re.compile(r"[。！？；\n“”「」『』（）()]|[.!?;…](?=\s)")
_CHINESE = re.compile(f"[{_HAN}，。、；：！？]")
_HAN_NEXT = re.compile(
    rf"[-−–+±~≈<>≤≥]?[¥$£€]?\.?\d[\d.,:/%‰~–-]{{0,40}}(?: ?{UNIT})?(?: ?[{_HAN}]|[，。、；：！？])"
    rf"|\S[{_HAN}]"
)


_SYMBOLS = re.compile(rf"(?<![A-Za-z])(?:[A-Za-z]|(?<=\d){UNIT})(?![A-Za-z])")
"""Letters that are said in any language: variables and units."""


def is_han(char: str) -> bool:
    """Whether *char* is a Chinese character."""
    return _ANY_HAN.match(char) is not None


def teller(text: str, language: Language | None) -> Callable[[int], Language]:
    """A function that says how the text at an offset is read.

    What touches a Chinese character, or Chinese punctuation behind it, is Chinese. All else
    goes by the sentence, quotation or parenthesis it stands in, or if that has no letters, by the
    whole text.

    Args:
        text: All of it.
        language: What the request says; then it holds everywhere.
    """
    if language is not None:
        return lambda _: language
    if _CHINESE.search(text) is None:
        return lambda _: "en"
    ends = [match.end() for match in _CHUNK_END.finditer(text)]
    letters = _SYMBOLS.sub("", text)
    whole = estimate.language(letters) if any(map(str.isalpha, letters)) else "zh"

    @cache
    def of_chunk(index: int) -> Language:
        start = ends[index - 1] if index else 0
        chunk = _SYMBOLS.sub("", text[start : ends[index] if index < len(ends) else len(text)])
        return estimate.language(chunk) if any(map(str.isalpha, chunk)) else whole

    def tell(offset: int) -> Language:
        touching = _HAN_NEXT.match(text, offset) or (offset and is_han(text[offset - 1]))
        return "zh" if touching else of_chunk(bisect_right(ends, offset))

    return tell
