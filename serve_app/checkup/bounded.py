"""Calls that may never return, such as those of an ill driver, with a time-out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(timeout_s: float, call: Callable[[], T]) -> T:
    """Call in a thread of its own and wait for so long at most.

    A call that hangs keeps its thread, which ends with the process at the latest: nothing can end
    a thread inside a driver.

    Raises:
        TimeoutError: It has not returned in time.
        Exception: As the call.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            future.set_exception(error)

    threading.Thread(target=run, name="probe", daemon=True).start()
    return future.result(timeout_s)
