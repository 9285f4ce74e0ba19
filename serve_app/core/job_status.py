"""Where a job stands, and what moves it: the table is the machine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DAMAGED = "damaged"

    @property
    def ended(self) -> bool:
        """Nothing happens any more unless someone asks for it."""
        return self in _ENDED


class Signal(StrEnum):
    """What moves a job: the runner's, a user's, and the book's own."""

    START = "start"
    BLOCK = "block"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    REOPEN = "reopen"
    COMPLETE = "complete"
    FAIL = "fail"


_S = Status
_ENDED: Final = frozenset({_S.COMPLETE, _S.FAILED, _S.CANCELLED, _S.DAMAGED})
TRANSITIONS: Final[Mapping[Status, Mapping[Signal, Status]]] = MappingProxyType(
    {
        _S.QUEUED: {
            Signal.START: _S.RUNNING,
            Signal.BLOCK: _S.WAITING,
            Signal.PAUSE: _S.PAUSED,
            Signal.RESUME: _S.QUEUED,
            Signal.CANCEL: _S.CANCELLED,
            Signal.REOPEN: _S.QUEUED,
            Signal.COMPLETE: _S.COMPLETE,
            Signal.FAIL: _S.FAILED,
        },
        _S.RUNNING: {
            Signal.START: _S.RUNNING,
            Signal.BLOCK: _S.WAITING,
            Signal.PAUSE: _S.PAUSED,
            Signal.RESUME: _S.RUNNING,
            Signal.CANCEL: _S.CANCELLED,
            Signal.REOPEN: _S.RUNNING,
            Signal.COMPLETE: _S.COMPLETE,
            Signal.FAIL: _S.FAILED,
        },
        _S.WAITING: {
            Signal.START: _S.RUNNING,
            Signal.BLOCK: _S.WAITING,
            Signal.PAUSE: _S.PAUSED,
            Signal.RESUME: _S.QUEUED,
            Signal.CANCEL: _S.CANCELLED,
            Signal.REOPEN: _S.WAITING,
            Signal.COMPLETE: _S.COMPLETE,
            Signal.FAIL: _S.FAILED,
        },
        _S.PAUSED: {
            Signal.BLOCK: _S.PAUSED,
            Signal.PAUSE: _S.PAUSED,
            Signal.RESUME: _S.QUEUED,
            Signal.CANCEL: _S.CANCELLED,
            Signal.REOPEN: _S.PAUSED,
            Signal.COMPLETE: _S.COMPLETE,
            Signal.FAIL: _S.FAILED,
        },
        _S.COMPLETE: {
            Signal.COMPLETE: _S.COMPLETE,
            Signal.REOPEN: _S.QUEUED,
        },
        _S.FAILED: {
            Signal.FAIL: _S.FAILED,
            Signal.RESUME: _S.QUEUED,
            Signal.REOPEN: _S.QUEUED,
            Signal.CANCEL: _S.CANCELLED,
        },
        _S.CANCELLED: {
            Signal.CANCEL: _S.CANCELLED,
        },
        _S.DAMAGED: {},
    }
)
"""Next status by status and signal; a signal without an entry is refused."""
