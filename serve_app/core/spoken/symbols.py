"""Signs that are neither letters, figures nor punctuation: what is said for them, if anything.

A sign with no reading is *unspoken*: emoji, box drawing, controls, ornaments, bare markup. It is
taken out of the text, and reported.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from serve_app.core.spoken import numbers_en, numbers_zh
from serve_app.core.spoken.rule import Kind, Language, Rule, after, before
from serve_app.core.spoken.units import UNITS
from serve_app.core.text import OPENERS

_PUNCTUATION: Final = (
    r".,!?;:'\"()\[\]{}…‥—–―‐‑−\-‘’‚‛“”„‟«»‹›¿¡~～、。，！？；：（）「」『』【】《》〈〉〔〕［］｛｝〖〗｡｢｣､"
    r"·・‧/﹏‼⁇⁈⁉﹁﹂﹃﹄〝〞＂＇"
)
_NUMERALS: Final = (
    "²³¹¼½¾\u2070-\u209f\u2150-\u2189\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3220-\u3229"
    "\u3251-\u325f\u3280-\u3289\u32b1-\u32bf"
)
TRIGGER: Final = (
    rf"[^\w\s{_PUNCTUATION}]|[_{_NUMERALS}]|(?<=[^\W\d_])/(?=[^\W\d_])|[Ａ-Ｚａ-ｚ]+|~(?=\d)"
    r"|-{1,2}>|!="
)
"""What may be a sign."""

_NAMES_EN: Final = {
    "&": "and", "%": "percent", "‰": "per mille", "+": "plus", "=": "equals", "×": "times",
    "÷": "divided by", "±": "plus or minus", "≈": "is about", "≠": "is not equal to",
    "≤": "is at most", "≥": "is at least", "∞": "infinity", "√": "square root of", "→": "to",
    "↔": "to and from", "⇒": "implies", "∝": "is proportional to", "∈": "in", "°": "degrees",
    "$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee", "₩": "won", "₽": "rouble",
    "₿": "bitcoin", "฿": "baht", "₫": "dong", "₱": "peso", "₺": "lira", "₪": "shekel",
    "₴": "hryvnia", "₦": "naira", "¢": "cent", "@": "at", "©": "copyright",
    "§": "section", "¶": "paragraph",
    "№": "number", "℃": "degrees Celsius", "℉": "degrees Fahrenheit", "Ω": "ohms",
    "℡": "telephone", "♯": "sharp", "♭": "flat", "♀": "female", "♂": "male", "∠": "angle",
    "⊥": "is perpendicular to", "∥": "is parallel to", "∑": "sum of", "∫": "integral of",
    "∂": "partial", "∪": "union", "∩": "intersection", "∵": "because", "∴": "therefore",
    "↑": "up", "↓": "down",
}  # fmt: skip
_NAMES_ZH: Final = {
    "&": "和", "%": "百分号", "‰": "千分号", "+": "加", "=": "等于", "×": "乘", "÷": "除以",
    "±": "正负", "≈": "约等于", "≠": "不等于", "≤": "小于等于", "≥": "大于等于", "∞": "无穷大",
    "√": "根号", "→": "到", "↔": "往返", "⇒": "推出", "∝": "正比于", "∈": "属于", "°": "度",
    "฿": "泰铢", "₫": "越南盾", "₱": "比索", "₺": "里拉", "₪": "谢克尔", "₴": "格里夫纳",
    "₦": "奈拉", "$": "美元", "₿": "比特币", "¶": "段落", "℡": "电话", "♯": "升", "♭": "降",
    "£": "英镑", "€": "欧元", "¥": "元", "₹": "卢比", "₩": "韩元", "₽": "卢布", "¢": "美分",
    "@": "艾特", "©": "版权所有", "§": "第", "№": "第", "℃": "摄氏度", "℉": "华氏度", "Ω": "欧姆",
    "♀": "女", "♂": "男", "∠": "角", "⊥": "垂直于", "∥": "平行于", "∑": "求和", "∫": "积分",
    "∂": "偏", "∪": "并", "∩": "交", "∵": "因为", "∴": "所以", "↑": "上升", "↓": "下降",
}  # fmt: skip
_NAMES: Final[dict[Language, dict[str, str]]] = {"en": _NAMES_EN, "zh": _NAMES_ZH}
_COMPOUNDS: Final = {
    "->": "→", "-->": "→", "=>": "⇒", ">=": "≥", "<=": "≤", "!=": "≠", "==": "=", "<->": "↔",
}  # fmt: skip
_BETWEEN: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "<": "is less than", ">": "is greater than", "≤": "is at most", "≥": "is at least",
    },
    "zh": {"<": "小于", ">": "大于", "≤": "小于等于", "≥": "大于等于"},
}  # fmt: skip
_AHEAD: Final[dict[Language, dict[str, str]]] = {
    "en": {"<": "less than", ">": "more than", "≤": "at most", "≥": "at least"},
    "zh": _BETWEEN["zh"],
}
_VALUE = re.compile(r" ?[-−+±~]?[$£€¥]?\.?\d")
_OPERAND = re.compile(r" ?(?:\d|[A-Za-z](?![A-Za-z]))| \(")
_OPERAND_BEFORE = re.compile(r"(?:[\d)]|(?<![A-Za-z])[A-Za-z]) ?$")
_APART = re.compile(r"[^\w)\]%°]$")
_NO_OPERAND_BEFORE = re.compile(
    r"\b(?:a|an|and|are|at|be|been|being|by|for|from|had|has|have|if|in|is|of|only|or|the|to|was|were"
    r"|with) $"
)
_LINE_START = re.compile(r"(?:^|\n) *$")
_TAG = re.compile(r"/?[A-Za-z]+(?: [a-z-]+=[^<>]*)?/?>")
_IN_TAG = re.compile(r"<[A-Za-z/!][^<>]*$")
_HEART = re.compile(r"<3(?![\d.,%/:-])")
_LOVED = re.compile(r"(?:\b(?:[Ii]|we|We|u|you)|[!?~]|:D|:\)|^) ?$")
_OR: Final = frozenset({"he/she", "she/he", "his/her", "him/her", "her/his", "yes/no"})
_MARKUP: Final = frozenset("*_`^|\\<>#~")
_ORNAMENTS: Final = frozenset("•‣⁃◦†‡※¦\u20e3\ufe0e\ufe0f")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def unspoken(char: str) -> bool:
    """Whether *char* has no reading wherever it stands."""
    if char in _NAMES_EN or char in _MARKUP or char.isspace():
        return False
    return unicodedata.category(char)[0] in "SC" or char in _ORNAMENTS


def unread(char: str) -> bool:
    """Whether *char* has no reading where no rule found one."""
    return char in _MARKUP or unspoken(char) or unicodedata.category(char) in {"No", "Nl"}


def _sign(language: Language) -> Rule:
    names = _NAMES[language]
    signs = "".join(re.escape(sign) for sign, name in names.items() if name)
    return Rule(
        Kind.SYMBOL, re.compile(f"[{signs}]"), lambda match: _spaced(match, names[match[0]])
    )


def _spaced(match: re.Match[str], words: str) -> str:
    """*words* apart from the words around them; Chinese needs no spaces."""
    if not words.isascii():
        return words
    left = " " if re.search(r"[^\s(\[“‘\"']$", before(match, 1)) else ""
    right = " " if re.match(r"[^\s.,;:!?)\]”’\"']", after(match, 1)) else ""
    return left + words + right


def _compared(language: Language) -> Rule:
    """Signs of comparison, between two values or in front of one: *p < 0.05*, *only <5%*."""
    between, ahead = _BETWEEN[language], _AHEAD[language]

    def read(match: re.Match[str]) -> str | None:
        sign = _COMPOUNDS.get(match[0], match[0])
        lead, tail = before(match, 48), after(match, 48)
        if (sign == ">" and _IN_TAG.search(lead)) or (sign == "<" and _TAG.match(tail)):
            return None
        if not _VALUE.match(tail):
            infix = _OPERAND_BEFORE.search(lead) and _OPERAND.match(tail)
            return _spaced(match, between[sign]) if infix else None
        if tail[0] == " " and _LINE_START.search(lead):
            return None
        if tail[0] == " ":
            alone = lead[-1:] in OPENERS or _NO_OPERAND_BEFORE.search(lead)
        else:
            alone = not lead or _APART.search(lead)
        return _spaced(match, (ahead if alone else between)[sign])

    return Rule(Kind.SYMBOL, re.compile(r"(?:[<>]=|[<>≤≥])(?![-=<>])"), read)


def _heart(match: re.Match[str]) -> str | None:
    return "heart" if _LOVED.search(before(match)) else None


def _times(language: Language) -> Rule:
    words = "times" if language == "en" else "乘"
    return Rule(
        Kind.SYMBOL,
        re.compile(r"(?<=\d)\*(?=\d)|(?<=\d )\*(?= \d)"),
        lambda match: _spaced(match, words),
    )


def _slash(match: re.Match[str]) -> str | None:
    around = (*re.findall(r"[A-Za-z]+$", before(match)), *re.findall(r"^[A-Za-z]+", after(match)))
    pair = "/".join(around)
    if pair in UNITS:
        return " per "
    return " or " if pair.lower() in _OR else " "


_MONEY_NEXT = re.compile(r"人民币|.{0,2}[美欧日港澳加]元|英镑|卢布|瑞郎")


def _han_slash(match: re.Match[str]) -> str:
    if not re.search(r"[元米里克斤吨升次万亿块度卡]$", before(match)):
        return "或"
    return "兑" if _MONEY_NEXT.match(after(match)) else "每"


def _hashtag(words: str, joint: str) -> Rule:
    return Rule(
        Kind.SYMBOL,
        re.compile(r"#(?P<tag>(?!\d+(?:st|nd|rd|th)?\b)\w+)#?"),
        lambda match: f"{words}{joint}{_CAMEL.sub(' ', match['tag']).replace('_', ' ')}",
    )


def _before_number(words: str) -> Rule:
    return Rule(
        Kind.SYMBOL,
        re.compile(r"[#№](?= ?\d+(?:st|nd|rd|th)?(?![A-Za-z\d]))"),
        lambda match: words if after(match, 1) == " " or not words.isascii() else f"{words} ",
    )


def _numeral(match: re.Match[str], *, chinese: bool) -> str | None:
    """Circled and Roman numerals as one character, and exponents."""
    number = unicodedata.numeric(match[0][0], -1.0)
    if number < 0 or number != int(number):
        return None
    say = numbers_zh.cardinal if chinese else numbers_en.cardinal
    return say(int(number))


SUPERSCRIPTS: Final = {char: str(value) for value, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def _exponent(match: re.Match[str], *, chinese: bool) -> str | None:
    figures = "".join(SUPERSCRIPTS.get(char, "") for char in match[0])
    return powered(figures, "⁻" in match[0], chinese=chinese) if figures else None


def _caret(match: re.Match[str], *, chinese: bool) -> str:
    return powered(match["power"], bool(match["minus"]), chinese=chinese)


def powered(figures: str, minus: bool, *, chinese: bool) -> str:
    """What is said behind the base of a power: squared, 的八次方."""
    if chinese:
        short = {"2": "的平方", "3": "的立方"}.get(figures)
        return (
            short
            if short and not minus
            else (f"的{'负' if minus else ''}{numbers_zh.integer(figures)}次方")
        )
    short = {"2": " squared", "3": " cubed"}.get(figures)
    if short and not minus:
        return short
    return f" to the power of {'minus ' if minus else ''}{numbers_en.integer(figures)}"


def _width(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0])


def _rules(language: Language) -> tuple[Rule, ...]:
    chinese = language == "zh"
    return (
        Rule(Kind.WIDTH, re.compile("[Ａ-Ｚａ-ｚ]+"), _width),
        _before_number("第" if chinese else "number"),
        _hashtag("话题" if chinese else "hashtag", "" if chinese else " "),
        Rule(
            Kind.SYMBOL,
            re.compile("§§"),
            lambda _: "第" if chinese else "sections",
        ),
        Rule(
            Kind.SYMBOL,
            re.compile(r"\+/[-−–]"),
            lambda match: _spaced(match, _NAMES[language]["±"]),
        ),
        *(() if chinese else (Rule(Kind.SYMBOL, _HEART, _heart),)),
        _compared(language),
        Rule(
            Kind.SYMBOL,
            re.compile(r"(?:-{1,2}>|<->|=>|>=|<=|!=|==)(?![-=<>])"),
            lambda match: _spaced(match, _NAMES[language][_COMPOUNDS[match[0]]]),
        ),
        _times(language),
        Rule(
            Kind.SYMBOL,
            re.compile(
                r"(?:(?<=\d)|(?<=(?<![A-Za-z])[A-Za-z])|(?<=(?<![A-Za-z])[A-Za-z]{2})|(?<=\)))[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+"
            ),
            lambda match: _exponent(match, chinese=chinese),
        ),
        Rule(
            Kind.SYMBOL,
            re.compile(r"(?<=[A-Za-z)])\^(?P<minus>[-−]?)(?P<power>\d+)"),
            lambda match: _caret(match, chinese=chinese),
        ),
        Rule(
            Kind.NUMBER,
            re.compile(f"(?![²³¹\u2070-\u209f])[{_NUMERALS}]"),
            lambda match: _numeral(match, chinese=chinese),
        ),
        Rule(Kind.SYMBOL, re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), _slash),
        Rule(Kind.SYMBOL, re.compile(r"(?<=[㐀-鿿])/(?=[㐀-鿿])"), _han_slash),
        _sign(language),
    )


RULES: Final[dict[Language, tuple[Rule, ...]]] = {"en": _rules("en"), "zh": _rules("zh")}
