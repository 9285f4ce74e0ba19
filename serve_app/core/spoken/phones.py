"""Telephone numbers and other figures that name something: digit by digit, in groups."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en, numbers_zh
from serve_app.core.spoken.en_numbers import PLURAL
from serve_app.core.spoken.rule import Kind, Rule, after, before
from serve_app.core.spoken.zh_numbers import MEASURED

_INTERNATIONAL: Final = (
    r"\+\d{1,3}(?: ?\(0\))?(?:[ .-]?\(?\d{1,4}\)?(?!\d)|[ .-]?\d{5,12}){1,5}(?![\d])"
)
_NATIONAL: Final = (
    r"(?:\(\d{3,4}\) ?\d{3,4}[-. ]\d{3,4}"
    r"|(?:1[-. ])?\d{3}([-. ])\d{3}\1\d{4}"
    r"|0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4})(?![\d-])"
)
_SERIAL: Final = r"\d+(?:-\d+){2,}(?!-?\d)"
_CALLED = re.compile(
    r"\b(?:at|call|called|dial|fax|number|phone|ring|tel\.?|telephone|text)(?: is)?:? $",
    re.IGNORECASE,
)
_HELP: Final = frozenset(
    {
        "000",
        "101",
        "110",
        "111",
        "112",
        "119",
        "211",
        "311",
        "411",
        "511",
        "811",
        "911",
        "988",
        "999",
    }
)
_CALLING = re.compile(
    r"\b(?:call|called|calling|calls|phone|phoned|ring|rang|text)(?: the)? $", re.IGNORECASE
)
_DIALLED = re.compile(r"\b(?:dial(?:s|l?ed|l?ing)?|ext\.?|extension) $", re.IGNORECASE)
_NUMBER_OF = re.compile(
    r"(?:电话|手机|手机号|拨打|致电|热线|拨|打|客服|QQ|微信|QQ群|密码|验证码|账号|帐号|卡号|编号|邮编"
    r"|尾号|工号|学号|号码|急救|报警|火警|匪警|端口|代码|错误|频道|区号|票号|房号|分机|单元|ID|(?<=\d)转)(?:号码|号)?(?:是|为)?"
    r"[:：]?\s?(?:\d{3,12}(?:、|，|,|或者|或|和|及|/) ?){0,3}$"
)
_NUMBER_FOR = re.compile(
    r"(?:(?:、|，|,|或者|或|和|及|/) ?\d{3,12}){0,3} ?(?:热线|电话|专线|客服|火警|报警|急救|端口"
    r"|国道|省道|县道|高速|路公交|路车)"
)
_COUNT_AFTER = re.compile(MEASURED)
_PHONE_DIGITS: Final = range(7, 16)


def _en(written: str) -> str:
    groups = ", ".join(map(numbers_en.digits, re.findall(r"\d+", written)))
    return f"plus {groups}" if written.startswith("+") else groups


def _zh(written: str) -> str:
    groups = "，".join(numbers_zh.digits(group, one="幺") for group in re.findall(r"\d+", written))
    return f"加{groups}" if written.startswith("+") else groups


def _long_enough(match: re.Match[str]) -> bool:
    return sum(map(str.isdigit, match[0])) in _PHONE_DIGITS


def _called_en(match: re.Match[str]) -> str | None:
    """A short number to call: that of help, or any that is dialled."""
    lead = before(match)
    called = _DIALLED.search(lead) or (match[0] in _HELP and _CALLING.search(lead))
    return numbers_en.digits(match[0]) if called and not PLURAL.match(after(match)) else None


def _short_en(match: re.Match[str]) -> str | None:
    called = match[0].startswith("555") or _CALLED.search(before(match))
    return _en(match[0]) if called else None


def _named_zh(match: re.Match[str]) -> str | None:
    """Digits behind or before what they are the number of, also several of them."""
    tail = after(match)
    if _COUNT_AFTER.match(tail):
        return None
    named = _NUMBER_OF.search(before(match, 40)) or _NUMBER_FOR.match(tail)
    return _zh(match[0]) if named else None


RULES_EN: Final = (
    Rule(
        Kind.PHONE,
        re.compile(_INTERNATIONAL),
        lambda match: _en(match[0]) if _long_enough(match) else None,
    ),
    Rule(Kind.PHONE, re.compile(_NATIONAL), lambda match: _en(match[0])),
    Rule(Kind.PHONE, re.compile(_SERIAL), lambda match: _en(match[0])),
    Rule(Kind.PHONE, re.compile(r"\d{4}(?: \d{4}){2,}(?! ?\d)"), lambda match: _en(match[0])),
    Rule(Kind.PHONE, re.compile(r"1-8\d\d(?=-[A-Z])"), lambda match: _en(match[0])),
    Rule(Kind.PHONE, re.compile(r"[2-9]\d{2}-\d{4}(?![\d-])"), _short_en),
    Rule(Kind.PHONE, re.compile(r"\d{3,6}(?![\d,:%-]|\.\d)"), _called_en),
)

RULES_ZH: Final = (
    Rule(
        Kind.PHONE,
        re.compile(_INTERNATIONAL),
        lambda match: _zh(match[0]) if _long_enough(match) else None,
    ),
    Rule(
        Kind.PHONE,
        re.compile(
            r"(?:1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}"
            r"|[(（]?0\d{2,3}(?:[)）][- ]?|[- ])\d{3,4}[- ]?\d{4}"
            r"|[48]00(?P<bar>[ -]?)\d{3,4}(?P=bar)\d{3,4})(?![\d-])"
        ),
        lambda match: _zh(match[0]),
    ),
    Rule(Kind.PHONE, re.compile(_SERIAL), lambda match: _zh(match[0])),
    Rule(Kind.PHONE, re.compile(r"\d{3,}(?:[- ]\d{3,}){0,4}(?![\d.,%])"), _named_zh),
    Rule(Kind.PHONE, re.compile(r"\d{3,4}(?= ?(?:室|房间|号房))"), lambda match: _zh(match[0])),
    Rule(
        Kind.PHONE,
        re.compile(r"(?<=[GDCKTZ])\d{1,4}(?=次)"),
        lambda match: _zh(match[0]),
    ),
)
