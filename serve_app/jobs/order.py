"""What a client asks for, and the plan that is made of it once and for all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from serve_app.core.casting import ANY_VOICE, cast
from serve_app.core.plan import PLAN_VERSION, plan
from serve_app.core.script import parse
from serve_app.engines.base import EngineInfo, Line
from serve_app.errors import InputTooLongError, InvalidInputError
from serve_app.jobs.records import JobRecord, PlanRecord


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A job as it is submitted, free of HTTP.

    Args:
        text: The script.
        voice: Voice id or ``auto``; aliases are resolved before.
        speakers: Voice id by speaker's name, as far as the client cares.
        options: Engine options by name.
        seed: Another one gives another take of everything.
        audio_format: Of the finished file.
        title: For people and for the file.
        metadata: Whatever the client wants back; the file may carry it.
        idempotency_key: The same key and order is the same job; empty for a new one each time.
    """

    text: str
    voice: str = ANY_VOICE
    speakers: Mapping[str, str] = field(default_factory=dict)
    options: tuple[tuple[str, float], ...] = ()
    seed: int | None = None
    audio_format: str = "wav"
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str = ""

    @property
    def fingerprint(self) -> str:
        """Of all that was asked for."""
        asked = json.dumps(asdict(self), sort_keys=True, default=dict)
        return blake2b(asked.encode(), digest_size=16).hexdigest()

    def new_id(self) -> str:
        """The job's id: a function of the idempotency key, if there is one."""
        if not self.idempotency_key:
            return f"job_{uuid.uuid4().hex[:24]}"
        digest = blake2b(self.idempotency_key.encode(), digest_size=12).hexdigest()
        return f"job_{digest}"


def plan_order(
    order: JobOrder,
    engine: EngineInfo,
    *,
    job_id: str,
    created: float,
    max_characters: int,
    check: Callable[[tuple[Line, ...]], None],
) -> tuple[JobRecord, PlanRecord]:
    """Read, cast, check and plan a script; blocks.

    Args:
        order: What is asked for.
        engine: Who will speak.
        job_id: The job's name.
        created: Unix seconds.
        max_characters: Longer text is refused.
        check: The engine's own check of what it can't speak.
    Raises:
        InvalidInputError: The order can't be served.
    """
    if len(order.text) > max_characters:
        raise InputTooLongError(
            f"The script has {len(order.text)} characters; a job may have {max_characters}. "
            "Submit it in parts.",
            "script",
        )
    script = parse(order.text)
    voices = cast(
        script.speakers,
        {voice.id: voice.name for voice in engine.voices},
        requested=order.voice,
        explicit=order.speakers,
    )
    check(
        tuple(
            Line(turn.speaker, voices[turn.speaker], paragraph.text)
            for turn in script.turns
            for paragraph in turn.paragraphs
        )
    )
    planned = plan(
        script, voices=voices, revision=engine.revision, options=order.options, seed=order.seed
    )
    job = JobRecord(
        id=job_id,
        created=created,
        title=order.title,
        audio_format=order.audio_format,
        voices=voices,
        metadata=dict(order.metadata),
        fingerprint=order.fingerprint,
        segments=len(planned.segments),
        est_s=planned.est_s,
        simulated=engine.name == "simulated",
    )
    return job, PlanRecord(
        plan_version=PLAN_VERSION,
        revision=engine.revision,
        options=order.options,
        gains_db={voice.id: voice.gain_db for voice in engine.voices},
        final_pause_s=planned.final_pause_s,
        segments=PlanRecord.rows(planned.segments),
    )


def check_same(order: JobOrder, known: JobRecord) -> None:
    """Refuse another order under a key that is taken.

    Raises:
        InvalidInputError: It is another order.
    """
    if known.fingerprint != order.fingerprint:
        raise InvalidInputError(
            f"This Idempotency-Key belongs to job {known.id}, which was ordered differently; "
            "send another key.",
            "Idempotency-Key",
        )
