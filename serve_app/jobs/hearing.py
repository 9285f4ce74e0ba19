"""Who hears segments back: a few processes, each with one segment at a time.

Whoever comes waits for a free process, however long that takes: whether a take is heard must not
depend on how busy the machine is. Only from then on the time counts. A process that does not answer
in time, or dies, is replaced, and the segment is heard once more by the new one. After some
failures in a row nobody waits any more: for a while every segment gets an error at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from pydantic import ValidationError

from serve_app.asr import require_model, revision
from serve_app.core.spoken.rule import Language
from serve_app.errors import NotReadyError
from serve_app.jobs.hear_work import HearAnswer, HearOrder

logger = logging.getLogger(__name__)

_START_S: Final = 120.0
"""For a process to load its model."""
_STOP_S: Final = 5.0
_LINE_BYTES: Final = 2**20
_PROGRAM: Final = (sys.executable, "-m", "serve_app.jobs.hear_work")
_TRIES: Final = 2
_MAX_FAILURES: Final = 3
"""In a row, before the processes are left alone for a while."""
_REST_S: Final = 60.0
"""Doubled with each further failure, up to the longest."""
_MAX_REST_S: Final = 3_600.0


class Ear(Protocol):
    """Hears what was spoken."""

    async def revision(self) -> str:
        """Names all that decides what is heard.

        Raises:
            ServeError: It can't be told.
        """
        ...

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        """Listen to a part; the same part always gets the same answer.

        Args:
            flac: Its samples, packed.
            text: All that it says, its utterances joined by spaces.
            language: Of the text.
        Raises:
            NotReadyError: It could not be heard.
        """
        ...


class Ears:
    """See :class:`Ear`; touched by one event loop only.

    Args:
        model_path: Folder of the model.
        processes: Segments heard at once.
        threads: CPU threads of each process.
        timeout_s: For one segment.
        program: What is run as a process, with the model's path and the threads behind it.
        clock: Monotonic seconds.

    Raises:
        ConfigError: There is no model in the folder, or faster-whisper is not installed.
    """

    def __init__(
        self,
        model_path: str,
        *,
        processes: int = 1,
        threads: int = 1,
        timeout_s: float = 300.0,
        program: Sequence[str] = _PROGRAM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_model(model_path)
        self._path, self._threads, self._timeout_s = model_path, threads, timeout_s
        self._command = (*program, model_path, str(threads))
        self._free = asyncio.Semaphore(processes)
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._naming = asyncio.Lock()
        self._revision: str | None = None
        self._clock, self._rests_until_s = clock, clock()
        self._failures, self._why = 0, ""

    async def revision(self) -> str:
        """Read the model once, in a thread.

        Raises:
            ConfigError: It can't be read.
        """
        async with self._naming:
            if self._revision is None:
                named = await asyncio.to_thread(revision, self._path)
                self._revision = f"{named}+threads-{self._threads}"
            return self._revision

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        """Wait for a free process and let it listen; see :meth:`Ear.hear`."""
        order = HearOrder(text=text, language=language, flac_bytes=len(flac))
        head = order.model_dump_json().encode() + b"\n"
        async with self._free:
            if self._clock() < self._rests_until_s:
                raise NotReadyError(self._why)
            for tried in range(_TRIES):
                try:
                    answer = await self._once(head, flac, fresh=tried > 0)
                except NotReadyError as error:
                    self._why = error.message
                    logger.warning("a segment could not be heard back: %s", self._why)
                else:
                    self._failures = 0
                    return answer
            self._fail()
            raise NotReadyError(self._why)

    async def close(self) -> None:
        """End all processes, whatever they listen to."""
        await asyncio.gather(*(child.end() for child in list(self._children)))
        self._children.clear()
        self._idle.clear()

    def _fail(self) -> None:
        self._failures += 1
        more = self._failures - _MAX_FAILURES
        if more >= 0:
            rest_s = _REST_S * 2.0 ** min(more, 10)
            self._rests_until_s = self._clock() + min(rest_s, _MAX_REST_S)

    async def _once(self, head: bytes, flac: bytes, *, fresh: bool) -> HearAnswer:
        child = self._idle.pop() if self._idle else None
        if child is not None and fresh:
            await self._drop(child)
            child = None
        if child is None:
            child = await self._started()
        try:
            answer = await child.ask(head, flac, self._timeout_s)
        except BaseException:
            # It may still listen to what nobody waits for, so its next answer would be a wrong one.
            await self._drop(child)
            raise
        self._idle.append(child)
        return answer

    async def _started(self) -> _Child:
        child = await _Child.start(self._command)
        self._children.add(child)
        try:
            await child.answer(_START_S)
        except BaseException:
            await self._drop(child)
            raise
        return child

    async def _drop(self, child: _Child) -> None:
        """End a process; one that is cancelled meanwhile ends it nevertheless."""
        self._children.discard(child)
        await asyncio.shield(asyncio.create_task(child.end()))


class _Child:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str]) -> _Child:
        try:
            return cls(
                await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=_LINE_BYTES,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            )
        except OSError as error:
            raise NotReadyError(f"no process for the recogniser ({error.strerror})") from error

    async def ask(self, head: bytes, flac: bytes, limit_s: float) -> HearAnswer:
        assert self._process.stdin is not None
        try:
            async with asyncio.timeout(limit_s):
                self._process.stdin.writelines((head, flac))
                await self._process.stdin.drain()
        except TimeoutError:
            raise NotReadyError(f"the recogniser took nothing for {limit_s:g} s") from None
        except (OSError, RuntimeError) as error:  # uvloop raises the latter for a pipe that is shut
            raise NotReadyError(f"the recogniser's process is gone ({error})") from error
        return await self.answer(limit_s)

    async def answer(self, limit_s: float) -> HearAnswer:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise NotReadyError(f"the recogniser did not answer within {limit_s:g} s") from None
        except ValueError as error:
            raise NotReadyError("the recogniser's answer has no end") from error
        if not line:
            raise NotReadyError("the recogniser's process has ended")
        try:
            answer = HearAnswer.model_validate_json(line)
        except ValidationError as error:
            raise NotReadyError("the recogniser gave no answer that can be read") from error
        if answer.failure:
            raise NotReadyError(f"the recogniser failed ({answer.failure})")
        return answer

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
