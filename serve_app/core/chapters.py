"""Which lines of a plain text are headings of chapters.

:mod:`serve_app.core.chapter_times` says where they are in a script and in its audio.

**Marked headings** always count. Such a line has an empty line or another heading before it, or
begins the text; in text without empty lines, and for Chinese, the end of a sentence before it is
enough.

* ``CHAPTER I. Down the Rabbit-Hole``, ``Chapter 12``, ``ACT I. SCENE II.``, ``THE FIRST ACT``: a
  word for a part of a book with a capital, and its number in figures, Roman figures or words. A
  title may follow; behind a number without a mark it starts with a capital or figure and does not
  end as a sentence does, so that ``Chapter 12 is about whales.`` is prose.
* ``第三章 故乡``, ``第1回``, ``楔子``; without a space behind the number the title holds no
  punctuation.
* ``PROLOGUE``, ``Epilogue.`` and the like, alone on a line.
* ``# Title``, and a line ruled below with ``===`` or ``---``.

**Unmarked headings** count only in a text without marked ones, between empty lines: numbers alone
(``IV.``) that count up from one, else lines in capitals (no two alike, with text below).

**Tables of contents** are no chapters: a heading directly followed by the next one is dropped if
the same number occurs again. Nor is anything outside of the body of a Project Gutenberg file.

A heading without a title takes the short line below it as one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from serve_app.core.label import read_label
from serve_app.core.text import clean, ends_sentence

MAX_TITLE_CHARS: Final = 120
_MAX_LINE_CHARS: Final = 200
_MIN_BODY_LETTERS: Final = 200
_LEVELS: Final = {
    **dict.fromkeys(("book", "part", "volume", "act"), 1),
    **dict.fromkeys(("chapter", "canto", "stave", "letter", "episode"), 2),
    **dict.fromkeys(("scene", "section"), 3),
}
_LEVELS_ZH: Final = {
    **dict.fromkeys("卷部篇幕", 1),
    **dict.fromkeys("章回集出折", 2),
    **dict.fromkeys("场节", 3),
}
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_NTH = (
    "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|"
    "thirteenth|fourteenth|fifteenth|last"
)
_KIND = rf"(?P<kind>{'|'.join(_LEVELS)})"
_NUMBER = rf"(?:[0-9]{{1,4}}|[ivxlcdm]{{1,9}}|(?:{_TENS})(?:[- ](?:{_ONES}))?|{_TEENS}|{_ONES})"
_ENGLISH = re.compile(
    rf"(?-i:(?=[A-Z]))(?:{_KIND} (?P<number>{_NUMBER}|the (?:{_NTH}))"
    rf"|(?:the )?(?P<nth>{_NTH}) (?P<kind_after>{'|'.join(_LEVELS)}))"
    r"(?![\w’'])(?P<mark> ?[.:：,—–-]*) ?(?P<title>.*)",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    r"第(?P<space> ?)(?P<number>[0-9０-９〇零一二三四五六七八九十百千两]{1,7})(?P=space)"
    rf"(?P<kind>[{''.join(_LEVELS_ZH)}])(?P<mark>[ .:：、—－-]*)(?P<title>.{{0,40}})"
)
_NAMED = re.compile(
    r"(?:(?-i:(?=[A-Z]))(?:prologue|epilogue|preface|introduction|foreword|afterword|interlude|"
    r"conclusion|postscript|dedication|appendix(?: [A-Za-z0-9]{1,4})?)\.?)"
    r"|序|序章|序言|序幕|自序|楔子|引子|引言|前言|尾声|后记|跋|番外|终章|附录",
    re.IGNORECASE,
)
_HASHES = re.compile(r"(?P<hashes>#{1,6}) +(?P<title>[^#].*?) *#*")
_RULE = re.compile(r"=+|-{3,}|~{3,}")
_BARE = re.compile(r"(?P<number>[0-9]{1,3}|[IVXLC]{1,8})\.?")
_ROMAN: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_HAN = re.compile("[\u3400-\u9fff]")
_PUNCTUATION_ZH = re.compile("[，。！？；：“”…,.!?;:]")
_GUTENBERG = re.compile(r"\*\*\* ?(?P<side>START|END) OF (?:THE|THIS) PROJECT GUTENBERG .*")
_GUTENBERG_TITLE = re.compile(r"Title: (.{1,200})")


@dataclass(frozen=True, slots=True)
class Heading:
    """A line that a chapter begins with.

    Args:
        line: Index in ``clean(text).split("\\n")``.
        title: As a list of chapters shows it.
        level: 1 for the outermost kind.
    """

    line: int
    title: str
    level: int


@dataclass(frozen=True, slots=True)
class _Found(Heading):
    """A heading with what tells two of a kind apart."""

    number: str = ""
    bare: bool = False


def headings(text: str) -> tuple[Heading, ...]:
    """The headings of a plain text, in order; see the module docstring for the rules."""
    lines = clean(text).split("\n")
    body = gutenberg_body(lines)
    blank = any(not lines[at] for at in body)
    marked: list[_Found] = []
    for at in body:
        below_another = bool(marked) and marked[-1].line == at - 1
        begins = below_another or _may_begin(lines, at, body.start, has_blank_lines=blank)
        if lines[at] and begins:
            marked += _marked(lines, at)
    found = _without_contents(lines, marked) or _counted(lines, body) or _capitals(lines, body)
    taken = {heading.line for heading in found}
    return tuple(
        Heading(
            heading.line,
            _titled(lines, heading, taken)[:MAX_TITLE_CHARS] if heading.bare else heading.title,
            heading.level,
        )
        for heading in found
    )


def paused(text: str, found: Sequence[Heading], pause_s: float) -> str:
    """*text* with a pause before each chapter but the one it begins with.

    Segments never reach over a pause, so each chapter then begins exactly where a segment does.
    Lines stay where they are: *found* holds for the result too.

    Args:
        text: Clean text.
        found: Headings in it.
        pause_s: Seconds, 0 < pause_s <= 30.
    """
    lines = text.split("\n")
    first = next((at for at, line in enumerate(lines) if line), 0)
    for at in {heading.line for heading in found} - {first}:
        if not lines[at].startswith("["):
            lines[at] = f"[pause {pause_s:g}s] {lines[at]}"
    return "\n".join(lines)


def gutenberg_body(lines: Sequence[str]) -> range:
    """The lines of a book without Project Gutenberg's header and footer; all, if it has none."""
    start, stop = 0, len(lines)
    for at, line in enumerate(lines):
        found = _GUTENBERG.match(line)
        if found is None:
            continue
        if found["side"] == "END":
            stop = at
            break
        # The marker may be wrapped over two lines.
        start = at + 1 if line.endswith("***") else at + 2
    return range(min(start, stop), stop)


