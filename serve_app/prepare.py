"""From what a client asks for to what is spoken: script, voices, words. No HTTP, and no plan yet.

Streams and jobs share it, so that the same request is the same audio as either.

Text is read as a script first and put into words after (:mod:`serve_app.core.normalise`), paragraph
by paragraph, so that labels and pauses stay what they are. What has no reading is counted: the
answer tells it, and nothing is left out in silence.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from serve_app.core.casting import ANY_VOICE, cast, with_stock_names
from serve_app.core.dialogue import Said, script_of, voices_of
from serve_app.core.normalise import normalise
from serve_app.core.script import Paragraph, Script, Turn, parse
from serve_app.core.spoken.rule import Kind, Language
from serve_app.core.text import speakable
from serve_app.engines.base import EngineInfo, Line
from serve_app.errors import InvalidInputError

_SHAPELESS: Final = frozenset({"Co", "Cs"})
_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class ScriptOrder:
    """What a client wants to hear, free of HTTP.

    Args:
        text: A script, or the turns of a dialogue.
        voice: Voice id, name, alias or ``auto``.
        speakers: Voice by speaker's name, as far as the client cares.
        language: How figures and signs are read; None tells it from the text around them.
        in_words: Put figures, dates and signs into words; else the engine reads the text as it is.
        options: Engine options by name.
    """

    text: str | tuple[Said, ...]
    voice: str = ANY_VOICE
    speakers: Mapping[str, str] = field(default_factory=dict)
    language: Language | None = None
    in_words: bool = True
    options: tuple[tuple[str, float], ...] = ()

    @property
    def characters(self) -> int:
        """Length of the text as it was sent."""
        if isinstance(self.text, str):
            return len(self.text)
        return sum(len(turn.text) for turn in self.text)


@dataclass(frozen=True, slots=True)
class TextReport:
    """What became of a text.

    Args:
        characters: As it was sent.
        readings: How many stretches were put into words, by what they are.
        unspoken: How often each character was met that has no reading.
    """

    characters: int
    readings: Mapping[str, int]
    unspoken: Mapping[str, int]

    @property
    def unspoken_characters(self) -> int:
        """How many characters have no reading."""
        return sum(self.unspoken.values())

    def to_json(self) -> dict[str, object]:
        """As the API answers; the first few dozen characters are named."""
        shown = list(self.unspoken.items())[:_SHOWN]
        return {
            "characters": self.characters,
            "normalised": dict(self.readings),
            "unspoken_characters": self.unspoken_characters,
            "unspoken": {_shown(char): count for char, count in shown},
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A script that can be planned.

    Args:
        script: In words.
        voices: Voice id by speaker.
        report: What became of the text.
    """

    script: Script
    voices: dict[str, str]
    report: TextReport


@dataclass(frozen=True, slots=True)
class Ability:
    """What the ingress knows about its engine without having it.

    Args:
        check: Refuses lines that the engine can't speak.
        options: Names of the options that it takes.
        aliases: Voice id by a name that clients may send.
    """

    check: Callable[[tuple[Line, ...]], None] = lambda _lines: None
    options: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)


def prepare(order: ScriptOrder, engine: EngineInfo, ability: Ability) -> Prepared:
    """Read, cast and check a script; blocks.

    Raises:
        InvalidInputError: The order can't be served.
    """
    _require_options(order, engine, ability.options)
    script = (
        parse(order.text, order.speakers) if isinstance(order.text, str) else script_of(order.text)
    )
    asked = {} if isinstance(order.text, str) else voices_of(order.text)
    voices = cast(
        script.speakers,
        {voice.id: voice.name for voice in engine.voices},
        requested=order.voice,
        explicit={**order.speakers, **asked},
        aliases=with_stock_names(ability.aliases, [voice.id for voice in engine.voices]),
    )
    _require_language(order.language, voices.values(), engine)
    script, report = _told(script, order)
    ability.check(
        tuple(
            Line(turn.speaker, voices[turn.speaker], paragraph.text)
            for turn in script.turns
            for paragraph in turn.paragraphs
        )
    )
    return Prepared(script, voices, report)


def _require_options(order: ScriptOrder, engine: EngineInfo, known: frozenset[str]) -> None:
    for name, _ in order.options:
        if name not in known:
            raise InvalidInputError(
                f"The engine {engine.name!r} has no {name}; leave it out, or use an engine that "
                "has it (vibevoice).",
                name,
            )


def _require_language(language: str | None, voices: Iterable[str], engine: EngineInfo) -> None:
    spoken = {voice.id: voice.languages for voice in engine.voices}
    for voice in voices:
        if language is not None and language not in spoken[voice]:
            raise InvalidInputError(
                f"The voice {voice!r} speaks {', '.join(spoken[voice])}, not {language}; choose "
                "another one, or leave 'language' out.",
                "language",
            )


class _Reader:
    """Puts paragraphs into words and counts what it does."""

    def __init__(self, order: ScriptOrder) -> None:
        self._order = order
        self.readings: Counter[str] = Counter()
        self.unspoken: Counter[str] = Counter()

    def read(self, paragraph: Paragraph) -> Paragraph:
        """The paragraph as it is sent to the engine; it always holds a letter or digit."""
        found = normalise(paragraph.text, self._order.language)
        self.unspoken.update({sign.char: sign.count for sign in found.unspoken})
        if not self._order.in_words or not speakable(found.text):
            return paragraph
        self.readings.update(c.kind.value for c in found.changes if c.kind is not Kind.UNSPOKEN)
        return replace(paragraph, text=found.text)


def _told(script: Script, order: ScriptOrder) -> tuple[Script, TextReport]:
    """The script in words, and what became of its text."""
    reader = _Reader(order)
    turns = tuple(
        Turn(turn.speaker, tuple(reader.read(paragraph) for paragraph in turn.paragraphs))
        for turn in script.turns
    )
    unspoken = _cleaned_away(order) + reader.unspoken
    report = TextReport(order.characters, dict(reader.readings), dict(unspoken))
    return replace(script, turns=turns), report


def _cleaned_away(order: ScriptOrder) -> Counter[str]:
    """Private characters and halves of pairs, which no script holds any more."""
    texts = [order.text] if isinstance(order.text, str) else [turn.text for turn in order.text]
    found: Counter[str] = Counter()
    for text in texts:
        for char in set(text):
            if unicodedata.category(char) in _SHAPELESS:
                found[char] += text.count(char)
    return found


def _shown(char: str) -> str:
    return char if char.isprintable() else f"U+{ord(char):04X}"
