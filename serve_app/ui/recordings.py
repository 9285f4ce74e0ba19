"""Speech on its way from the service into a file, heard by a browser while the file grows.

A recording is owned by this process, not by the page that asked for it: a listener may come late,
come again, or leave, and the download is the very bytes that were heard (a WAV gets its true
length at the end). Nothing of the audio is held in memory.
"""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from serve_app.core.audio import BYTES_PER_SAMPLE, wav_header
from serve_app.encode import AI_MARK, FORMATS
from serve_app.errors import OverloadedError, ServeError
from serve_app.ui.speech_api import Progress, SpeechApi, Stream

logger = logging.getLogger(__name__)

State = Literal["starting", "speaking", "complete", "failed", "stopped"]
ENDED: Final = frozenset({"complete", "failed", "stopped"})

_POLL_S: Final = 0.4
_READ_BYTES: Final = 64 * 1024
_OUTCOME_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Order:
    """What to speak.

    Args:
        text: The script.
        speakers: Voice id by speaker, as far as it was chosen.
        audio_format: ``mp3``, ``wav`` or ``flac``.
    """

    text: str
    speakers: Mapping[str, str]
    audio_format: str


@dataclass(frozen=True, slots=True)
class Status:
    """A recording at one moment.

    Args:
        state: Where it is.
        size: Bytes that can be heard.
        progress: What the service says of it, or None before it has begun.
        error: Why it failed, or None.
    """

    state: State = "starting"
    size: int = 0
    progress: Progress | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """True if nothing will come any more."""
        return self.state in ENDED


class Recording:
    """One order being spoken into one file.

    Args:
        key: Its unguessable name.
        order: What to speak.
        folder: Where its file goes.
        api: The service.
    """

    def __init__(self, key: str, order: Order, folder: Path, api: SpeechApi) -> None:
        self.key, self.order = key, order
        self.path = folder / f"{key}.{FORMATS[order.audio_format].extension}"
        self._api = api
        self._status = Status()
        self._changed = asyncio.Event()
        self._request_id: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> Status:
        """As it is now."""
        return self._status

    @property
    def media_type(self) -> str:
        """MIME type of its file."""
        return FORMATS[self.order.audio_format].media_type

    async def start(self) -> None:
        """Begin to speak; once."""
        await asyncio.to_thread(self.path.touch)
        self._task = asyncio.create_task(self._run(), name=f"recording-{self.key[:6]}")

    async def stop(self) -> None:
        """Stop speaking at once; what was heard stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if not self._status.ended:  # cancelled before its first step
            self._set(replace(self._status, state="stopped"))

    async def changed(self, timeout_s: float) -> Status:
        """The status after its next change, or after *timeout_s*."""
        if not self._status.ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self._status

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """The file from its beginning, as far as it is there, and then as it grows."""
        position = 0
        with await asyncio.to_thread(self.path.open, "rb", buffering=0) as file:
            while True:
                status, changed = self._status, self._changed
                while position < status.size:
                    data = await asyncio.to_thread(
                        file.read, min(_READ_BYTES, status.size - position)
                    )
                    position += len(data)
                    yield data
                if status.ended:
                    return
                await changed.wait()

    def _set(self, status: Status) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        self._status = status
        changed.set()

    async def _run(self) -> None:
        try:
            await self._record()
            self._set(replace(self._status, state="complete"))
        except asyncio.CancelledError:
            self._set(replace(self._status, state="stopped"))
            raise
        except ServeError as error:
            self._set(replace(self._status, state="failed", error=await self._reason(error)))
        except Exception as error:
            logger.exception("recording %s failed", self.key[:6])
            self._set(replace(self._status, state="failed", error=f"{type(error).__name__}"))

    async def _record(self) -> None:
        wav = self.order.audio_format == "wav"
        asked = "pcm" if wav else self.order.audio_format
        speak = self._api.speak(self.order.text, self.order.speakers, asked)
        with await asyncio.to_thread(self.path.open, "r+b", buffering=0) as file:
            async with speak as stream:
                self._request_id = stream.request_id
                polling = asyncio.create_task(self._poll(stream.request_id))
                try:
                    header = wav_header(None, AI_MARK) if wav else b""
                    await self._write(file, header)
                    async for data in stream.audio:
                        await self._write(file, data)
                finally:
                    polling.cancel()
                    await asyncio.wait([polling])
            await self._check_end(stream)
            if wav:
                samples = (self._status.size - len(header)) // BYTES_PER_SAMPLE
                await asyncio.to_thread(_rewrite, file, wav_header(samples, AI_MARK))

    async def _reason(self, error: ServeError) -> str:
        """What went wrong: a stream that breaks off can't say it, the service can."""
        if self._request_id is not None:
            with suppress(ServeError):
                progress = await self._api.progress(self._request_id)
                return progress.error or error.message
        return error.message

    async def _write(self, file: io.FileIO, data: bytes) -> None:
        await asyncio.to_thread(_write_all, file, data)
        status = self._status
        self._set(replace(status, state="speaking", size=status.size + len(data)))

    async def _poll(self, request_id: str) -> None:
        while True:
            # A question that fails is asked again; the stream itself tells what is wrong.
            with suppress(ServeError):
                progress = await self._api.progress(request_id)
                self._set(replace(self._status, progress=progress))
            await asyncio.sleep(_POLL_S)

    async def _check_end(self, stream: Stream) -> None:
        """Ask how the stream ended: bytes that stop don't say whether they are whole.

        Raises:
            ServeError: It is not whole, or nobody knows.
        """
        for _ in range(_OUTCOME_TRIES):
            progress = await self._api.progress(stream.request_id)
            self._set(replace(self._status, progress=progress))
            if progress.status == "complete":
                return
            if progress.status != "running":
                raise ServeError(f"The speech ended as {progress.status}: {progress.error}")
            await asyncio.sleep(0.05)  # the service notes the end just after the last byte
        raise ServeError("The service has sent the last byte but does not say that it is done.")