def gutenberg_title(text: str) -> str | None:
    """The title in Project Gutenberg's header, if there is one."""
    lines = text.split("\n")
    header = lines[: gutenberg_body(lines).start]
    return next((found[1] for line in header if (found := _GUTENBERG_TITLE.fullmatch(line))), None)


def _may_begin(lines: Sequence[str], at: int, first: int, *, has_blank_lines: bool) -> bool:
    """Whether what stands before a line lets it be a heading."""
    if at == first or not lines[at - 1] or _RULE.fullmatch(lines[at - 1]):
        return True
    return ends_sentence(lines[at - 1]) and (
        not has_blank_lines or bool(_HAN.search(lines[at])) or lines[at].startswith("#")
    )


def _marked(lines: Sequence[str], at: int) -> Iterator[_Found]:
    line = lines[at]
    if len(line) > _MAX_LINE_CHARS:
        return
    below = lines[at + 1] if at + 1 < len(lines) else ""
    if found := _HASHES.fullmatch(line):
        yield _Found(at, found["title"][:MAX_TITLE_CHARS], len(found["hashes"]))
    elif (found := _ENGLISH.fullmatch(line)) and _is_english(found):
        kind = (found["kind"] or found["kind_after"]).lower()
        number = (found["number"] or found["nth"]).lower()
        yield _Found(
            at, _short(line), _LEVELS[kind], f"{kind} {number}", not found["title"].strip()
        )
    elif (found := _CHINESE.fullmatch(line)) and _is_chinese(found):
        number = found["number"] + found["kind"]
        yield _Found(at, _short(line), _LEVELS_ZH[found["kind"]], number, not found["title"])
    elif (_NAMED.fullmatch(line) or _is_ruled(line, below)) and read_label(line) is None:
        yield _Found(at, _short(line), 2 if below[:1] != "=" else 1)


