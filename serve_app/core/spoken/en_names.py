"""English readings of figures that name something: versions, verses, zip codes, flights."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.en_numbers import PLURAL, number
from serve_app.core.spoken.rule import Kind, Rule, after, before

_ZIP_BEFORE = re.compile(r"\b[A-Z]{2} $")
_SPELLED_BEFORE = re.compile(
    r"(?:\b(?:zip|postal|area|pass|access|security|verification|confirmation|dialling)? ?code"
    r"|\b(?:zip|postcode|PIN|passcode|password|OTP|ID)"
    r"|\b(?:account|order|tracking|serial|reference|confirmation|licen[sc]e|badge|ticket|case)"
    r" (?:number|no\.))(?: is| was)?:? ?#?$|#$",
    re.IGNORECASE,
)
_CODE_BEFORE = re.compile(
    r"\b(?:RFC|ISO|HTTP|[Ee]rror|[Pp]ort|[Ff]light|[Rr]oom|[Rr]oute|[Hh]ighway"
    r"|[Ii]nterstate|[Ss]uite|[Aa]partment) $"
)
_LETTERS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Z]{1,4}$")
_BOOKS: Final = (
    "Genesis|Exodus|Leviticus|Numbers|Deuteronomy|Joshua|Judges|Ruth|Samuel|Kings|Chronicles|Ezra"
    "|Nehemiah|Esther|Job|Psalms?|Proverbs|Ecclesiastes|Isaiah|Jeremiah|Lamentations|Ezekiel|Daniel"
    "|Hosea|Joel|Amos|Jonah|Micah|Nahum|Habakkuk|Zephaniah|Haggai|Zechariah|Malachi|Matthew|Mark"
    "|Luke|John|Acts|Romans|Corinthians|Galatians|Ephesians|Philippians|Colossians|Thessalonians"
    "|Timothy|Titus|Philemon|Hebrews|James|Peter|Jude|Revelation"
)
_BOOK_BEFORE = re.compile(rf"\b(?:{_BOOKS}) $")


def _spelled(match: re.Match[str]) -> str | None:
    """Figures said one by one: a zip code, a PIN."""
    lead = before(match, 32)
    figures = match[0]
    if len(figures) == 5 and _ZIP_BEFORE.search(lead):
        return numbers_en.digits(figures)
    least = 5 if lead.endswith("#") else 3
    if len(figures) < least or not _SPELLED_BEFORE.search(lead) or PLURAL.match(after(match)):
        return None
    return numbers_en.digits(figures)


def _code(match: re.Match[str]) -> str | None:
    """Figures read in pairs: flight three seventy, error four oh four."""
    lead = before(match)
    coded = _CODE_BEFORE.search(lead) and not PLURAL.match(after(match))
    return numbers_en.paired(match[0]) if coded or _LETTERS_BEFORE.search(lead) else None


def _version(match: re.Match[str]) -> str:
    """A version, or an address on the net with its port or the size of its network."""
    parts = match["parts"].split(".")
    address = len(parts) == 4 and all(len(part) < 4 and int(part) < 256 for part in parts)
    words = (" dot " if address else " point ").join(map(numbers_en.integer, parts))
    if not match["port"]:
        return words
    if match["mark"] == "/":
        return f"{words} slash {numbers_en.integer(match['port'])}"
    colon = f"colon {numbers_en.digits(match['port'])}"
    return f"{words} {colon if address else numbers_en.integer(match['port'])}"


def _verse(match: re.Match[str]) -> str | None:
    """A chapter and a verse, or some, of a book of the Bible."""
    if not _BOOK_BEFORE.search(before(match)):
        return None
    words = f"{number(match['a'])} {number(match['b'])}"
    return f"{words} to {number(match['c'])}" if match["c"] else words


_END: Final = r"(?!\d|[.,:/^×x–-]\d|%|(?:st|nd|rd|th|e|x)\b)"

RULES: Final = (
    Rule(
        Kind.VERSION,
        re.compile(
            r"(?P<parts>\d+(?:\.\d+){2,})(?:(?P<mark>[:/])(?P<port>\d{1,5})(?!\d))?(?![\d,])"
        ),
        _version,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"(?P<a>\d{1,3}):(?P<b>\d{1,3})(?:[-–](?P<c>\d{1,3}))?(?![\d:]|[-–]\d)"),
        _verse,
    ),
    Rule(Kind.NUMBER, re.compile(rf"\d{{3,}}{_END}"), _spelled),
    Rule(Kind.NUMBER, re.compile(rf"\d{{3,4}}{_END}"), _code),
)
