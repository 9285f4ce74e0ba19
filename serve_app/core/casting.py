"""Who speaks with which voice.

In this order, so that the same request always gives the same cast:

1. a speaker named in the request's explicit map gets that voice;
2. the first of the others gets the requested voice, if one is asked for;
3. a speaker whose name is a voice's id or name (case ignored) gets that voice, unless the request
   has given it to another one. The narrator, whom no script names, is not looked up;
4. the remaining speakers, in order of first appearance, take the engine's voices in their order,
   skipping those already taken; with more speakers than voices the engine's voices are taken
   again from the first.

A voice is asked for by its id, by an alias or by its name (case ignored), in this order: whoever
may add a voice chooses its name, and must not catch what is meant for another one. Of two voices
of one name the first in order is meant. A speaker's name is not looked up among the aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, cycle

from serve_app.core.script import NARRATOR
from serve_app.errors import InvalidInputError, UnknownVoiceError

VOICE_ID = r"voice_[0-9a-f]{24}"
"""Ids of the voice library's voices; an engine's own have others."""
STOCK_NAMES = (
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer"),
    *("verse", "marin", "cedar"),
)
"""OpenAI's voices, which its examples and many clients name."""
ANY_VOICE = "auto"
"""Requested voice that leaves the whole choice to the order of the engine's voices."""
_SHOWN = 20


def with_stock_names(aliases: Mapping[str, str], voices: Sequence[str]) -> dict[str, str]:
    """Aliases, and OpenAI's voice names where they are not among them or voices themselves.

    They stand for the engine's own voices in their order, again from the first when there are more
    names than voices. Where an engine has none of its own, all stand for the library's oldest one:
    what they mean must not change when somebody adds a voice.

    Args:
        aliases: As configured.
        voices: Ids, in their order.
    """
    own = [voice for voice in voices if not re.fullmatch(VOICE_ID, voice)] or voices[:1]
    taken = {name.casefold() for name in (*aliases, *voices)}
    stock = dict(zip(STOCK_NAMES, cycle(own), strict=False)) if own else {}
    return {**aliases, **{name: to for name, to in stock.items() if name not in taken}}


def cast(
    speakers: Sequence[str],
    voices: Mapping[str, str],
    *,
    requested: str = ANY_VOICE,
    explicit: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give every speaker a voice.

    Args:
        speakers: Names in order of first appearance.
        voices: Name by voice id, in the engine's order.
        requested: Voice of the request, or ``auto``.
        explicit: Voice by speaker name (case ignored).
        aliases: Voice id, or ``auto``, by another name; one for a voice that is not there is none.
    Returns:
        Voice id by speaker, in the order of *speakers*.
    Raises:
        UnknownVoiceError: A requested voice does not exist; the message lists those that do, or
            says that there is none at all.
        InvalidInputError: *explicit* names a speaker that is not in the script.
    """
    if not voices:
        raise UnknownVoiceError(
            "There are no voices yet: add a recording to the voice library, or name one in the "
            "engine's options.",
            "voice",
        )
    by_id = {voice.casefold(): voice for voice in voices}
    by_name = {name.casefold(): voice for voice, name in reversed(list(voices.items()))} | by_id
    by_alias = {
        alias.casefold(): target
        for alias, target in (aliases or {}).items()
        if target in voices or target == ANY_VOICE
    }
    known = by_name | by_alias | by_id
    requested = _known(requested, voices, known)
    explicit = {
        name.casefold(): _known(voice, voices, known) for name, voice in (explicit or {}).items()
    }
    strangers = set(explicit) - {speaker.casefold() for speaker in speakers}
    if strangers:
        raise InvalidInputError(
            f"'speakers' names {_listed(strangers)}, but the script's speakers are "
            f"{_listed(speakers)}: correct the map or the script.",
            "speakers",
        )
    chosen = {
        speaker: explicit[name]
        for speaker in speakers
        if explicit.get(name := speaker.casefold(), ANY_VOICE) != ANY_VOICE
    }
    others = [speaker for speaker in speakers if speaker not in chosen]
    if others and requested != ANY_VOICE:
        chosen[others.pop(0)] = requested
    asked = set(chosen.values())
    for speaker in others:
        own = by_name.get(speaker.casefold(), ANY_VOICE)
        named = speaker.casefold() not in {NARRATOR.casefold(), *explicit}
        if named and own != ANY_VOICE and own not in asked:
            chosen[speaker] = own
    free = [voice for voice in voices if voice not in chosen.values()]
    order = chain(free, cycle(voices))
    for speaker in others:
        if speaker not in chosen:
            chosen[speaker] = next(order)
    return {speaker: chosen[speaker] for speaker in speakers}


def _known(voice: str, voices: Mapping[str, str], known: Mapping[str, str]) -> str:
    """The id of a voice asked for by id, name or alias."""
    if voice == ANY_VOICE or voice in voices:
        return voice
    if voice.casefold() not in known:
        raise UnknownVoiceError(
            f"Voice {voice!r} does not exist; the voices are {_some(voices)}, "
            f"or {ANY_VOICE!r} to let the order decide. GET /v1/audio/voices lists them.",
            "voice",
        )
    return known[voice.casefold()]


def _some(voices: Mapping[str, str]) -> str:
    """A library may hold a thousand."""
    more = f" and {len(voices) - _SHOWN} more" if len(voices) > _SHOWN else ""
    return _listed(list(voices)[:_SHOWN]) + more


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
