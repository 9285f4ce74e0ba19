"""Subtitles (SRT): the times go, the lines become sentences again.

Lines join to paragraphs. A new one begins where a line starts with a label that occurs twice or
more; and, behind the end of a sentence, with any label or a dash (another speaker), or where two
seconds or more are silent. Elsewhere a line goes on with the sentence before it, and what only
looks like a label there is none.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serve_app.core.label import read_label
from serve_app.core.text import clean, ends_sentence, join_lines
from serve_app.documents_script import Block, Document, compose
from serve_app.documents_text import decode
from serve_app.errors import InvalidInputError

_TIMES = re.compile(
    r"(?:(\d{1,3}):)?(\d\d):(\d\d)[,.](\d{3}) ?--> ?(?:(\d{1,3}):)?(\d\d):(\d\d)[,.](\d{3})(?: .*)?"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")
_DASH = re.compile(r"[-–—] ?(?=\S)")
_GAP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Cue:
    start_s: float
    end_s: float
    lines: list[str]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a cue without markup; the key of its label, or nothing."""

    text: str
    label: str
    dashed: bool
    start_s: float
    end_s: float


def read_srt(name: str, data: bytes) -> Document:
    """The words of subtitles.

    Args:
        name: For messages.
        data: In one of the encodings of :mod:`serve_app.documents_text`.
    Raises:
        InvalidInputError: It holds no times, or its encoding can't be told.
    """
    cues = _cues(clean(decode(name, data)).split("\n"))
    if not cues:
        raise InvalidInputError(
            f"{name!r} holds no line like '00:00:01,000 --> 00:00:02,500', so it is no SRT file. "
            "Send plain text as .txt.",
            "file",
        )
    text, chapters = compose((Block(part, literal=False) for part in _paragraphs(cues)), ())
    return Document(text, None, chapters)


def _cues(lines: list[str]) -> list[_Cue]:
    cues: list[_Cue] = []
    for line in lines:
        times = _TIMES.fullmatch(line)
        if times is not None:
            # What stands alone before the times is the number of the cue.
            if cues and cues[-1].lines and cues[-1].lines[-1].isdigit():
                cues[-1].lines.pop()
            cues.append(_Cue(_seconds(*times.groups()[:4]), _seconds(*times.groups()[4:]), []))
        elif cues and line:
            cues[-1].lines.append(line)
    return cues


def _seconds(hours: str | None, minutes: str, seconds: str, millis: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(millis) / 1000


def _paragraphs(cues: list[_Cue]) -> list[str]:
    """Paragraphs of one line each."""
    paragraphs: list[list[str]] = []
    said = [line for cue in cues for line in _lines(cue)]
    labels = Counter(line.label for line in said if line.label)
    last_end_s = 0.0
    for line in said:
        done = not paragraphs or ends_sentence(paragraphs[-1][-1])
        gap = line.start_s - last_end_s >= _GAP_S
        last_end_s = line.end_s
        starts = done and (gap or line.dashed or not paragraphs or line.label)
        if starts or labels[line.label] > 1:
            paragraphs.append([line.text])
        else:
            paragraphs[-1].append(line.text)
    return [join_lines(lines) for lines in paragraphs]


def _lines(cue: _Cue) -> Iterator[_Line]:
    for raw in cue.lines:
        text = clean(html.unescape(_TAG.sub("", raw))).replace("\n", " ").strip()
        dash = _DASH.match(text)
        text = text[dash.end() :] if dash else text
        if text:
            label = read_label(text)
            yield _Line(text, label.key if label else "", dash is not None, cue.start_s, cue.end_s)
