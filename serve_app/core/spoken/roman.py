"""Roman numerals: Chapter IV, Henry VIII, World War II, 第IV章; the pronoun I is none."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en, numbers_zh
from serve_app.core.spoken.rule import Kind, Rule, after, before

_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID = re.compile(r"(?=.)M{0,3}(?:C[MD]|D?C{0,3})(?:X[CL]|L?X{0,3})(?:I[XV]|V?I{0,3})")
_NUMERAL: Final = r"(?:[IVXLCDM]+|[ivx]{2,})"
_PARTS: Final = (
    "act apollo article book canto chapter class figure grade level mark movement olympiad part "
    "phase section scene stage table title type volume vol war bowl episode schedule appendix "
    "psalm layer"
)
_PART_BEFORE = re.compile(
    rf"\b(?P<part>{'|'.join(_PARTS.split())})s?\.? "
    rf"(?:{_NUMERAL}(?:, and | and | or | to |, ?| ?[-–—] ?))*$",
    re.IGNORECASE,
)
_RULERS: Final = (
    "Albert Alexander Alfonso Baldwin Benedict Boniface Carl Catherine Charles Christian Clement "
    "Constantine Darius David Edward Elizabeth Ferdinand Francis Frederick Friedrich George "
    "Gregory Gustav Haakon Harald Henri Henry Innocent Isabella Ivan James John Juan Julius "
    "Justinian Leo Leopold Louis Ludwig Manuel Margaret Mary Mehmed Murad Napoleon Nicholas Olav "
    "Otto Paul Pedro Peter Philip Pius Ptolemy Rameses Ramesses Richard Robert Rudolf Selim "
    "Sixtus Suleiman Theodore Umberto Urban Victor Wilhelm William Xerxes"
)
_RULER_BEFORE = re.compile(rf"\b(?:{'|'.join(_RULERS.split())}) $")
_TITLED_BEFORE = re.compile(
    r"\b(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Sultan|Prince|Princess|Duke|Saint)"
    r" [A-Z]\w+ $"
)
_PERSON_BEFORE = re.compile(r"\b[A-Z][a-z]+ (?:[A-Z]\. )?[A-Z][a-z]+,? $")
_WORD_BEFORE = re.compile(r"\b(?!(?:The|An|This|That|His|Her|My|Your|Our|Their)\b)[A-Z]\w+ $")
_ONE_IS_NAME = re.compile(r"[.,;:!?)’'”\"]|$| of\b| and [A-Z]| \(")
_GENERIC: Final = range(2, 40)
_NEVER: Final = frozenset({"XX", "XXX"})


def value(numeral: str) -> int | None:
    """What a numeral stands for, in either case; None if it is not well formed."""
    numeral = numeral.upper()
    if not _VALID.fullmatch(numeral):
        return None
    values = [_VALUES[letter] for letter in numeral]
    signs = [-1 if low < high else 1 for low, high in zip(values, [*values[1:], 0], strict=True)]
    return sum(sign * number for sign, number in zip(signs, values, strict=True))


def _read(match: re.Match[str]) -> str | None:
    first = value(match["first"])
    last = value(match["last"]) if match["last"] else None
    if first is None or (match["last"] and last is None):
        return None
    lead = before(match, 60)
    part = _PART_BEFORE.search(lead)
    if part:
        if not _numbers_part(match, part):
            return None
        words = numbers_en.cardinal(first)
        return f"{words} to {numbers_en.cardinal(last)}" if last else words
    if last or match["first"].islower():
        return None
    return _named(match, lead, first)


def _numbers_part(match: re.Match[str], part: re.Match[str]) -> bool:
    """Whether a numeral behind a word like *chapter* is one; a single letter may be a word."""
    numeral = match["first"]
    if len(numeral) > 1 or match["last"]:
        return True
    if numeral not in "IVX":
        return False
    listed = part.end("part") + 2 < part.end()
    return (
        numeral != "I"
        or part["part"].lower() == "war"
        or listed
        or (
            part["part"][0].isupper()
            and (
                not re.match(r" [a-z]", after(match))
                or bool(re.match(r" (?:and|or|of|to) ", after(match)))
            )
        )
    )


def _named(match: re.Match[str], lead: str, number: int) -> str | None:
    """A numeral behind a name: that of a ruler or a descendant, or one more of a kind."""
    if _RULER_BEFORE.search(lead) or _TITLED_BEFORE.search(lead):
        if number == 1 and not _ONE_IS_NAME.match(after(match)):
            return None
        return f"the {numbers_en.ordinal(number).capitalize()}" if number < 40 else None
    if match["first"] in {"II", "III", "IV"} and _PERSON_BEFORE.search(lead):
        kind = re.search(r"\b(?:World|Great|Final|Super|The|New) ", lead)
        return None if kind else f"the {numbers_en.ordinal(number).capitalize()}"
    if len(match["first"]) < 2 or number not in _GENERIC or match["first"] in _NEVER:
        return None
    return numbers_en.cardinal(number) if _WORD_BEFORE.search(lead) else None


def _read_zh(match: re.Match[str]) -> str | None:
    number = value(match[0])
    return None if number is None else numbers_zh.cardinal(number)


RULES: Final = (
    Rule(
        Kind.ROMAN,
        re.compile(r"(?:(?<=第)|(?<=第 ))[IVX]+|[IVX]+(?= ?(?:型|期|级|类|世|度|章|卷|部))"),
        _read_zh,
    ),
    Rule(
        Kind.ROMAN,
        re.compile(rf"(?P<first>{_NUMERAL})(?:[-–—](?P<last>{_NUMERAL}))?(?![\w&]|\.[A-Z])"),
        _read,
    ),
)
TRIGGER: Final = (
    r"(?!(?<!War )I(?:['’]| (?!and |of |or |to )[a-z]))(?:[IVXLCDM]+|[ivx]{2,})(?![a-zA-Z0-9_&])"
)
"""What may be a numeral, at the start of a word."""
