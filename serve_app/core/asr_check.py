"""Whether a recogniser heard what was to be said.

Words of the text and of what was heard are brought to one form (figures in words, small letters,
no punctuation; in Chinese each sign is a word) and aligned in order. What the text has and nobody
heard is missing; what was heard and the text has not is added; added words that repeat what
stands directly before or behind them are a loop.

A recogniser mishears, and a small one often: names, interjections and foreign words. So the
limits below leave room for single words, in proportion to the text and beyond; they are meant for
what goes wrong in synthesis: a sentence skipped, an end cut off, words said again and again, noise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from serve_app.core.letter_clock import Anchor
from serve_app.core.normalise import normalise
from serve_app.core.spoken.rule import Language
from serve_app.core.text import is_syllabic

MIN_RECALL: Final = 0.5
"""Whisper tiny.en heard 0.58 to 1.00 of the words of 85 clean segments (piper, 6 to 48 words, a
play and a book), and none in noise. Of a play's 168 segments it fell below in three, of which two
passed with another seed."""

FREE_WORDS: Final = 3
"""Missing words that say nothing: a line of one to three words is often misheard as a whole."""

MAX_GAP_WORDS: Final = 5
"""Missing words in a row. In the same 85 segments there were 4 at most; with 3 s of 8 to 11 s cut
out there were 6 to 15."""

MAX_LOOP_WORDS: Final = 4
"""Added words in a row that repeat their neighbours. Clean speech had 1 at most, 3 s said three
times 12 and more."""

MAX_ADDED: Final = 0.2
"""Added words by words of the text, beyond the free ones: speech that runs on. Clean speech had 3
at most."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LETTERS = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word as a recogniser heard it.

    Args:
        text: With its punctuation.
        start_s: When it begins in the audio, seconds.
    """

    text: str
    start_s: float


@dataclass(frozen=True, slots=True)
class Hearing:
    """How what was heard compares with the text.

    Args:
        words: Words of the text.
        heard: How many of them were heard, in order.
        gap: Most missing words in a row.
        added: Words heard that the text has not.
        loop: Most added words in a row that repeat their neighbours.
    """

    words: int
    heard: int
    gap: int
    added: int
    loop: int

    @property
    def recall(self) -> float:
        """Share of the words that were heard; 1 for a text without words."""
        return self.heard / self.words if self.words else 1.0

    @property
    def lost_words(self) -> bool:
        """Words of the text were not spoken, as far as can be heard."""
        return self._too_few or self.gap > MAX_GAP_WORDS

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against the take, in words; empty if nothing does."""
        found = []
        if self._too_few:
            found.append(
                f"only {self.heard} of {self.words} words were heard ({self.recall:.0%}), "
                f"under {MIN_RECALL:.0%}"
            )
        if self.gap > MAX_GAP_WORDS:
            found.append(f"{self.gap} words in a row were not heard, over {MAX_GAP_WORDS}")
        if self.loop > MAX_LOOP_WORDS:
            found.append(f"{self.loop} words in a row were heard again, over {MAX_LOOP_WORDS}")
        if self.added > MAX_ADDED * self.words + FREE_WORDS:
            found.append(f"{self.added} words were heard that are not in the text")
        return tuple(found)

    @property
    def _too_few(self) -> bool:
        missing = self.words - self.heard
        return missing > FREE_WORDS and self.recall < MIN_RECALL


def words_of(text: str, language: Language) -> list[str]:
    """The words of *text* in the form in which they are compared."""
    spoken = unicodedata.normalize("NFKC", normalise(text, language).text).casefold()
    words: list[str] = []
    for found in _WORD.findall(spoken.replace("’", "'")):
        words += _by_sign(found)
    return words


def _by_sign(word: str) -> list[str]:
    """A word, or its signs if it has any that stand for a syllable."""
    parts: list[str] = []
    for char in word:
        if is_syllabic(char) or not parts or is_syllabic(parts[-1][-1]):
            parts.append(char)
        else:
            parts[-1] += char
    return parts


def compare(text: str, heard: str, language: Language) -> Hearing:
    """Compare a segment's text with what was heard.

    Args:
        text: All that is said in the segment.
        heard: What the recogniser wrote.
        language: Of the text.
    """
    said, got = words_of(text, language), words_of(heard, language)
    matched = gap = added = loop = 0
    for tag, a, b, c, d in SequenceMatcher(None, said, got, autojunk=False).get_opcodes():
        if tag == "equal":
            matched += b - a
            continue
        gap = max(gap, b - a)
        extra = max(0, (d - c) - (b - a))
        added += extra
        if extra:
            loop = max(loop, _repeated(got, c, d))
    return Hearing(len(said), matched, gap, added, loop)


def _repeated(words: Sequence[str], start: int, end: int) -> int:
    """How many of the added words ``[start, end)`` say again what stands next to them."""
    longest = 0
    size = end - start
    for period in range(1, size + 1):
        before = sum(at >= period and words[at] == words[at - period] for at in range(start, end))
        behind = sum(
            at + period < len(words) and words[at] == words[at + period] for at in range(start, end)
        )
        longest = max(longest, before, behind)
    return longest


def anchors(text: str, heard: Sequence[HeardWord], language: Language) -> tuple[Anchor, ...]:
    """Where words of *text* were heard, for captions.

    A word counts if it matched together with its neighbours: a lone match may be chance.

    Args:
        text: All that is said in the segment, its utterances joined by spaces.
        heard: Words in order, with their times.
        language: Of the text.
    """
    said = _placed(text, language)
    got = [(word, item.start_s) for item in heard for word in _first(item.text, language)]
    matcher = SequenceMatcher(
        None, [word for word, _ in said], [word for word, _ in got], autojunk=False
    )
    return tuple(
        Anchor(said[block.a + at][1], got[block.b + at][1])
        for block in matcher.get_matching_blocks()
        if block.size > 1
        for at in range(block.size)
    )


def _placed(text: str, language: Language) -> list[tuple[str, int]]:
    """Words of *text* as they are compared, and the letters before each.

    Figures have several words in one place, so only the first of each counts.
    """
    placed: list[tuple[str, int]] = []
    letters = 0
    for found in _WORD.finditer(text):
        parts = _by_sign(found[0])
        for part in parts:
            placed += [(word, letters) for word in words_of(part, language)[:1]]
            letters += len(_LETTERS.findall(part))
    return placed


def _first(word: str, language: Language) -> list[str]:
    """The words in which a heard one is compared; signs of one word share its time."""
    return words_of(word, language)[:1] if language == "en" else words_of(word, language)