def _short(line: str) -> str:
    return line.rstrip()[:MAX_TITLE_CHARS]


def _is_ruled(line: str, below: str) -> bool:
    """Whether a line has a rule below it, about as long as itself."""
    wide = sum(2 if _HAN.match(char) else 1 for char in line)
    return (
        _RULE.fullmatch(below) is not None
        and len(below) >= 3
        and wide <= 2 * len(below)
        and any(map(str.isalnum, line))
    )


def _is_english(found: re.Match[str]) -> bool:
    title, mark = found["title"].strip(), found["mark"].strip()
    if not title:
        return True
    prose = ends_sentence(title) and not title.isupper()
    if mark and mark != ",":
        return len(found[0]) <= MAX_TITLE_CHARS or not prose
    if mark:
        return not prose
    return not prose and not title[0].islower() and title[0].isalnum()


def _is_chinese(found: re.Match[str]) -> bool:
    if found["mark"] or not found["title"]:
        return not found["title"].endswith(("。", "，", "；"))
    return not _PUNCTUATION_ZH.search(found["title"])


def _without_contents(lines: Sequence[str], found: Sequence[_Found]) -> list[_Found]:
    """Drop the lines of a table of contents."""
    left = Counter(heading.number for heading in found)
    kept = []
    for heading, after in pairwise((*found, None)):
        assert heading is not None
        left[heading.number] -= 1
        follows = after is not None and not any(lines[heading.line + 1 : after.line])
        if not (heading.number and follows and left[heading.number]):
            kept.append(heading)
    return kept


def _alone(lines: Sequence[str], body: range) -> Iterator[tuple[int, str]]:
    """Lines between empty ones."""
    for at in body:
        before = at == body.start or not lines[at - 1]
        if lines[at] and before and (at + 1 >= body.stop or not lines[at + 1]):
            yield at, lines[at]


def _counted(lines: Sequence[str], body: range) -> list[_Found]:
    """Numbers alone on their lines, if they count up from one."""
    found: list[_Found] = []
    for at, line in _alone(lines, body):
        bare = _BARE.fullmatch(line)
        if bare is not None and _value(bare["number"]) == len(found) + 1:
            found.append(_Found(at, line, 2, bare["number"], bare=True))
    return found if len(found) > 1 else []


def _value(number: str) -> int:
    if number.isdecimal():
        return int(number)
    values = [_ROMAN[sign] for sign in number]
    signs = (-one if one < after else one for one, after in pairwise((*values, 0)))
    return sum(signs)


def _capitals(lines: Sequence[str], body: range) -> list[_Found]:
    """Lines in capitals that have text below, no two alike."""
    found = [
        (at, line)
        for at, line in _alone(lines, body)
        if line.isupper()
        and len(line) <= 60
        and line[0].isalnum()
        and line[-1] not in ",;:"
        and sum(map(str.isalpha, line)) > 3
    ]
    alike = Counter(line for _, line in found)
    with_text = [
        (at, line)
        for (at, line), after in pairwise((*found, (body.stop, "")))
        if alike[line] == 1
        and sum(len(text) for text in lines[at + 1 : after[0]]) >= _MIN_BODY_LETTERS
    ]
    return [_Found(at, line, 2) for at, line in with_text] if len(with_text) > 1 else []


def _titled(lines: Sequence[str], heading: _Found, taken: set[int]) -> str:
    """The title of a heading without one: with the line below, if that is short and alone."""
    at = heading.line + 1
    if at < len(lines) and not lines[at]:
        at += 1
    line = lines[at] if at < len(lines) else ""
    behind = lines[at + 1] if at + 1 < len(lines) else ""
    fits = (
        line
        and at not in taken
        and not behind
        and len(line) <= 80
        and not line[0].islower()
        and line[0].isalnum()
        and not line.endswith((".", ",", ";", ":", "。", "，", "；", "：", "”", "’", '"'))
        and read_label(line) is None
    )
    if not fits:
        return heading.title
    gap = "" if heading.title.endswith((".", ":", "—")) or _HAN.match(line) else "."
    return f"{heading.title}{gap} {line}"
