"""Chinese readings of figures that are nothing more special: counts, ranges, fractions."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_zh
from serve_app.core.spoken.en_numbers import VULGAR
from serve_app.core.spoken.rule import NUM, SIGN_ZH, TO, Kind, Rule, before
from serve_app.core.spoken.units import UNIT, UNITS

SIGNS: Final = {"-": "负", "−": "负", "–": "负", "+": "正", "±": "正负", "~": "约", "≈": "约"}
_LONG: Final = 9
_MEASURE_WORDS: Final = (
    "万|亿|千|萬|億|個|隻|張|條|歲|種|間|層|場|輛|臺|雙|對|個|点|點|个|只|张|条|本|位|次|天|年(?![级代])|小时|分钟|秒|岁|周|星期|种|件|家|人|名|块|元|米|公里|千米|公斤|斤"
    "|吨|升|台|辆|座|间|层|场|句|段|倍|杯|瓶|碗|口|双|对|套|份|篇|首|部|门|把|枚|颗|头|匹|棵|支|根|片|滴|架"
    "|艘|封|处|项|点|遍|回|趟|顿|群|代|厘米|毫米|平方|立方|毫升|克|夜|晚|厅|室|卫|集|期|轮|批|副|幅|盒|袋|箱|盘|桌|步|声|下"
    "|英里|英尺|磅|美元|欧元|英镑|港元|港币|美金|度|勺|帧|股|成|亩|胜(?![利地者])|时(?![代期间候尚光])"
)
MEASURE_WORD: Final = rf"(?:{_MEASURE_WORDS})"
MEASURED: Final = rf"(?= ?{MEASURE_WORD})"
NO_MEASURE: Final = rf"(?! ?{MEASURE_WORD})"
_ORDER_BEFORE = re.compile(
    r"第 ?(?:[\d零一二三四五六七八九十百]{1,4}[、和及至到~-]){0,4}$|[零一二三四五六七八九十百千万]$"
)


def number(figures: str) -> str:
    """A number without a sign, by its value; long ones without commas digit by digit."""
    if figures.isdigit() and len(figures) >= _LONG and not figures.endswith("0000"):
        return numbers_zh.digits(figures)
    return numbers_zh.decimal(figures)


def signed(match: re.Match[str], words: str) -> str:
    """*words* behind what the group ``sign`` says."""
    return SIGNS[match["sign"][0]] + words if match["sign"] else words


def amount(match: re.Match[str]) -> str:
    """The groups ``a`` and, in a range, ``b``, before a unit: 2 is 两."""
    low, high = match["a"], match["b"]
    words = numbers_zh.counted(low)
    return signed(match, f"{words}到{numbers_zh.counted(high)}" if high else words)


def _counted(match: re.Match[str]) -> str | None:
    """A number before a measure word, but 第二名, 第一、二名, and 二 behind another digit."""
    if _ORDER_BEFORE.search(before(match)):
        return None
    return amount(match)


def _range(match: re.Match[str]) -> str:
    return signed(match, f"{number(match['a'])}到{number(match['b'])}")


def _fraction(match: re.Match[str]) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    unit = UNITS[match["unit"].rstrip(".")].zh if match["unit"] else ""
    if match["unit"] and not unit:
        unit = match["unit"]
    if not 0 < top < bottom or bottom > 1000:
        return f"{number(match['top'])}杠{number(match['bottom'])}{unit}"
    words = f"{numbers_zh.cardinal(bottom)}分之{numbers_zh.cardinal(top)}"
    return (f"{number(match['whole'])}又{words}" if match["whole"] else words) + unit


def _version(match: re.Match[str]) -> str:
    """The parts of a version as numbers, those of an address on the net digit by digit."""
    parts = match["parts"].split(".")
    address = len(parts) == 4 and all(len(part) < 4 and int(part) < 256 for part in parts)
    words = "点".join(map(numbers_zh.digits if address else numbers_zh.integer, parts))
    return f"{words}杠{numbers_zh.integer(match['net'])}" if match["net"] else words


_VULGAR_PARTS: Final = {
    "½": "二分之一", "⅓": "三分之一", "⅔": "三分之二", "¼": "四分之一", "¾": "四分之三",
    "⅕": "五分之一", "⅖": "五分之二", "⅗": "五分之三", "⅘": "五分之四", "⅙": "六分之一",
    "⅚": "六分之五", "⅐": "七分之一", "⅛": "八分之一", "⅜": "八分之三", "⅝": "八分之五",
    "⅞": "八分之七", "⅑": "九分之一", "⅒": "十分之一",
}  # fmt: skip


def _vulgar(match: re.Match[str]) -> str:
    part = _VULGAR_PARTS[match["part"]]
    return f"{number(match['whole'])}又{part}" if match["whole"] else part


def _times(match: re.Match[str]) -> str:
    return "乘".join(map(number, re.findall(NUM, match[0])))


def _power(match: re.Match[str]) -> str:
    return f"{number(match['base'])}的{_exponent(match)}次方"


def _exponent(match: re.Match[str]) -> str:
    return ("负" if match["minus"] else "") + number(match["power"])


RULES: Final = (
    Rule(
        Kind.VERSION,
        re.compile(r"(?P<parts>\d+(?:\.\d+){2,})(?:/(?P<net>\d{1,2})(?!\d))?(?![\d,])"),
        _version,
    ),
    Rule(
        Kind.FRACTION,
        re.compile(
            r"(?:(?P<whole>\d+) )?(?P<top>\d{1,4})/(?P<bottom>\d{1,4})(?![\d/]|\.\d)"
            rf"(?: ?(?P<unit>{UNIT}))?"
        ),
        _fraction,
    ),
    Rule(
        Kind.FRACTION,
        re.compile(r"(?P<top>\d{1,4})/(?P<bottom>\d{1,4}\.\d+)(?![\d/.])"),
        lambda match: f"{number(match['bottom'])}分之{number(match['top'])}",
    ),
    Rule(Kind.FRACTION, re.compile(rf"(?P<whole>\d+)? ?(?P<part>[{VULGAR}])"), _vulgar),
    Rule(Kind.NUMBER, re.compile(rf"{NUM}(?: ?[x×*] ?{NUM}){{1,3}}(?![A-Za-z0-9])"), _times),
    Rule(
        Kind.NUMBER,
        re.compile(rf"(?P<a>{NUM})[xX×](?![A-Za-z\d]| ?[-−+=^*/(²³])"),
        lambda match: f"{numbers_zh.counted(match['a'])}倍",
    ),
    Rule(
        Kind.NUMBER,
        re.compile(rf"(?P<base>{NUM})\^(?P<minus>[-−]?)(?P<power>\d+)"),
        _power,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"\d+(?::\d+)+(?![\d:])"),
        lambda match: "比".join(map(number, match[0].split(":"))),
    ),
    Rule(
        Kind.NUMBER,
        re.compile(rf"{SIGN_ZH}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?{MEASURED}"),
        _counted,
    ),
    Rule(
        Kind.RANGE,
        re.compile(rf"{SIGN_ZH}(?P<a>{NUM}){TO}(?P<b>{NUM})(?![-–]\d| ?=)"),
        _range,
    ),
    Rule(Kind.NUMBER, re.compile(r"(?<=\d )[-−–](?= ?[\d.]+ ?=)"), lambda _: "减"),
    Rule(Kind.NUMBER, re.compile(r"(?<=\d)[-−](?=[\d.]+ ?=)"), lambda _: "减"),
    Rule(
        Kind.NUMBER,
        re.compile(rf"{SIGN_ZH}(?P<a>{NUM})"),
        lambda match: signed(match, number(match["a"])),
    ),
)
