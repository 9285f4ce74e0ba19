"""A dialogue given as turns instead of as text: the same script rules, without labels to guess.

Each turn is written as a labelled line with a stand-in for its speaker's name, so that names need
not look like labels, and no line of a turn's text is ever taken for one. Blank lines and pauses in
a text mean what they mean in a script (:mod:`serve_app.core.script`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serve_app.core.label import MAX_LABEL_CHARS, name_key
from serve_app.core.script import MAX_PAUSE_S, MAX_SPEAKERS, Script, parse
from serve_app.core.text import clean, join_lines, speakable
from serve_app.errors import EmptyInputError, InvalidInputError, TooManySpeakersError

_NAMES_SHOWN: Final = 40
_STAND_INS: Final = ("Speaker A", "Speaker B", "Speaker C", "Speaker D")


@dataclass(frozen=True, slots=True)
class Said:
    """What one speaker says at a time.

    Args:
        speaker: Name; case, width and kind of apostrophe don't tell two speakers apart.
        text: What is said.
        pause_s: Silence before it, 0..30 s; None leaves the usual one.
        voice: Voice of this speaker, in this turn and all others; None leaves the choice.
    """

    speaker: str
    text: str
    pause_s: float | None = None
    voice: str | None = None


def script_of(turns: Sequence[Said]) -> Script:
    """Read a dialogue.

    Raises:
        EmptyInputError: There is nothing to speak, or a turn without any text.
        InvalidInputError: A name is empty or too long, or a pause is out of range.
        ScriptError: Pauses next to each other add up to more than 30 s.
        TooManySpeakersError: More than four names; the message lists them.
    """
    if not turns:
        raise EmptyInputError("The dialogue has no turns; send at least one.", "turns")
    speakers = _speakers(turns)
    names = list(dict.fromkeys(speakers))
    if len(names) > MAX_SPEAKERS:
        raise TooManySpeakersError(
            f"The dialogue has {len(names)} speakers: {', '.join(names[:_NAMES_SHOWN])}. The limit "
            f"is {MAX_SPEAKERS}. Give the same name to roles that may share a voice.",
            "turns",
        )
    stand_ins = dict(zip(names, _STAND_INS, strict=False))
    lines: list[str] = []
    for number, (turn, name) in enumerate(zip(turns, speakers, strict=True)):
        lines += _lines(turn, number, stand_ins[name])
    shown = {stand_in: name for name, stand_in in stand_ins.items()}
    return _renamed(parse("\n".join(lines), _STAND_INS), shown)


def voices_of(turns: Sequence[Said]) -> dict[str, str]:
    """The voices that turns ask for, by speaker.

    Raises:
        InvalidInputError: A speaker is given two voices.
    """
    voices: dict[str, str] = {}
    for number, (turn, name) in enumerate(zip(turns, _speakers(turns), strict=True)):
        if turn.voice is not None and voices.setdefault(name, turn.voice) != turn.voice:
            raise InvalidInputError(
                f"{name!r} has the voices {voices[name]!r} and {turn.voice!r}; a speaker has one "
                "voice. Give the other one to a speaker of another name.",
                f"turns.{number}.voice",
            )
    return voices


def _speakers(turns: Sequence[Said]) -> list[str]:
    """Each turn's speaker, as the name was first written."""
    shown: dict[str, str] = {}
    speakers = []
    for number, turn in enumerate(turns):
        name = _name(turn.speaker, number)
        speakers.append(shown.setdefault(name_key(name), name))
    return speakers


def _name(speaker: str, number: int) -> str:
    name = join_lines([clean(speaker)])
    if not speakable(name) or len(name) > MAX_LABEL_CHARS:
        raise InvalidInputError(
            f"A speaker's name needs a letter or digit and at most {MAX_LABEL_CHARS} characters; "
            f"turn {number} has {len(name)} characters of a name.",
            f"turns.{number}.speaker",
        )
    return name


def _lines(turn: Said, number: int, stand_in: str) -> list[str]:
    """A turn as lines of a script; a backslash keeps a line from being a label."""
    if turn.pause_s is not None and not 0 <= turn.pause_s <= MAX_PAUSE_S:
        raise InvalidInputError(
            f"A pause of {turn.pause_s:g} s is not within 0..{MAX_PAUSE_S:g} s.",
            f"turns.{number}.pause_s",
        )
    first, *others = clean(turn.text).strip("\n").split("\n")
    if not first:
        raise EmptyInputError(
            f"Turn {number} has no text; leave it out, or write '...' for a short silence.",
            f"turns.{number}.text",
        )
    pause = [] if turn.pause_s is None else [f"[pause {turn.pause_s:.3f}s]"]
    return [*pause, f"{stand_in}: {first}", *(f"\\{line}" if line else "" for line in others)]


def _renamed(script: Script, names: dict[str, str]) -> Script:
    turns = tuple(replace(turn, speaker=names[turn.speaker]) for turn in script.turns)
    return replace(script, turns=turns, speakers=tuple(names[name] for name in script.speakers))
