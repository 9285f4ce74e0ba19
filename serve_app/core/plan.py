"""From a script to its plan: segments in order, each with a key and a seed.

Boundaries are those of :mod:`serve_app.core.pack`, a function of the text alone.

**A key** is a hash of what a segment's audio depends on: the plan's version, the engine's
revision, the options in order of their names, the job's seed (none is not 0), and of each
utterance the voice, the number of its speaker within the segment, the text and, but for the first
one, what lies before it; besides, how many segments of the same content come before it in the
script. It holds neither the index, nor a speaker's name, nor what lies before the segment: an
inserted line leaves the keys behind it as they are, and a renamed speaker all of them. Every field
is hashed with its type and length, so that no two contents share a key by the way they are joined.

**A seed** is a hash of the key and the attempt, so every attempt at a segment has its own noise.
The halves of a segment that stayed bad have keys made of its key.

**From the front.** :func:`plan_segments` gives each segment as soon as its end is known, so that
the first one can be spoken while the rest of a book is planned; :func:`plan` is all of it.

``PLAN_VERSION`` is raised with every change to the rules of text, labels, scripts, estimates, cuts
or packing, since keys outlive a release in caches and jobs.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from serve_app.core.pack import Block, Packer, Point, blocks_of
from serve_app.core.script import Script
from serve_app.core.segment import Segment, Utterance, halve, make_segment
from serve_app.errors import UnknownVoiceError

PLAN_VERSION: Final = 2
_KEY_BYTES: Final = 16

_Field = str | int | float | None


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment ready to be spoken.

    Args:
        segment: What to say.
        key: 32 hex digits; equal if and only if the audio has to be equal.
        seed: Seed of the first attempt, 0 <= seed < 2**63.
    """

    segment: Segment
    key: str
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All segments of a script.

    Args:
        segments: In the order of the script.
        est_s: Estimated seconds of speech, without pauses.
        speakers: Names in order of first appearance.
        final_pause_s: Explicit pause behind the last segment, or None.
    """

    segments: tuple[PlannedSegment, ...]
    est_s: float
    speakers: tuple[str, ...]
    final_pause_s: float | None = None


def segment_script(script: Script) -> Iterator[Segment]:
    """Cut a script into segments, from the front; see :mod:`serve_app.core.pack` for the rules."""
    blocks = tuple(blocks_of(script))
    spans = pairwise(Packer(blocks).cuts())
    return (_segment(index, blocks, *span) for index, span in enumerate(spans))


def _segment(index: int, blocks: tuple[Block, ...], start: Point, end: Point) -> Segment:
    utterances = []
    for at in range(start.block, end.block + (end.offset > 0)):
        block = blocks[at]
        begin = start.offset if at == start.block else 0
        stop = end.offset if at == end.block else len(block.text)
        before = start.before if at == start.block else block.before
        utterances.append(Utterance(block.speaker, block.text[begin:stop].strip(), before))
    pause_s = None if start.offset else blocks[start.block].pause_s
    return make_segment(index, tuple(utterances), pause_s)


def plan(
    script: Script,
    *,
    voices: Mapping[str, str],
    revision: str,
    options: tuple[tuple[str, float], ...] = (),
    seed: int | None = None,
) -> Plan:
    """Plan all of a script; arguments and errors are those of :func:`plan_segments`."""
    segments = tuple(
        plan_segments(script, voices=voices, revision=revision, options=options, seed=seed)
    )
    est_s = sum(item.segment.est_s for item in segments)
    return Plan(segments, est_s, script.speakers, script.final_pause_s)


def plan_segments(
    script: Script,
    *,
    voices: Mapping[str, str],
    revision: str,
    options: tuple[tuple[str, float], ...] = (),
    seed: int | None = None,
) -> Iterator[PlannedSegment]:
    """Plan the work of a script from the front.

    Args:
        script: What to say.
        voices: Voice id by speaker's name, for everyone who speaks.
        revision: The engine's revision.
        options: Engine options by name; their order does not matter.
        seed: The job's seed; another one gives another take of everything.
    Returns:
        The segments in order, at least one. Each step costs time, that of the third one the most:
        it measures all of the script. May be used up in another thread.
    Raises:
        UnknownVoiceError: A speaker has no voice in *voices*; raised here, not by a step.
    """
    for name in dict.fromkeys(turn.speaker for turn in script.turns):
        if name not in voices:
            raise UnknownVoiceError(
                f"The speaker {name!r} has no voice. Give one to each of: "
                f"{', '.join(script.speakers)}.",
                param="voices",
            )
    job = _digest("job", PLAN_VERSION, revision, seed, *_flat(sorted(options)))
    return _keyed(segment_script(script), job, voices)


def _keyed(
    segments: Iterator[Segment], job: str, voices: Mapping[str, str]
) -> Iterator[PlannedSegment]:
    seen: Counter[str] = Counter()
    for segment in segments:
        content = _digest("content", job, *_fields(segment, voices))
        yield _planned(segment, _digest("segment", content, seen[content]))
        seen[content] += 1


def seed_of(key: str, attempt: int) -> int:
    """The seed of an attempt (from 0) at the segment with *key*, 0 <= seed < 2**63."""
    return int(_digest("seed", key, attempt)[:16], 16) >> 1


def replan_halves(planned: PlannedSegment) -> tuple[PlannedSegment, PlannedSegment] | None:
    """Both halves of a segment that stayed bad, or None if it can't be split."""
    halves = halve(planned.segment)
    if halves is None:
        return None
    first, second = halves
    return (
        _planned(first, _digest("half", planned.key, 0)),
        _planned(second, _digest("half", planned.key, 1)),
    )


def _planned(segment: Segment, key: str) -> PlannedSegment:
    return PlannedSegment(segment, key, seed_of(key, 0))


def _fields(segment: Segment, voices: Mapping[str, str]) -> list[_Field]:
    """What the audio of a segment depends on, in a fixed number of fields per utterance."""
    numbers: dict[str, int] = {}
    fields: list[_Field] = []
    for at, utterance in enumerate(segment.utterances):
        number = numbers.setdefault(utterance.speaker, len(numbers))
        before = str(utterance.before) if at else None
        fields += [voices[utterance.speaker], number, utterance.text, before]
    return fields


def _flat(options: list[tuple[str, float]]) -> list[_Field]:
    return [field for name, value in options for field in (name, float(value))]


def _digest(*fields: _Field) -> str:
    """Hash fields so that different lists of fields never feed the same bytes."""
    state = blake2b(digest_size=_KEY_BYTES)
    for field in fields:
        match field:
            case None:
                kind, data = b"n", b""
            case str():
                kind, data = b"s", field.encode()
            case float():
                kind, data = b"f", struct.pack(">d", field)
            case int():
                kind, data = b"i", str(field).encode()
        state.update(kind + struct.pack(">Q", len(data)) + data)
    return state.hexdigest()
