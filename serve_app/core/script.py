"""From text to turns: who says what, in which paragraphs, after which pauses.

These rules decide what is spoken by whom; they are hard to change once scripts are in use. Nothing
that can be heard is ever dropped: every letter and digit of the text is in a paragraph, but for
those of the labels and the pauses that were understood as such.

**Dialogue or prose.** Labels (:mod:`serve_app.core.label` says what a label is) make a text a
dialogue if one of them is certain (``Speaker 1``, ``Narrator``, or a name that the caller knows),
or occurs twice; or if there are several and the first line has one, or at least half of the lines
do; blank lines and lines of pauses don't count. Otherwise labels are plain text and spoken, and all
of it is the narrator's: one line of a text that starts like a label (``Breaking: the mayor has
resigned.``) is prose. A line that starts with a backslash is never a label; the backslash goes.

**Turns.** In a dialogue a label starts a turn, also if the same speaker had the last one. A line
without a label goes on with the turn, in the same paragraph; behind a blank line it starts a new
paragraph of the same turn. What stands before the first label is the narrator's. A label may stand
alone on its line; a label with nothing at all behind it in the whole text is plain text, unless
the same name occurs elsewhere.

**Paragraphs** end at blank lines; a single newline is a wrap. If a prose text has no blank line at
all, a line that ends in terminal punctuation (closing quotes aside) ends a paragraph too.

**Pauses.** ``[pause]`` (1 s), ``[pause 1.5s]``, ``[pause 1,5s]``, ``[pause 500ms]``, ``[pause: 2]``
(seconds), in any case, anywhere in a line: the paragraph ends there, and the pause comes before
what follows, whoever says it. Several add up. Behind all text they are the script's final pause.
More than 30 s between two paragraphs is an error. Other text in brackets is spoken.

**Silence.** A paragraph without a letter or digit (``- !``, ``* * *``) is joined to the one before
it in its turn, else to the one behind it; a pause between the two moves behind it. A turn with
nothing else (``Bob: ...``, ``Bob:``) is a turn without speech: it becomes 0.5 s of pause before
what follows. Its speaker stays in the list of speakers and counts against the limit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from serve_app.core.label import (
    Grade,
    Label,
    name_key,
    read_label,
    speaker_keys,
    without_aside,
)
from serve_app.core.text import clean, ends_sentence, join_lines, speakable
from serve_app.errors import EmptyInputError, ScriptError, TooManySpeakersError

NARRATOR: Final = "Narrator"
"""Speaks what no label claims. A label of this name is the same speaker."""

MAX_SPEAKERS: Final = 4
MAX_PAUSE_S: Final = 30.0
PAUSE_S: Final = 1.0
SILENT_TURN_S: Final = 0.5
_NAMES_SHOWN: Final = 40

_PAUSE = re.compile(
    r"\[ ?pause ?[:：]? ?(?:(?P<size>[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+) ?"
    r"(?P<unit>ms|milliseconds?|s|secs?|seconds?)?)? ?\]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text spoken in one go.

    Args:
        text: Clean text in one line; holds a letter or digit.
        pause_s: Explicit pause before it, 0..30 s, or None.
    """

    text: str
    pause_s: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says until the next label.

    Args:
        speaker: Name as first written in the script.
        paragraphs: At least one.
    """

    speaker: str
    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A whole text.

    Args:
        turns: In order; at least one.
        speakers: Every name in order of first appearance, also those with nothing to say.
        final_pause_s: Explicit pause behind the last turn, or None.
    """

    turns: tuple[Turn, ...]
    speakers: tuple[str, ...]
    final_pause_s: float | None = None


def parse(text: str, named: Iterable[str] = ()) -> Script:
    """Read a script; see the module docstring for the rules.

    Args:
        text: Any string; it is cleaned first.
        named: Names of which the caller knows that they are speakers', if they occur.
    Raises:
        EmptyInputError: There is nothing to speak.
        ScriptError: Pauses next to each other add up to more than 30 s.
        TooManySpeakersError: More than four names; the message lists them.
    """
    known = frozenset(map(name_key, named))
    lines = [_read_line(line) for line in clean(text).strip("\n").split("\n")]
    lines = _without_asides(lines, known)
    keys = _names(lines, known)
    unwrapped = not keys and all(line.text or line.pauses for line in lines)
    builder = _Builder()
    for line in lines:
        if not (line.text or line.pauses):
            builder.end_paragraph()
        for pause_s in line.pauses:
            builder.pause(pause_s)
        said = line.text
        if line.label is not None and line.label.key in keys:
            builder.start_turn(line.label)
            said = line.label.rest
        _say(builder, said)
        if unwrapped and ends_sentence(said):
            builder.end_paragraph()
    return builder.script()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line without the pauses in front of it and without the backslash that disarms a label."""

    pauses: tuple[float, ...]
    text: str
    label: Label | None


def _read_line(line: str) -> _Line:
    pauses = []
    start = 0
    while match := _PAUSE.match(line, start):
        pauses.append(_seconds(match))
        start = match.end() + (line[match.end() : match.end() + 1] == " ")
    text = line[start:]
    if text.startswith("\\"):
        return _Line(tuple(pauses), text[1:].strip(), None)
    return _Line(tuple(pauses), text, read_label(text))


def _seconds(match: re.Match[str]) -> float:
    if match["size"] is None:
        return PAUSE_S
    unit = (match["unit"] or "s").lower()
    return float(match["size"].replace(",", ".")) / (1000 if unit.startswith("m") else 1)


def _without_asides(lines: list[_Line], known: frozenset[str]) -> list[_Line]:
    keys = known.union(line.label.key for line in lines if line.label is not None)
    return [
        line if line.label is None else replace(line, label=without_aside(line.label, keys))
        for line in lines
    ]


def _names(lines: Sequence[_Line], known: frozenset[str]) -> frozenset[str]:
    """Keys of the labels that start turns; none if the text is prose."""
    spoken = [line for line in lines if line.text]
    labels = [line.label for line in spoken if line.label is not None]
    if spoken and spoken[-1].label is not None and not spoken[-1].label.rest:
        labels.pop()
    keys = speaker_keys(labels) | known
    counts = Counter(label.key for label in labels if label.key in keys)
    certain = known.union(label.key for label in labels if label.grade is Grade.ALWAYS)
    first = spoken[0].label if spoken else None
    begins = first is not None and first.key in counts
    dialogue = (
        not certain.isdisjoint(counts)
        or any(count > 1 for count in counts.values())
        or (len(counts) > 1 and (begins or 2 * len(counts) >= len(spoken)))
    )
    return keys if dialogue else frozenset()


def _say(builder: _Builder, text: str) -> None:
    """Add a line's text with the pauses inside it."""
    start = 0
    for match in _PAUSE.finditer(text):
        builder.text(text[start : match.start()])
        builder.pause(_seconds(match))
        start = match.end()
    builder.text(text[start:])


