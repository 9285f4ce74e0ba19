"""The ingress' side of the replicas: a Serve handle turned into plain calls and our errors."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.core.avoid import AvoidedReplicas
from serve_app.engines.base import Chunk, EngineInfo, SpeakTask
from serve_app.errors import (
    CardPausedError,
    EngineCrashedError,
    EngineError,
    NotReadyError,
    ServeError,
)
from serve_app.permit import Refused
from serve_app.pieces import SpeechReport, Started, TakeItem, Waiting
from serve_app.readiness import Readiness
from serve_app.replica import ReplicaInfo
from telemetry.spans import Span, segment_span

_DESCRIBE_TIMEOUT_S = 3.0
_FRESH_S = 30.0
_PAUSED_RETRY_S = 0.02
_PAUSED_RETRY_MOST_S = 0.5


class ReplicaHandle:
    """Calls replicas through Ray Serve.

    Args:
        handle: Handle of the ``Synth`` deployment.
        clock: That of the router, which runs in this process.
        full: Whether all slots of the fleet speak, as its nodes tell.
    """

    def __init__(
        self,
        handle: DeploymentHandle[Any],
        clock: Callable[[], float] = time.monotonic,
        *,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._handle, self._clock, self._full = handle, clock, full
        self._streaming = handle.options(stream=True)
        self._info: ReplicaInfo | None = None
        self._spoke_s: float | None = None
        self._avoided = AvoidedReplicas(clock)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        """Speak *task* on some replica; closing the stream cancels it there.

        Raises:
            ServeError: The engine's own error, or EngineCrashedError when the replica died.
        """
        for replica in task.failed_on[-1:]:  # one that hung is known only to who waited for it
            self._avoided.failed(replica)
        with segment_span(
            index=task.tag,
            attempt=task.attempt,
            key=task.key,
            characters=sum(len(line.text) for line in task.lines),
        ) as span:
            async with aclosing(self._accepted(task, span)) as batches:
                async for batch in batches:
                    for item in batch:
                        self._note(item)
                        yield item

    async def _accepted(
        self, task: SpeakTask, span: Span
    ) -> AsyncGenerator[tuple[TakeItem | Waiting, ...], None]:
        """As :meth:`_called`, of the first replica whose card is not too hot.

        Who asks is told of each refusal and has a time-out of its own, so this may try for ever.
        """
        pause_s = _PAUSED_RETRY_S
        while True:
            try:
                async with aclosing(self._called(task, span)) as batches:
                    async for batch in batches:
                        yield batch
            except CardPausedError:
                span.event("card paused", {"vibevoice.wait": pause_s})
                yield (Waiting(),)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSED_RETRY_MOST_S)
            else:
                return

    async def _called(
        self, task: SpeakTask, span: Span
    ) -> AsyncGenerator[tuple[TakeItem, ...], None]:
        with span.active():
            response = self._streaming.speak.remote(task, self._to_avoid(task))
        replica = None
        try:
            async for batch in response:
                if isinstance(batch[-1], Refused):  # which comes alone
                    self._avoided.refused(batch[-1].replica)
                    raise CardPausedError(batch[-1].why)
                replica = batch[0].replica if isinstance(batch[0], Started) else replica
                yield batch
                if replica is not None and isinstance(batch[-1], SpeechReport):
                    self._avoided.spoke(replica)
        except (RayError, RayServeException) as error:
            failure = _told(error, task)
            if replica is not None and isinstance(failure, EngineError):
                self._avoided.failed(replica)
            raise failure from error
        finally:
            # Leaving a stream doesn't stop its replica; only this does.
            response.cancel()

    def _to_avoid(self, task: SpeakTask) -> Mapping[str, float]:
        """Replicas that should not have *task*, each with the time up to which."""
        return {**self._avoided.until_s(), **dict.fromkeys(task.failed_on, math.inf)}

    async def engine(self) -> EngineInfo:
        """Engine facts, asked once; a replica with a new revision is asked again.

        Raises:
            NotReadyError: No replica answers.
        """
        if self._info is None:
            self._info = await self._describe()
        return self._info.engine

    async def readiness(self) -> Readiness:
        """Ready if a replica has given audio lately, answers now, or all of them speak."""
        if self._spoke_s is not None and self._clock() - self._spoke_s < _FRESH_S:
            return Readiness(True, {"spoke_s_ago": round(self._clock() - self._spoke_s, 1)})
        try:
            self._info = await self._describe()
        except NotReadyError as error:
            # Who speaks in all its slots has none left to answer with.
            if self._info is not None and self._full():
                return Readiness(True, {"all_slots_speak": True})
            return Readiness(False, {"reasons": [error.message]})
        identity = self._info.identity
        return Readiness(True, {"replica": identity.replica, "spoke_test_word": True})

    async def _describe(self) -> ReplicaInfo:
        response = self._handle.describe.remote()
        try:
            async with asyncio.timeout(_DESCRIBE_TIMEOUT_S):
                info: ReplicaInfo = await response
        except (TimeoutError, RayError, RayServeException) as error:
            raise NotReadyError(
                f"No replica answered within {_DESCRIBE_TIMEOUT_S:g} s ({type(error).__name__}): "
                "they are starting, busy or gone. Try again shortly."
            ) from error
        finally:
            response.cancel()
        return info

    def _note(self, item: TakeItem | Waiting) -> None:
        if isinstance(item, Started):
            if self._info is not None and item.revision != self._info.engine.revision:
                self._info = None
        elif isinstance(item, Chunk):
            self._spoke_s = self._clock()


def _told(error: Exception, task: SpeakTask) -> ServeError:
    """What went wrong with a call of ``speak``, in our words."""
    if isinstance(error, RayTaskError):
        return own_error(error)
    if isinstance(error, RayActorError):
        return EngineCrashedError(
            f"the replica that spoke segment {task.tag} is gone ({type(error).__name__})"
        )
    return EngineError(f"the call for segment {task.tag} failed ({type(error).__name__})")


def own_error(error: RayTaskError) -> ServeError:
    """The error that the replica raised, without Ray's wrapping."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ServeError):
        return cause
    if isinstance(error, ServeError):
        return type(error)(*error.args)
    return EngineError(f"the replica failed with {type(cause or error).__name__}")
