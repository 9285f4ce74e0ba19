"""Voices as pairs of files in a folder: which there are, which are damaged, how they come and go.

A pair is ``ID.TOKEN.flac`` and ``ID.TOKEN.json``; the second makes it exist. Neither is ever
written again. The token is the writer's own, so that no two processes ever share a file.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from serve_app.core.audio import Pcm
from serve_app.voice_file import decode_flac
from serve_app.voice_record import VOICE_ID, VoiceRecord, pcm_sha256
from serve_app.voice_store import FolderStore, StoredFile

_RECORD: Final = re.compile(rf"(?P<stem>(?P<id>{VOICE_ID})\.[0-9a-f]{{16}})\.json")
_MAX_RECORD_BYTES: Final = 32 * 1024
_MAX_AUDIO_BYTES: Final = 4 * 1024 * 1024
"""30 s of noise that FLAC can't shorten are 1.4 MB."""


class DamagedError(Exception):
    """The stored audio is not what its record says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair of files.

    Args:
        id: Voice, by the file's name.
        stem: Name of both files without their suffix.
        found: The record, or what is wrong.
    """

    id: str
    stem: str
    found: VoiceRecord | str


class Shelf:
    """The pairs of one folder.

    Keeps parsed records, as many as the folder has, and reads one again when the store tells
    another stamp. Every method asks the store and blocks. Safe for many threads and processes.

    Args:
        store: The folder.
    """

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._parsed: dict[str, tuple[StoredFile, VoiceRecord | str]] = {}

    def entries(self, voice_id: str | None = None) -> tuple[Entry, ...]:
        """Every pair of files that has a record, in the order of file names.

        Args:
            voice_id: Only the pairs of this voice; the records of others are not read.

        Raises:
            NotReadyError: The store can't be reached.
        """
        files = self._store.files()
        entries = []
        parsed = {}
        for name in sorted(files):
            match = _RECORD.fullmatch(name)
            if match is None or voice_id not in {None, match["id"]}:
                continue
            known = self._parsed.get(name)
            try:
                if known is None or known[0] != files[name]:
                    known = (files[name], self._parse(name, match["id"]))
                found = self._with_audio(known[1], match["stem"], files)
            except FileNotFoundError:
                continue
            parsed[name] = known
            entries.append(Entry(match["id"], match["stem"], found))
        # What was not asked for stays known; what has gone is forgotten with the next full listing.
        self._parsed = parsed if voice_id is None else {**self._parsed, **parsed}
        return tuple(entries)

    def put(self, record: VoiceRecord, flac: bytes) -> str:
        """Write a pair and return its stem; on any error nothing of it stays.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        stem = f"{record.id}.{uuid.uuid4().hex[:16]}"
        try:
            self._store.write(f"{stem}.flac", flac)
            self._store.write(f"{stem}.json", record.model_dump_json().encode())
        except BaseException:
            self.remove(stem)
            raise
        return stem

    def remove(self, stem: str) -> None:
        """Take a pair away, its record first; one that is gone already is no error.

        Raises:
            NotReadyError: The store can't be reached.
        """
        self._store.remove(f"{stem}.json")
        self._store.remove(f"{stem}.flac")

    def audio(self, stem: str, record: VoiceRecord) -> tuple[bytes, Pcm]:
        """The FLAC file of a pair and its samples, which are those of the record's hash.

        Raises:
            DamagedError: They are not.
            FileNotFoundError: The pair was deleted.
            NotReadyError: The store can't be reached.
        """
        data = self._store.read(f"{stem}.flac", _MAX_AUDIO_BYTES)
        try:
            pcm = decode_flac(data)
        except ValueError as error:
            raise DamagedError(str(error)) from error
        if pcm_sha256(pcm) != record.sha256:
            raise DamagedError("its samples are not those of its hash")
        return data, pcm

    def _parse(self, name: str, voice_id: str) -> VoiceRecord | str:
        try:
            record = VoiceRecord.model_validate_json(self._store.read(name, _MAX_RECORD_BYTES))
        except ValidationError as error:
            return f"its record is damaged: {error.error_count()} errors"
        if record.id != voice_id or record.sha256[:24] != voice_id.removeprefix("voice_"):
            return "its record belongs to another voice"
        return record

    def _with_audio(
        self, found: VoiceRecord | str, stem: str, files: Mapping[str, StoredFile]
    ) -> VoiceRecord | str:
        """*found*, or what is wrong with its audio as far as sizes tell.

        Raises:
            FileNotFoundError: The voice was deleted while the folder was read.
        """
        if isinstance(found, str):
            return found
        # A folder that changes while it is listed may show a record without its older audio.
        audio = files.get(f"{stem}.flac") or self._store.file(f"{stem}.flac")
        if audio is None:
            if self._store.file(f"{stem}.json") is None:
                raise FileNotFoundError(stem)
            return "its audio is missing"
        if audio.size_bytes != found.audio_bytes:
            return f"its audio has {audio.size_bytes} bytes instead of {found.audio_bytes}"
        return found