def _write_all(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _rewrite(file: io.FileIO, header: bytes) -> None:
    file.seek(0)
    _write_all(file, header)


class Recordings:
    """The recordings of all pages; each page has one that runs.

    Args:
        api: The service; owned.
        limit: Recordings kept; the oldest that has ended makes room.
    """

    def __init__(self, api: SpeechApi, limit: int) -> None:
        self._api, self._limit = api, limit
        self._folder = Path(tempfile.mkdtemp(prefix="vibevoice-studio-"))
        self._by_key: dict[str, Recording] = {}
        self._by_page: dict[str, Recording] = {}

    async def start(self, page: str, order: Order) -> Recording:
        """Speak *order* for *page*; what the page had before is stopped and removed.

        Raises:
            OverloadedError: As many recordings as are kept are running.
        """
        former = self._by_page.pop(page, None)
        if former is not None:
            await self._drop(former)
        await self._make_room()
        key = secrets.token_urlsafe(18)
        recording = Recording(key, order, self._folder, self._api)
        self._by_key[key] = self._by_page[page] = recording
        await recording.start()
        return recording

    def find(self, key: str) -> Recording | None:
        """The recording of that name."""
        return self._by_key.get(key)

    async def stop(self, page: str) -> None:
        """Stop what *page* has running; what was spoken can still be heard."""
        recording = self._by_page.get(page)
        if recording is not None:
            await recording.stop()

    async def close(self) -> None:
        """Stop everything and remove all files."""
        for recording in self._by_key.values():
            await recording.stop()
        await self._api.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _make_room(self) -> None:
        while len(self._by_key) >= self._limit:
            ended = (kept for kept in self._by_key.values() if kept.status.ended)
            oldest = next(ended, None)
            if oldest is None:
                raise OverloadedError(
                    f"{len(self._by_key)} recordings are running, which is the limit of this "
                    "studio; try again when one has ended."
                )
            await self._drop(oldest)

    async def _drop(self, recording: Recording) -> None:
        self._by_key.pop(recording.key, None)
        self._by_page = {page: kept for page, kept in self._by_page.items() if kept != recording}
        await recording.stop()
        await asyncio.to_thread(recording.path.unlink, missing_ok=True)