class _Builder:
    """Collects lines into paragraphs and paragraphs into turns."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._shown: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._speaker = NARRATOR
        self._labelled = False
        self._paragraphs: list[Paragraph] = []
        self._lines: list[str] = []
        self._lead: float | None = None
        self._pause: float | None = None

    def text(self, line: str) -> None:
        """Add a line to the current paragraph; the first one takes the pending pause."""
        if not line.strip():
            return
        if not self._lines:
            self._lead, self._pause = self._pause, None
        self._lines.append(line)

    def pause(self, pause_s: float) -> None:
        """End the paragraph and pause before whatever comes next."""
        self.end_paragraph()
        self._pause = _sum(self._pause, pause_s)

    def end_paragraph(self) -> None:
        """What follows is another paragraph."""
        if self._lines:
            self._paragraphs.append(Paragraph(join_lines(self._lines), self._lead))
            self._lines = []

    def start_turn(self, label: Label) -> None:
        """End the turn; *label* speaks next."""
        self._end_turn()
        self._speaker = self._shown.setdefault(label.key, label.name)
        self._labelled = True

    def _end_turn(self) -> None:
        self.end_paragraph()
        spoken, left_over = _attach_silence(self._paragraphs)
        self._pause = _sum(left_over, self._pause)
        if spoken:
            self._speaker = self._shown.setdefault(name_key(self._speaker), self._speaker)
            self._turns.append(Turn(self._speaker, tuple(spoken)))
        elif self._labelled or self._paragraphs:
            self._pause = min((self._pause or 0.0) + SILENT_TURN_S, MAX_PAUSE_S)
        if self._labelled or spoken:
            self._counts[self._speaker] += 1
        self._paragraphs = []

    def script(self) -> Script:
        """Everything so far, checked."""
        self._end_turn()
        if not self._turns:
            raise EmptyInputError(
                "The text holds nothing to speak: no letter or digit besides labels and pauses. "
                "Send some words.",
            )
        speakers = tuple(self._shown.values())
        if len(speakers) > MAX_SPEAKERS:
            raise TooManySpeakersError(_too_many(speakers, self._counts))
        return Script(tuple(self._turns), speakers, self._pause)


def _attach_silence(paragraphs: Sequence[Paragraph]) -> tuple[list[Paragraph], float | None]:
    """Join paragraphs without speech to their neighbours; also the pause left at the end."""
    spoken: list[Paragraph] = []
    head = ""
    pause_s: float | None = None
    for paragraph in paragraphs:
        pause_s = _sum(pause_s, paragraph.pause_s)
        if speakable(paragraph.text):
            spoken.append(Paragraph(join_lines([head, paragraph.text]), pause_s))
            head, pause_s = "", None
        elif spoken:
            last = spoken[-1]
            spoken[-1] = Paragraph(join_lines([last.text, paragraph.text]), last.pause_s)
        else:
            head = join_lines([head, paragraph.text])
    return spoken, pause_s


def _sum(left: float | None, right: float | None) -> float | None:
    """Add two pauses of which either may be missing."""
    if left is None or right is None:
        total = left if right is None else right
    else:
        total = round(left + right, 3)
    if total is not None and total > MAX_PAUSE_S:
        raise ScriptError(
            f"A pause of {total:g} s is longer than the limit of {MAX_PAUSE_S:g} s between two "
            "paragraphs (pauses next to each other add up). Shorten it, or join files.",
        )
    return total


def _too_many(speakers: Sequence[str], counts: Counter[str]) -> str:
    shown = [
        f"{name} ({counts[name]} turn{'s' if counts[name] != 1 else ''})"
        for name in speakers[:_NAMES_SHOWN]
    ]
    more = len(speakers) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return (
        f"The script has {len(speakers)} speakers: {listed}. The limit is {MAX_SPEAKERS}. Give the "
        "same name to roles that may share a voice, or put a backslash before a line whose start "
        "only looks like a name."
    )
