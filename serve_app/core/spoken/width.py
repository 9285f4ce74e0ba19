"""One shape for what is written in several: digits of all scripts, subscripts, full-width signs.

Every character is replaced by exactly one, so that offsets stay those of the source.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SIGNS: Final = dict(
    zip("％＋－＝／＄￥￡￠＆＠＃＊．＜＞＾｜～⁄∕", "%+-=/$¥£¢&@#*.<>^|~//", strict=True)
)
_COLON = re.compile(r"(?<=\d)：(?=\d)")


def _plain(char: str) -> str:
    if unicodedata.category(char) == "Nd" or "\u2080" <= char <= "\u2089":
        return str(unicodedata.digit(char))
    return _SIGNS.get(char, char)


def fold(text: str) -> str:
    """*text* with plain digits and signs; as long as *text*, and *text* itself if plain."""
    if text.isascii():
        return text
    table = {
        ord(char): plain
        for char in set(text)
        if not char.isascii() and (plain := _plain(char)) != char
    }
    folded = text.translate(table) if table else text
    return _COLON.sub(":", folded) if "：" in folded else folded
