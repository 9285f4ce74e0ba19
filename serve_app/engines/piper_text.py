"""English text as espeak-ng reads it best, and the text it can't read at all.

espeak-ng spells a detached ``!`` as "exclamation", takes the point of ``Mr.`` for the end of a
sentence, glues the words around an ellipsis together, and says "Chinese letter" or nothing where
it has no sounds. So marks are attached, points dropped, ellipses become commas or points, styled
letters become plain ones, pictures (emoji) are left out, and text in other scripts is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from serve_app.engines.base import Line
from serve_app.errors import UnsupportedTextError

SHOWN: Final = 5
"""Unspeakable characters that a message names."""

_APOSTROPHES: Final = "ʼʻ"
_SIGNS: Final = str.maketrans(
    dict.fromkeys(_APOSTROPHES, "'")
    | dict.fromkeys("[]", " ")  # piper-tts takes [[...]] for raw phonemes
)
_FOLDED: Final = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Po", "So"})
_MATHS: Final = frozenset({"Sc", "Sm"})
_SPOKEN_SIGNS: Final = frozenset("%&@#°©®№™µ")
_FRACTION_SLASH: Final = "\N{FRACTION SLASH}"

_TITLE: Final = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St)\.(?=\s)")
_ELLIPSIS: Final = r"(?<=\w)\s*(?:…|\.\s?\.(?:\s?\.)*)+"
_ELLIPSIS_AT_END: Final = re.compile(_ELLIPSIS + r"(?=\W*$|\s+\W*[A-Z])")
_ELLIPSIS_INSIDE: Final = re.compile(_ELLIPSIS)
_DETACHED: Final = re.compile(r"(?<=\w)[\s–—-]+(?=[!?])")
_ORPHANED: Final = re.compile(r"(?<![\w)!?])(?<![\w)!?.,]['\"’”])[!?]+")

_CLAUSE_MARKS: Final = frozenset(",;:")


def require_speakable(lines: Iterable[Line]) -> None:
    """Refuse letters and digits of scripts other than Latin.

    Raises:
        UnsupportedTextError: Names the speaker and the first characters.
    """
    for line in lines:
        strange = [char for char in dict.fromkeys(_folded(line.text)) if _is_strange(char)]
        if strange:
            shown = " ".join(strange[:SHOWN]) + (" ..." if len(strange) > SHOWN else "")
            raise UnsupportedTextError(
                f"piper has no sounds for {len(strange)} characters of {line.speaker!r}: {shown}. "
                "Its voice speaks English; write them in Latin letters, or have the script spoken "
                "by the vibevoice engine",
                "input",
            )


def readable(text: str) -> str:
    """*text* as espeak-ng reads it best; empty if there is nothing in it to say."""
    text = _folded(text).translate(_SIGNS)
    if not any(_is_spoken(char) for char in text):
        return ""
    text = _TITLE.sub(r"\1", text)
    text = _ELLIPSIS_AT_END.sub(".", text)
    text = _ELLIPSIS_INSIDE.sub(",", text)
    text = _DETACHED.sub("", text)
    return _ORPHANED.sub("", text)


def breaths(phonemes: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """Cut a long sentence where it hurts least: after a clause, else between words.

    Args:
        phonemes: One sentence.
        limit: Phonemes a piece may have, at least 1.

    Yields:
        Pieces that joined are *phonemes*.
    """
    start = 0
    while len(phonemes) - start > limit:
        window = range(start + limit, start + 1, -1)
        spaces = [cut for cut in window if phonemes[cut - 1] == " "]
        clauses = [cut for cut in spaces if phonemes[cut - 2] in _CLAUSE_MARKS]
        cut = next(iter(clauses or spaces), start + limit)
        yield phonemes[start:cut]
        start = cut
    yield phonemes[start:]


def _folded(text: str) -> str:
    """Composed accents, plain forms of styled letters and digits, and no pictures."""
    if text.isascii():
        return text
    return "".join(map(_plain, unicodedata.normalize("NFC", text)))


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category not in _FOLDED or char in _SPOKEN_SIGNS:
        return char
    plain = unicodedata.normalize("NFKC", char)
    if _FRACTION_SLASH in plain:
        return char
    return " " if category == "So" and plain == char else plain


def _is_strange(char: str) -> bool:
    if char.isascii() or char in _SPOKEN_SIGNS or char in _APOSTROPHES:
        return False
    category = unicodedata.category(char)
    if category in ("Nd", "Nl"):
        return True
    return category.startswith("L") and not unicodedata.name(char, "").startswith("LATIN ")


def _is_spoken(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LN" or category in _MATHS or char in _SPOKEN_SIGNS
