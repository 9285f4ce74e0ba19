"""Another take of one segment on someone's wish: other noise, and other words if they are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from serve_app.core.plan import PlannedSegment, seed_of
from serve_app.core.script import NARRATOR, Script, parse
from serve_app.core.segment import Boundary, Segment, Utterance, make_segment
from serve_app.errors import InputTooLongError, InvalidInputError

MAX_RETAKE_S: Final = 180.0
"""Estimated seconds of a changed segment, twice the longest that a plan makes."""


def retake(
    planned: PlannedSegment, utterances: tuple[Utterance, ...], voices: Mapping[str, str]
) -> PlannedSegment:
    """The segment that is spoken in place of *planned*.

    Its key is a hash of the old one and of what is said by whom: each take in a chain of retakes
    has its own noise, and the same retake of the same segment the same noise in every job.

    Args:
        planned: What was asked for last.
        utterances: What to say.
        voices: Voice by speaker, for everyone who speaks in it.
    """
    old = planned.segment
    said = [[item.speaker, voices[item.speaker], item.text, item.before] for item in utterances]
    content = json.dumps(["retake", planned.key, said], ensure_ascii=True, separators=(",", ":"))
    key = blake2b(content.encode(), digest_size=16).hexdigest()
    segment = make_segment(old.index, utterances, old.pause_s)
    return PlannedSegment(segment, key, seed_of(key, 0))


def changed_text(segment: Segment, text: str, speakers: frozenset[str]) -> tuple[Utterance, ...]:
    """What *text* makes of a segment.

    Text without labels is spoken by the segment's first speaker; labels may name the job's
    speakers. What lies before the segment stays what it was.

    Raises:
        EmptyInputError, ScriptError: The text can't be read.
        InvalidInputError: It names a speaker that the job does not have, or holds a pause.
        InputTooLongError: It is longer than one segment may be.
    """
    script = parse(text, speakers)
    paragraphs = [(turn, paragraph) for turn in script.turns for paragraph in turn.paragraphs]
    if script.final_pause_s is not None or any(said.pause_s is not None for _, said in paragraphs):
        raise InvalidInputError(
            "A segment can't hold a pause; the new text asks for one. Leave it out.", "text"
        )
    speaks = _renamed(script, segment, speakers)
    utterances: list[Utterance] = []
    before, last = segment.before, script.turns[0]
    for turn, said in paragraphs:
        if utterances:
            before = Boundary.PARAGRAPH if turn is last else Boundary.TURN
        utterances.append(Utterance(speaks[turn.speaker], said.text, before))
        last = turn
    est_s = make_segment(segment.index, tuple(utterances), None).est_s
    if est_s > MAX_RETAKE_S:
        raise InputTooLongError(
            f"The new text takes about {est_s:.0f} s; one segment takes {MAX_RETAKE_S:g} s at "
            "most. Submit it as a job of its own.",
            "text",
        )
    return tuple(utterances)


def _renamed(script: Script, segment: Segment, speakers: frozenset[str]) -> dict[str, str]:
    """The job's speaker for each of the text's; the narrator of plain text is the segment's own."""
    names = {name.casefold(): name for name in speakers}
    if script.speakers == (NARRATOR,):
        return {NARRATOR: segment.utterances[0].speaker}
    speaks = {}
    for name in script.speakers:
        known = names.get(name.casefold())
        if known is None:
            raise InvalidInputError(
                f"The new text names {name!r}; the job's speakers are "
                f"{', '.join(sorted(speakers))}.",
                "text",
            )
        speaks[name] = known
    return speaks
