"""What a client asks for, and the plan that is made of it once and for all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Final

from serve_app.core.casting import ANY_VOICE
from serve_app.core.chapter_times import locate, mark
from serve_app.core.chapters import Heading
from serve_app.core.letter_clock import count_letters
from serve_app.core.normalise import normalise
from serve_app.core.plan import PLAN_VERSION, plan
from serve_app.core.script import Paragraph, Script, parse
from serve_app.core.spoken.rule import Language
from serve_app.core.text import clean, join_lines, speakable
from serve_app.encode_cover import cover_packet
from serve_app.encode_file import file_format
from serve_app.engines.base import EngineInfo, Line
from serve_app.errors import ConflictError, InputTooLongError, InvalidInputError
from serve_app.jobs.records import ChapterRecord, JobRecord, PlanRecord
from serve_app.prepare import Ability, Prepared, ScriptOrder, TextReport, prepare
from serve_app.tempo import MAX_SPEED, MIN_SPEED

MAX_CHAPTERS: Final = 1_000
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A job as it is submitted, free of HTTP.

    Args:
        text: The script.
        voice: Voice id, name, alias or ``auto``.
        speakers: Voice by speaker's name, as far as the client cares.
        language: How figures and signs are read; None tells it from the text around them.
        in_words: Put figures, dates and signs into words.
        options: Engine options by name.
        seed: Another one gives another take of everything.
        audio_format: Of the finished file.
        speed: Of the finished audio, 0.25..4; nothing is spoken otherwise for it.
        title: For people and for the file.
        metadata: Whatever the client wants back; the file may carry it.
        headings: Lines of *text* that chapters begin with.
        notice: Said before everything else, by the first speaker; empty for none.
        cover: A JPEG or PNG file for the finished file, or None.
        notes: What the reader of a document has to say; they become warnings.
        owner: Whose key ordered it.
        idempotency_key: The same key and order is the same job; empty for a new one each time.
    """

    text: str
    voice: str = ANY_VOICE
    speakers: Mapping[str, str] = field(default_factory=dict)
    language: Language | None = None
    in_words: bool = True
    options: tuple[tuple[str, float], ...] = ()
    seed: int | None = None
    audio_format: str = "wav"
    speed: float = 1.0
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    headings: tuple[Heading, ...] = ()
    notice: str = ""
    cover: bytes | None = None
    notes: tuple[str, ...] = ()
    owner: str = ""
    idempotency_key: str = ""

    @property
    def fingerprint(self) -> str:
        """Of all that was asked for."""
        cover = None if self.cover is None else blake2b(self.cover, digest_size=16).hexdigest()
        told = asdict(self) | {"cover": cover}
        if self.speed == 1.0:  # so that orders from before there was a choice stay the same
            del told["speed"]
        asked = json.dumps(told, sort_keys=True, default=dict)
        return blake2b(asked.encode(), digest_size=16).hexdigest()

    @property
    def script(self) -> ScriptOrder:
        """What is to be heard, as streams order it too."""
        return ScriptOrder(
            self.text,
            voice=self.voice,
            speakers=self.speakers,
            language=self.language,
            in_words=self.in_words,
            options=self.options,
        )

    def new_id(self) -> str:
        """The job's id: a function of owner and idempotency key, if there is one."""
        if not self.idempotency_key:
            return f"job_{uuid.uuid4().hex[:24]}"
        named = f"{self.owner}\0{self.idempotency_key}"
        return f"job_{blake2b(named.encode(), digest_size=12).hexdigest()}"


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """A job before it is kept.

    Args:
        record, plan: As they are written.
        warnings: What people should know.
    """

    record: JobRecord
    plan: PlanRecord
    warnings: tuple[str, ...]


