"""What is kept of a voice beside its samples, and the rules for its words."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, Field

from serve_app.core import casting
from serve_app.core.audio import Pcm, bytes_from_pcm, duration_s
from serve_app.errors import InvalidInputError
from serve_app.strict import StrictModel
from serve_app.voice_upload import VoiceAudio

VOICE_ID: Final = casting.VOICE_ID
MAX_NAME_CHARACTERS: Final = 64
MAX_CONSENT_CHARACTERS: Final = 2_000


class VoiceRecord(StrictModel):
    """What is known of a voice."""

    id: str = Field(pattern=f"^{VOICE_ID}$")
    """``voice_`` and the first 24 digits of ``sha256``."""
    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)
    """For people and scripts; unique whatever its case."""
    consent: str = Field(min_length=1, max_length=MAX_CONSENT_CHARACTERS)
    """Licence of the recording or the speaker's consent, in the uploader's words."""
    created: AwareDatetime
    """When it was uploaded, UTC."""
    duration_s: float = Field(gt=0)
    """Length of the voice after trimming."""
    source: str
    """Container and coding of the upload, such as ``MP3 MPEG_LAYER_III``."""
    source_rate_hz: int = Field(gt=0)
    """Sample rate of the upload."""
    source_channels: int = Field(gt=0)
    """Channels of the upload."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the samples as signed 16-bit little-endian."""
    audio_bytes: int = Field(gt=0)
    """Size of the FLAC file."""


def new_record(
    name: str, consent: str, audio: VoiceAudio, audio_bytes: int, created: datetime
) -> VoiceRecord:
    """The record of a new voice.

    Args:
        name, consent: Checked.
        audio: What the upload became.
        audio_bytes: Size of its FLAC file.
        created: With a time zone.
    """
    sha256 = pcm_sha256(audio.pcm)
    return VoiceRecord(
        id=f"voice_{sha256[:24]}",
        name=name,
        consent=consent,
        created=created,
        duration_s=duration_s(len(audio.pcm)),
        source=audio.source,
        source_rate_hz=audio.source_rate_hz,
        source_channels=audio.source_channels,
        sha256=sha256,
        audio_bytes=audio_bytes,
    )


def pcm_sha256(pcm: Pcm) -> str:
    """Hash of the samples as signed 16-bit little-endian, in hexadecimal digits."""
    return hashlib.sha256(bytes_from_pcm(pcm)).hexdigest()


def checked_name(name: str) -> str:
    """*name* in NFC and without blanks at its ends.

    Raises:
        InvalidInputError: It is not of 1-64 characters, holds a path separator or a character
            that can't be seen, or looks like an id.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise InvalidInputError(
            f"a voice's name has {len(name)} characters, the limits are 1 and "
            f"{MAX_NAME_CHARACTERS}",
            "name",
        )
    for character in name:
        # C: control, format, surrogate, unassigned; Zl and Zp end a line.
        kind = unicodedata.category(character)
        if character in "/\\" or kind[0] == "C" or kind in {"Zl", "Zp"}:
            raise InvalidInputError(
                f"a voice's name can't hold U+{ord(character):04X}; leave it out", "name"
            )
    if re.fullmatch(VOICE_ID, name_key(name)):
        raise InvalidInputError("a voice's name can't look like an id; choose another", "name")
    return name


def checked_consent(consent: str) -> str:
    """*consent* without blanks at its ends.

    Raises:
        InvalidInputError: It is not of 1-2000 characters or holds control characters.
    """
    consent = consent.strip()
    if not 1 <= len(consent) <= MAX_CONSENT_CHARACTERS:
        raise InvalidInputError(
            f"the consent note has {len(consent)} characters, the limits are 1 and "
            f"{MAX_CONSENT_CHARACTERS}; say under which licence or whose consent it is used",
            "consent",
        )
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t" for c in consent):
        raise InvalidInputError("the consent note can't hold control characters", "consent")
    return consent


def name_key(name: str) -> str:
    """The same for names that differ in case, width or composition only."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
