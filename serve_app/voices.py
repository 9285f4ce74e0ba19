"""The voice library: recordings that scripts can be spoken with, shared by all replicas.

A voice is known by the hash of its samples (decoded, mono, 24 kHz, levelled, trimmed), so that the
same file sent twice is one voice. Decoders and resamplers may differ in the last bit between
machines; the same file sent to two kinds of machine can then be two voices.

Nothing is locked. An upload looks for conflicts before it writes and again after, and on a
conflict then takes its own files back. Two uploads that want the same name at the same instant
may so both be refused, but never both be kept; two of the same voice leave two equal pairs of
files, of which one counts. A process that dies leaves at most audio that no record names. The
store must show a file to everyone once it is written; all common ones do.

Every method asks the store and blocks: call it from a thread, never from an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import FULL_SCALE, Pcm
from serve_app.errors import InvalidInputError, NotFoundError, ServeError, UnknownVoiceError
from serve_app.voice_file import encode_flac
from serve_app.voice_record import (
    MAX_NAME_CHARACTERS,
    VoiceRecord,
    checked_consent,
    checked_name,
    name_key,
    new_record,
)
from serve_app.voice_shelf import DamagedError, Entry, Shelf
from serve_app.voice_store import FolderStore
from serve_app.voice_upload import voice_from_upload


@dataclass(frozen=True, slots=True)
class VoiceFault:
    """A stored voice that can't be used; uploading the same audio again mends it.

    Args:
        id: By the file's name; :meth:`VoiceLibrary.delete` takes it.
        problem: What is wrong.
    """

    id: str
    problem: str


@dataclass(frozen=True, slots=True)
class VoiceListing:
    """What the store holds.

    Args:
        voices: Usable ones as far as records and sizes tell, oldest first; each id once.
        faults: The others.
    """

    voices: tuple[VoiceRecord, ...]
    faults: tuple[VoiceFault, ...]


class VoiceLibrary:
    """Voices in a folder of any fsspec path; safe for many threads and processes.

    Args:
        url: Path or URL of the folder; made at the first upload.
        options: Passed to the fsspec backend (endpoint, time-outs, keys).
        max_voices: More are refused; a listing costs one read for each new one.
        now: Wall clock, for ``created``.

    Raises:
        ConfigError: The URL has no usable backend.
    """

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        max_voices: int = 1_000,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._shelf = Shelf(FolderStore(url, options))
        self._max_voices = max_voices
        self._now = now

    def list(self) -> VoiceListing:
        """All voices as the store has them now; blocks.

        Raises:
            NotReadyError: The store can't be reached.
        """
        entries = self._shelf.entries()
        faults = [VoiceFault(e.id, e.found) for e in entries if isinstance(e.found, str)]
        return VoiceListing(_voices(entries), tuple(faults))

    def get(self, voice_id: str) -> VoiceRecord:
        """One voice by its id; blocks.

        Raises:
            NotFoundError: There is none.
            ServeError: Its record or audio is damaged.
            NotReadyError: The store can't be reached.
        """
        return self._entry(voice_id)[1]

    def find(self, reference: str) -> VoiceRecord:
        """One voice by its id or its name, whatever the case; blocks.

        Raises:
            UnknownVoiceError: There is none; the message gives the names there are.
            NotReadyError: The store can't be reached.
        """
        voices = self.list().voices
        key = name_key(reference)
        for voice in voices:
            if voice.id == reference or name_key(voice.name) == key:
                return voice
        names = ", ".join(voice.name for voice in voices[:20]) or "none yet"
        raise UnknownVoiceError(
            f"no voice is called {reference[:MAX_NAME_CHARACTERS]!r}; there are: {names}", "voice"
        )

    def pcm(self, voice_id: str) -> Pcm:
        """Samples of a voice, 24 kHz mono, shape ``(n,)``; blocks.

        Exactly those that were stored. Nothing is cached: who needs them often keeps what it
        makes of them.

        Raises:
            NotFoundError: There is no such voice.
            ServeError: What is stored is not what was uploaded.
            NotReadyError: The store can't be reached.
        """
        return self._audio(voice_id)[1]

    def samples(self, voice_id: str) -> NDArray[np.float32]:
        """:meth:`pcm` over 32768, full scale -1..1; blocks.

        Raises:
            NotFoundError, ServeError, NotReadyError: See there.
        """
        return self.pcm(voice_id).astype(np.float32) / np.float32(FULL_SCALE)

    def audio(self, voice_id: str) -> bytes:
        """The FLAC file of a voice, checked; blocks.

        Raises:
            NotFoundError: There is no such voice.
            ServeError: What is stored is not what was uploaded.
            NotReadyError: The store can't be reached.
        """
        return self._audio(voice_id)[0]

    def add(self, name: str, data: bytes, consent: str) -> VoiceRecord:
        """Make a voice of a recording; blocks while it decodes and writes.

        The same audio under the same name is the voice that is there, with its first consent
        note; under another name it is an error, for a voice has one name. Sending the audio of a
        damaged voice mends it.

        Args:
            name: 1-64 characters without control characters or path separators; taken in NFC and
                without blanks at its ends. Unique whatever its case.
            data: WAV, FLAC, MP3 or Ogg (Vorbis, Opus) of at most 10 MiB and 60 s.
            consent: Licence or consent note, 1-2000 characters.

        Raises:
            VoiceAudioError: The recording can't become a voice.
            InvalidInputError: Name or note is unfit, the name or audio is taken, or the library
                is full.
            NotReadyError: The store can't be reached.
        """
        name, consent = checked_name(name), checked_consent(consent)
        voice = voice_from_upload(data)
        flac = encode_flac(voice.pcm)
        record = new_record(name, consent, voice, len(flac), self._now())
        entries = self._shelf.entries()
        _check_free(record, entries)
        twins = [entry for entry in entries if entry.id == record.id]
        for twin in twins:
            if isinstance(twin.found, VoiceRecord) and self._is_sound(twin.stem, twin.found):
                return twin.found
        if len(_voices(entries)) >= self._max_voices:
            raise InvalidInputError(f"the library is full with {self._max_voices} voices")
        self._put(record, flac)
        for damaged in twins:
            self._shelf.remove(damaged.stem)
        return record

    def delete(self, voice_id: str) -> None:
        """Remove a voice, a damaged one too; blocks.

        Raises:
            NotFoundError: There is none.
            NotReadyError: The store can't be reached.
        """
        stems = [entry.stem for entry in self._shelf.entries(voice_id)]
        if not stems:
            raise _not_found(voice_id)
        for stem in stems:
            self._shelf.remove(stem)

    def _put(self, record: VoiceRecord, flac: bytes) -> None:
        """Store a voice, or take it back if another upload has its name or audio by now."""
        stem = self._shelf.put(record, flac)
        try:
            _check_free(record, (e for e in self._shelf.entries() if e.stem != stem))
        except BaseException:
            self._shelf.remove(stem)
            raise

    def _entry(self, voice_id: str) -> tuple[str, VoiceRecord]:
        """Stem and record of a voice."""
        problem = None
        for entry in self._shelf.entries(voice_id):
            if isinstance(entry.found, VoiceRecord):
                return entry.stem, entry.found
            problem = entry.found
        raise _not_found(voice_id) if problem is None else _damaged(voice_id, problem)

    def _audio(self, voice_id: str) -> tuple[bytes, Pcm]:
        stem, record = self._entry(voice_id)
        try:
            return self._shelf.audio(stem, record)
        except DamagedError as error:
            raise _damaged(voice_id, str(error)) from error
        except FileNotFoundError:
            raise _not_found(voice_id) from None

    def _is_sound(self, stem: str, record: VoiceRecord) -> bool:
        try:
            self._shelf.audio(stem, record)
        except (DamagedError, FileNotFoundError):
            return False
        return True


def _voices(entries: Iterable[Entry]) -> tuple[VoiceRecord, ...]:
    """Good records, oldest first; the first pair of each id counts."""
    by_id: dict[str, VoiceRecord] = {}
    for entry in entries:
        if isinstance(entry.found, VoiceRecord):
            by_id.setdefault(entry.id, entry.found)
    return tuple(sorted(by_id.values(), key=lambda voice: (voice.created, voice.id)))


def _check_free(record: VoiceRecord, others: Iterable[Entry]) -> None:
    """Refuse a name that another voice has, and audio that has another name.

    Raises:
        InvalidInputError: See above.
    """
    for other in others:
        if isinstance(other.found, str):
            continue
        same_name = name_key(other.found.name) == name_key(record.name)
        if same_name and other.id != record.id:
            raise InvalidInputError(
                f"the name {record.name!r} belongs to {other.id}; choose another or delete that "
                "voice first",
                "name",
            )
        if other.id == record.id and not same_name:
            raise InvalidInputError(
                f"this recording is {other.id} already, called {other.found.name!r}; use that "
                "name, or delete that voice first",
                "name",
            )


def _not_found(voice_id: str) -> NotFoundError:
    return NotFoundError(f"there is no voice {voice_id[:MAX_NAME_CHARACTERS]!r}", "voice")


def _damaged(voice_id: str, problem: str) -> ServeError:
    return ServeError(
        f"voice {voice_id} is damaged: {problem}; upload the same audio again or delete it", "voice"
    )