def plan_order(
    order: JobOrder,
    engine: EngineInfo,
    *,
    job_id: str,
    created: float,
    max_characters: int,
    ability: Ability,
) -> PlannedOrder:
    """Read, cast, check and plan a script; blocks.

    Args:
        order: What is asked for.
        engine: Who will speak.
        job_id: The job's name.
        created: Unix seconds.
        max_characters: Longer text is refused.
        ability: What the engine can speak.
    Raises:
        InvalidInputError: The order can't be served.
    """
    if len(order.text) > max_characters:
        raise InputTooLongError(
            f"The script has {len(order.text)} characters; a job may have {max_characters}. "
            "Submit it in parts.",
            "input",
        )
    _check_file(order)
    prepared = prepare(order.script, engine, ability)
    script = _with_notice(prepared, order, ability)
    planned = plan(
        script,
        voices=prepared.voices,
        revision=engine.revision,
        options=order.options,
        seed=order.seed,
    )
    record = JobRecord(
        id=job_id,
        created=created,
        title=order.title,
        audio_format=order.audio_format,
        voices=prepared.voices,
        metadata=dict(order.metadata),
        fingerprint=order.fingerprint,
        segments=len(planned.segments),
        est_s=planned.est_s,
        simulated=engine.name == "simulated",
        owner=order.owner,
        chapters=_chapters(order, prepared.script, script),
        cover=order.cover is not None,
        speed=order.speed,
    )
    kept = PlanRecord(
        plan_version=PLAN_VERSION,
        revision=engine.revision,
        options=order.options,
        gains_db={voice.id: voice.gain_db for voice in engine.voices},
        final_pause_s=planned.final_pause_s,
        segments=PlanRecord.rows(planned.segments),
    )
    return PlannedOrder(record, kept, (*order.notes, *_told(prepared.report)))


def check_same(order: JobOrder, known: JobRecord) -> None:
    """Refuse another order under a key that is taken.

    Raises:
        ConflictError: It is another order.
    """
    if known.fingerprint != order.fingerprint:
        raise ConflictError(
            f"This Idempotency-Key belongs to job {known.id}, which was ordered differently; "
            "send another key.",
            "Idempotency-Key",
        )


def _check_file(order: JobOrder) -> None:
    """Refuse a format, speed or cover before anything is spoken for it."""
    if not MIN_SPEED <= order.speed <= MAX_SPEED:
        raise InvalidInputError(
            f"'speed' is {order.speed:g}; it may be {MIN_SPEED:g} to {MAX_SPEED:g}.", "speed"
        )
    chosen = file_format(order.audio_format)
    if order.cover is None:
        return
    if not chosen.takes_cover:
        raise InvalidInputError(
            f"A {chosen.name} file has no place for a cover; leave it out or order another format.",
            "cover",
        )
    cover_packet(order.cover)


def _with_notice(prepared: Prepared, order: JobOrder, ability: Ability) -> Script:
    script, notice = prepared.script, join_lines([clean(order.notice)])
    if not notice:
        return script
    if not speakable(notice):
        raise InvalidInputError("The notice holds nothing to speak; leave it out.", "notice")
    if order.in_words:
        notice = normalise(notice, order.language).text
    first, *rest = script.turns
    ability.check((Line(first.speaker, prepared.voices[first.speaker], notice),))
    opened = replace(first, paragraphs=(Paragraph(notice), *first.paragraphs))
    return replace(script, turns=(opened, *rest))


def _chapters(order: JobOrder, told: Script, spoken: Script) -> tuple[ChapterRecord, ...]:
    """The chapters of *told* among the words of *spoken*, which may have a notice before them.

    Of several that begin together the first names all.
    """
    if not order.headings:
        return ()
    found = locate(order.headings[:MAX_CHAPTERS], order.text, parse(order.text, told.speakers))
    before = _letters(spoken) - _letters(told)
    first_there: dict[int, str] = {}
    for it in mark(found, told):
        first_there.setdefault(it.letters + before, it.title)
    return tuple(ChapterRecord(title=title, letters=at) for at, title in first_there.items())


def _letters(script: Script) -> int:
    paragraphs = (paragraph for turn in script.turns for paragraph in turn.paragraphs)
    return sum(count_letters(paragraph.text) for paragraph in paragraphs)


def _told(report: TextReport) -> tuple[str, ...]:
    """A warning about what has no reading."""
    if not report.unspoken_characters:
        return ()
    shown = " ".join(list(report.unspoken)[:_SHOWN])
    return (f"{report.unspoken_characters} characters have no reading and are not said: {shown}",)
