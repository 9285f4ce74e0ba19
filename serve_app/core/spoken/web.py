"""Addresses: e-mail, URLs, domains, names of files; said sign by sign."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from serve_app.core.spoken import numbers_en, numbers_zh
from serve_app.core.spoken.rule import Kind, Language, Rule

_TLD: Final = (
    r"(?:(?:co|org|ac)\.uk|(?:com|org|edu)\.cn|com|org|net|edu|gov|io|ai|dev|app|info|tv|cn)"
)
_FILE: Final = (
    r"(?:pdf|txt|md|csv|json|ya?ml|xml|html?|css|js|ts|py|sh|exe|zip|docx?|xlsx?|pptx?|jpe?g|png|gif"
    r"|svg|mp[34]|wav|flac)"
)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_PATH: Final = r"(?::\d{1,5})?(?:[/?#](?:[\w\-./~%?#&=+:@!,;*$]*[\w/=~+$*])?)?"
_FIND: Final = re.compile(
    rf"(?<![A-Za-z0-9_.@/+-])(?:[A-Za-z0-9][A-Za-z0-9._%+-]{{0,63}}@{_LABEL}(?:\.{_LABEL})+"
    rf"|(?i:https?|ftp)://[A-Za-z0-9.-]*[A-Za-z0-9]{_PATH}"
    rf"|(?i:www)\.{_LABEL}(?:\.{_LABEL})+{_PATH}"
    rf"|(?:{_LABEL}\.)+{_TLD}(?![A-Za-z0-9-]|\.[A-Za-z0-9]){_PATH}"
    rf"|[A-Za-z][A-Za-z0-9_-]*\.{_FILE}(?![A-Za-z0-9_-]|\.[A-Za-z])"
    rf"|~?(?:/[A-Za-z0-9._-]*[A-Za-z0-9_-]){{2,}}/?(?![\w/]))",
    re.ASCII,
)
_HINT: Final = re.compile(
    rf"@|://|(?i:www)\.|(?:^|[\s(`'\"~])/[A-Za-z0-9._-]+/|\.(?:{_TLD}|{_FILE})(?![A-Za-z0-9])"
)
_PIECES: Final = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]")
_SIGNS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        ".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", ":": "colon",
        "?": "question mark", "=": "equals", "&": "and", "#": "hash", "%": "percent",
        "+": "plus", "~": "tilde", "!": "exclamation mark", ",": "comma", ";": "semicolon",
        "*": "star", "$": "dollar",
    },
    "zh": {
        ".": "点", "@": "艾特", "/": "斜杠", "-": "横杠", "_": "下划线", ":": "冒号", "?": "问号",
        "=": "等于", "&": "和", "#": "井号", "%": "百分号", "+": "加", "~": "波浪号", "!": "感叹号",
        ",": "逗号", ";": "分号", "*": "星号", "$": "美元",
    },
}  # fmt: skip
_SCHEME = re.compile(r"^(?:https?|ftp)://", re.IGNORECASE)


def _figures_en(figures: str) -> str:
    if len(figures) == 4 and figures[:2] in {"19", "20"}:
        return numbers_en.year(int(figures))
    return numbers_en.integer(figures) if len(figures) < 3 else numbers_en.digits(figures)


def _figures_zh(figures: str) -> str:
    return numbers_zh.integer(figures) if len(figures) < 3 else numbers_zh.digits(figures)


def _address(written: str, language: Language) -> str:
    """An address in words; its scheme and a slash at its end are not said."""
    signs = _SIGNS[language]
    figures: Callable[[str], str] = _figures_en if language == "en" else _figures_zh
    body = _SCHEME.sub("", written)
    body = body.removesuffix("/") if len(body) > 1 else body
    words: list[str] = []
    for piece in _PIECES.findall(body):
        if piece.isdigit():
            words.append(figures(piece))
        elif piece.lower() == "www":
            words.append("w w w")
        elif piece == "etc":
            words.append("e t c")
        else:
            words.append(signs.get(piece, piece))
    return " ".join(words)


def _reader(language: Language) -> Rule:
    return Rule(Kind.WEB, _FIND, lambda match: _address(match[0], language))


_RULES: Final = {"en": _reader("en"), "zh": _reader("zh")}


def find(text: str) -> list[re.Match[str]]:
    """All addresses in *text*, in order."""
    return list(_FIND.finditer(text)) if _HINT.search(text) else []


def rule(language: Language) -> Rule:
    """The rule whose reader says a match of :func:`find`."""
    return _RULES[language]
