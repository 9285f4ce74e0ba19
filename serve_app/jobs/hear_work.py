"""A process that hears segments back, one after another, for the runner of the jobs.

``python -m serve_app.jobs.hear_work MODEL THREADS`` loads the model, says that it is ready, and
then answers orders until its standard input ends. An order is a line of JSON and so many bytes of
FLAC; an answer is a line of JSON. So a recogniser takes neither the runner's memory nor its
interpreter, runs at a lower priority than what speaks, and can be stopped at any time.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO, Final

from serve_app.asr import Recogniser
from serve_app.core.asr_check import Hearing
from serve_app.core.letter_clock import pack_anchors
from serve_app.core.spoken.rule import Language
from serve_app.errors import ConfigError
from serve_app.jobs.records import Record
from serve_app.jobs.take_file import DamagedTakeError, unpack_pcm

_NICENESS: Final = 10


class HearOrder(Record):
    """What to listen to; the FLAC follows."""

    text: str
    language: Language
    flac_bytes: int


class HearAnswer(Record):
    """What was heard; the first answer, before any order, only says that the model is loaded."""

    hearing: Hearing | None = None
    """None: the language or the length is not for this model."""
    anchors: str = ""
    """When words begin, packed."""
    failure: str = ""
    """Why nothing could be heard."""


def serve(recogniser: Recogniser, orders: BinaryIO, answers: BinaryIO) -> None:
    """Answer orders until there are no more."""
    while line := orders.readline():
        order = HearOrder.model_validate_json(line)
        _tell(answers, _heard(recogniser, order, orders.read(order.flac_bytes)))


def _heard(recogniser: Recogniser, order: HearOrder, flac: bytes) -> HearAnswer:
    try:
        found = recogniser.hear(unpack_pcm(flac), order.text, order.language)
    except (DamagedTakeError, RuntimeError, ValueError) as error:
        return HearAnswer(failure=f"{type(error).__name__}: {error}")
    if found is None:
        return HearAnswer()
    hearing, anchors = found
    return HearAnswer(hearing=hearing, anchors=pack_anchors(anchors))


def _tell(answers: BinaryIO, answer: HearAnswer) -> None:
    answers.write(answer.model_dump_json().encode() + b"\n")
    answers.flush()


def main() -> int:
    """Serve until the standard input ends."""
    os.nice(_NICENESS)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    try:
        recogniser = Recogniser(sys.argv[1], int(sys.argv[2]))
    except ConfigError as error:
        _tell(answers, HearAnswer(failure=error.message))
        return 1
    _tell(answers, HearAnswer())
    serve(recogniser, sys.stdin.buffer, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
