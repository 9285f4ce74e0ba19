"""English short forms in Latin letters: Dr., St., e.g., No. 5, pp. 12, C++, AT&T, w/o."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken.rule import Kind, Rule, after, before, full_stop

_TITLES: Final = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Ms", "Dr": "Doctor", "Prof": "Professor",
    "Rev": "Reverend", "Hon": "Honourable", "Gen": "General", "Col": "Colonel", "Maj": "Major",
    "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Cpl": "Corporal",
    "Adm": "Admiral", "Gov": "Governor", "Sen": "Senator", "Rep": "Representative",
    "Pres": "President", "Supt": "Superintendent", "Insp": "Inspector", "Messrs": "Messieurs",
    "Mt": "Mount", "Ft": "Fort",
}  # fmt: skip
_BARE_TITLES: Final = ("Mr", "Mrs", "Dr", "Prof")
_NAMED: Final = {
    "Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Inc": "Incorporated", "Ltd": "Limited",
    "Corp": "Corporation", "Co": "Company", "Bros": "Brothers", "Ave": "Avenue",
    "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway", "Pkwy": "Parkway",
    "Sq": "Square", "Dept": "Department", "Univ": "University", "Assn": "Association",
    "Govt": "Government",
}  # fmt: skip
_PHRASES: Final = {
    "etc": "et cetera", "&c": "et cetera", "et al": "and others",
    "misc": "miscellaneous", "dept": "department", "govt": "government", "Ph.D": "PhD",
    "Ph.D.s": "PhDs",
}  # fmt: skip
_NEVER_LAST: Final = {
    "e.g": "for example", "i.e": "that is", "E.g": "For example", "I.e": "That is",
    "vs": "versus", "cf": "compare", "viz": "namely", "a.k.a": "also known as",
    "approx": "approximately", "Approx": "Approximately", "v": "versus",
    "incl": "including", "excl": "excluding", "esp": "especially",
    "avg": "average", "est": "established", "tel": "telephone", "Tel": "Telephone",
}  # fmt: skip
_NUMBERED: Final = {
    "No": "Number", "NO": "Number", "no": "number", "Nos": "Numbers", "nos": "numbers",
    "Vol": "Volume",
    "vol": "volume", "Vols": "Volumes", "vols": "volumes", "Ch": "Chapter", "ch": "chapter",
    "Fig": "Figure", "fig": "figure", "Figs": "Figures", "figs": "figures", "Sec": "Section",
    "sec": "section", "Eq": "Equation", "eq": "equation", "Art": "Article", "art": "article",
    "Pt": "Part", "pt": "part", "p": "page", "P": "Page", "pp": "pages", "Pp": "Pages",
    "Op": "Opus", "op": "opus", "ca": "circa", "c": "circa", "ext": "extension",
    "Ext": "Extension", "max": "maximum", "min": "minimum", "Apt": "Apartment",
    "apt": "apartment", "Ste": "Suite", "Rm": "Room", "Bldg": "Building", "para": "paragraph",
    "b": "born", "d": "died", "fl": "flourished", "Est": "Established", "Avg": "Average",
    "Hwy": "Highway", "Rte": "Route", "Bk": "Book", "bk": "book",
}  # fmt: skip
_SAINT_NAMES: Final = (
    "Albans Andrew Andrews Anne Augustine Barts Bernard Catherine Catharines Francis George "
    "Gallen Helena Helens Ives James Jean Johns John Joseph Kitts Lawrence Louis Lucia Luke Mark "
    "Martin Mary Michael Moritz Nicholas Pancras Patrick Paul Peter Petersburg Thomas Tropez "
    "Vincent"
)
_SAINTS: Final = frozenset(_SAINT_NAMES.split())
_STREET_BEFORE = re.compile(
    r"(?:\b(?!(?:The|In|At|On|Mount|Near|From|Of|And|But|To)\b)[A-Z]\w*|\d(?:st|nd|rd|th)) $"
)
_SAINT_NEXT = re.compile(r" (?P<name>[A-Z][a-z]+)")
_NAME_NEXT: Final = r"(?= [A-Z(“\"‘']| (?:&|and) (?:Mrs|Ms|Dr|Prof)\b)"
_BRANDS: Final = {"C++": "C plus plus", "C#": "C sharp", "F#": "F sharp", "G++": "G plus plus"}
_SLASHED: Final = {
    "w/o": "without", "w/": "with", "b/c": "because", "c/o": "care of", "w/in": "within",
}  # fmt: skip


_COUNTED_NEXT = re.compile(
    r" \d+ (?:more|others|people|men|women|children|times"
    r"|(?:second|minute|hour|day|week|month|year)s)\b"
)
"""Behind *no.*, the start of another sentence: *He said no. 5 minutes later* …"""


def _words(table: dict[str, str]) -> str:
    return "|".join(re.escape(name) for name in sorted(table, key=len, reverse=True))


def _title(match: re.Match[str]) -> str | None:
    """A title before a name; *Dr.* behind the name of a road is a drive."""
    name = match["title"]
    if name == "Dr" and _is_drive(match):
        return f"Drive{full_stop(match)}"
    if not re.match(_NAME_NEXT, after(match, 12)):
        ends = full_stop(match)
        return f"{_TITLES[name]}{ends}" if ends and name in _BARE_TITLES else None
    return _TITLES[name]


def _is_drive(match: re.Match[str]) -> bool:
    road = re.search(r"\b\d+ (?:[A-Z]\w+ )+$", before(match, 60))
    return bool(road) and not re.match(r" [A-Z]\w+ (?:[a-z]+ed|is|was|has|says)\b", after(match))


def _saint(match: re.Match[str]) -> str | None:
    """``St.`` is a street behind a name, else a saint if a name follows."""
    following = _SAINT_NEXT.match(after(match))
    street = bool(_STREET_BEFORE.search(before(match)))
    if following and (not street or following["name"].removesuffix("'s") in _SAINTS):
        return "Saint"
    if not street or not match[0].endswith("."):
        return None
    return "Street" + ("." if following else full_stop(match))


def _named(match: re.Match[str]) -> str | None:
    """A short form that stands behind a name, and may end the sentence."""
    if not re.search(r"(?:[A-Z&][\w.’'-]*|\d(?:st|nd|rd|th)),? $", before(match)):
        return None
    return _NAMED[match["name"]] + full_stop(match, strict=True)


def _phrase(match: re.Match[str]) -> str | None:
    """A phrase; *etc* in a path is a name."""
    if before(match, 1) in {"/", "\\"}:
        return None
    return _PHRASES[match["phrase"]] + full_stop(match)


def _never_last(match: re.Match[str]) -> str | None:
    """Short forms before more of the sentence; a dot only at the end of everything."""
    if match["never"] == "v" and not (
        re.search(r"\b[A-Z][\w.]+ $", before(match)) and re.match(r" [A-Z]", after(match))
    ):
        return None
    ends = match[0].endswith(".") and not after(match, 1).strip() and not after(match)
    return _NEVER_LAST[match["never"]] + ("." if ends else "")


def _numbered(match: re.Match[str]) -> str | None:
    name = match["numbered"]
    if name in {"No", "no"} and _COUNTED_NEXT.match(after(match)):
        return None
    if name == "min" and re.search(r"\d ?$", before(match)):
        return None
    if name in {"b", "d", "fl"} and not re.match(r" ?\d{4}\b", after(match)):
        return None
    if name in {"c", "ca"} and not re.match(r" ?\d{3,4}", after(match)):
        return None
    space = "" if re.match(r"\s", after(match, 1)) else " "
    return _NUMBERED[name] + space


def _and(match: re.Match[str]) -> str | None:
    """Initials around ``&``; two that could be read as a word get a hyphen."""
    left, right = match[0].split("&")
    return f"{'-'.join(left) if left == 'AT' else left} and {right}"


RULES: Final = (
    Rule(
        Kind.ABBREVIATION,
        re.compile(rf"(?P<title>{_words(_TITLES)})(?:\.|(?={_NAME_NEXT})(?<=Mr|Dr|rs|of))(?!\w)"),
        _title,
    ),
    Rule(Kind.ABBREVIATION, re.compile(r"St(?:\.|(?= [A-Z]))"), _saint),
    Rule(
        Kind.ABBREVIATION,
        re.compile(
            rf"(?P<numbered>{_words(_NUMBERED)})\.(?= ?\d| [A-Z]-?\d| (?:[IVXLC]{{2,}}|[VX])\b)"
        ),
        _numbered,
    ),
    Rule(Kind.ABBREVIATION, re.compile(rf"(?P<name>{_words(_NAMED)})\."), _named),
    Rule(
        Kind.ABBREVIATION,
        re.compile(rf"(?P<phrase>{_words(_PHRASES)})(?:\.|(?<=etc)(?!\w)|(?<=s)(?!\w))"),
        _phrase,
    ),
    Rule(
        Kind.ABBREVIATION,
        re.compile(rf"(?P<never>{_words(_NEVER_LAST)})(?:\.|(?<= vs)(?= ))"),
        _never_last,
    ),
    Rule(
        Kind.ABBREVIATION,
        re.compile(rf"(?:{_words(_BRANDS)})(?![\w+#])"),
        lambda match: _BRANDS[match[0]],
    ),
    Rule(Kind.ABBREVIATION, re.compile(r"[A-Z]{1,3}&[A-Z]{1,3}(?!\w)"), _and),
    Rule(
        Kind.ABBREVIATION,
        re.compile(r"(?:w/o|w/in|b/c|c/o)(?![\w/])|w/(?= ?(?![a-z]\b)[a-zA-Z])"),
        lambda match: _SLASHED[match[0]] + (" " if after(match, 1).isalpha() else ""),
    ),
    Rule(
        Kind.ABBREVIATION,
        re.compile(r"(?P<left>[BCGOP])2(?P<right>[BCGP])(?!\w)"),
        lambda match: f"{match['left']} to {match['right']}",
    ),
)

RULES_EN: Final = (Rule(Kind.VERSION, re.compile(r"[vV](?=\d+\.\d)"), lambda _: "version "),)
RULES_ZH: Final = (Rule(Kind.ABBREVIATION, re.compile(r"N[Oo]\. ?(?=\d)"), lambda _: "第"),)

TRIGGER: Final = "|".join(
    (
        rf"(?:{_words(_TITLES)}|{_words(_NAMED)}|{_words(_NUMBERED)}|{_words(_NEVER_LAST)})\.",
        rf"(?:{_words(_PHRASES)})\b",
        r"(?:Mr|Mrs|Dr|Prof|St|vs)\b",
        _words(_BRANDS),
        _words(_SLASHED),
        r"[A-Z]{1,3}&[A-Z]",
        r"[BCGOP]2[BCGP]\b",
        r"[vV](?=\d+\.\d)",
    )
)
"""What may be a short form, at the start of a word."""
