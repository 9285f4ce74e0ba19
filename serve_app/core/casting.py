"""Who speaks with which voice.

In this order, so that the same request always gives the same cast:

1. a speaker named in the request's explicit map gets that voice;
2. a speaker whose name is a voice's id or name (case ignored) gets that voice;
3. the remaining speakers, in order of first appearance, take the requested voice first and then
   the engine's voices in their order, skipping those already taken; with more speakers than
   voices the engine's voices are taken again from the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from serve_app.errors import InvalidInputError, UnknownVoiceError

ANY_VOICE = "auto"
"""Requested voice that leaves the whole choice to the order of the engine's voices."""


def cast(
    speakers: Sequence[str],
    voices: Mapping[str, str],
    *,
    requested: str = ANY_VOICE,
    explicit: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give every speaker a voice.

    Args:
        speakers: Names in order of first appearance.
        voices: Name by voice id, in the engine's order; not empty.
        requested: Voice id of the request, or ``auto``.
        explicit: Voice id by speaker name (case ignored).
    Returns:
        Voice id by speaker, in the order of *speakers*.
    Raises:
        UnknownVoiceError: A requested voice does not exist; the message lists those that do.
        InvalidInputError: *explicit* names a speaker that is not in the script.
    """
    explicit = {name.casefold(): voice for name, voice in (explicit or {}).items()}
    for voice in (requested, *explicit.values()):
        _known(voice, voices)
    strangers = set(explicit) - {speaker.casefold() for speaker in speakers}
    if strangers:
        raise InvalidInputError(
            f"'speakers' names {_listed(strangers)}, but the script's speakers are "
            f"{_listed(speakers)}: correct the map or the script.",
            "speakers",
        )
    by_name = {name.casefold(): voice for voice, name in voices.items()}
    by_name |= {voice.casefold(): voice for voice in voices}
    chosen: dict[str, str] = {}
    for speaker in speakers:
        name = speaker.casefold()
        own = explicit.get(name) or by_name.get(name, ANY_VOICE)
        if own != ANY_VOICE:
            chosen[speaker] = own
    order = [] if requested == ANY_VOICE else [requested]
    order += [voice for voice in voices if voice != requested]
    free = [voice for voice in order if voice not in chosen.values()] or order
    for turn, speaker in enumerate(name for name in speakers if name not in chosen):
        chosen[speaker] = (free if turn < len(free) else order)[turn % len(order)]
    return {speaker: chosen[speaker] for speaker in speakers}


def _known(voice: str, voices: Mapping[str, str]) -> None:
    if voice != ANY_VOICE and voice not in voices:
        raise UnknownVoiceError(
            f"Voice {voice!r} does not exist; the voices are {_listed(voices)}, "
            f"or {ANY_VOICE!r} to let the order decide. GET /v1/audio/voices lists them.",
            "voice",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
