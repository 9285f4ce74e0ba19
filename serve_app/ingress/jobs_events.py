"""A job's events as server-sent events, resumable by ``Last-Event-ID``.

A stream ends with the event ``end`` once the job has ended and its file is there. Who comes back
with the id of that event is answered 204, which tells a browser to stop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from serve_app.errors import NotFoundError, NotReadyError
from serve_app.jobs.feed import JobEvent
from serve_app.jobs.port import JobCalls
from serve_app.jobs.views import JobView

KEEP_ALIVE_S: Final = 15.0
_AGAIN_S: Final = 1.0
_PATIENCE: Final = 120
_END: Final = ".end"
_LAST_S: Final = 0.2
"""Silence after which a job that is over has nothing more to tell."""

_TURNS: Final = frozenset({"snapshot", "status", "edition", "file"})
_BEGIN: Final = b"retry: 2000\n\n"
_ALIVE: Final = b": alive\n\n"
_AWAY: Final = b": the runner is being replaced\n\n"


def is_over(view: JobView) -> bool:
    """Nothing more will happen unless someone asks for it."""
    making = any(file.state == "making" for file in view.files or ())
    return view.status.ended and not making


def knows_the_end(last_event_id: str | None) -> bool:
    """Whether a listener has heard a stream to its end."""
    return last_event_id is not None and last_event_id.endswith(_END)


async def events(
    jobs: JobCalls, job_id: str, after: str | None, keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncGenerator[bytes, None]:
    """The stream of a job; a runner that is replaced meanwhile does not end it.

    Args:
        jobs: The runner.
        job_id: The job.
        after: Id of the last event that was heard, if any.
        keep_alive_s: Longest silence.
    """
    yield _BEGIN
    away = 0
    while away < _PATIENCE:
        told = _Told(jobs.events(job_id, after), keep_alive_s)
        try:
            over = False
            async for event in told.items():
                away = 0
                if event is None and over:
                    yield _event(f"{after}{_END}", "end", {})
                    return
                if event is None:
                    yield _ALIVE
                    continue
                after = event.id
                yield _event(event.id, event.kind, event.data)
                if event.kind in _TURNS:
                    over = is_over(await jobs.get(job_id))
                    told.patience_s = _LAST_S if over else keep_alive_s
        except NotReadyError:
            yield _AWAY
        except NotFoundError:
            return
        finally:
            await told.close()
        away += 1
        await asyncio.sleep(_AGAIN_S)


class _Told:
    """Events with a sign of life where there are none.

    Args:
        stream: The events.
        patience_s: Longest silence; may be changed meanwhile.
    """

    def __init__(self, stream: AsyncGenerator[JobEvent, None], patience_s: float) -> None:
        self._stream, self.patience_s = stream, patience_s
        self._next: asyncio.Task[JobEvent | None] | None = None

    async def items(self) -> AsyncGenerator[JobEvent | None, None]:
        """The events; None after each silence."""
        while True:
            self._next = self._next or asyncio.create_task(self._take())
            await asyncio.wait({self._next}, timeout=self.patience_s)
            if not self._next.done():
                yield None
                continue
            taken, self._next = self._next, None
            event = taken.result()
            if event is None:
                return
            yield event

    async def close(self) -> None:
        """End the stream behind it."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._stream.aclose()

    async def _take(self) -> JobEvent | None:
        return await anext(self._stream, None)


def _event(event_id: str, kind: str, data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"))
    return f"id: {event_id}\nevent: {kind}\ndata: {text}\n\n".encode()
