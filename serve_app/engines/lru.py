"""The latest used of something costly, up to so many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteLru(Generic[K, V]):
    """Keeps values until their bytes pass a bound, then lets the longest unused go.

    A value larger than the bound is not kept. Safe for many threads.

    Args:
        bound_bytes: Of all values together.
        size_of: Bytes of a value.
    """

    def __init__(self, bound_bytes: int, size_of: Callable[[V], int]) -> None:
        self._bound_bytes, self._size_of = bound_bytes, size_of
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept."""
        return self._held_bytes

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None if it is not kept."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key]

    def put(self, key: K, value: V) -> V:
        """Keep a value in place of what was there; returns it."""
        with self._lock:
            if key in self._items:
                self._held_bytes -= self._size_of(self._items.pop(key))
            self._items[key] = value
            self._held_bytes += self._size_of(value)
            while self._held_bytes > self._bound_bytes:
                self._held_bytes -= self._size_of(self._items.popitem(last=False)[1])
            return value

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            self._items.clear()
            self._held_bytes = 0
