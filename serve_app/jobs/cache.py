"""Segments by content key: what was once spoken for some job costs the next one nothing.

A key holds all that the audio depends on (engine revision, voices, text, options, seed), so a
cached take is the take that would be spoken. It is a hit only if the file's own header names the
key and its checksum holds; anything else is removed and counts as a miss.

``cache/KEY.take`` are the same files as a job's takes. ``cache/order.json`` tells in which order
they were used; it is written now and then, so a runner that is killed forgets some of the order
and nothing else.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from serve_app.core.job_take import TakeInfo
from serve_app.jobs.folder import Folder
from serve_app.jobs.take_file import DamagedTakeError, Header, split_take, write_take

_NAME: Final = re.compile(r"([0-9a-f]{32})\.take")
_ORDER: Final = "cache/order.json"
_SAVE_EVERY: Final = 64


class SegmentCache:
    """Takes by key in a folder, bounded by size. Every method blocks; safe for many threads.

    Args:
        folder: The store.
        max_bytes: Of all files together; 0 keeps none.
        on_lookup: Told of each lookup whether it was a hit, for a metric.
    """

    def __init__(
        self,
        folder: Folder,
        max_bytes: int,
        on_lookup: Callable[[bool], None] = lambda _hit: None,
    ) -> None:
        self._folder, self._max_bytes, self._on_lookup = folder, max_bytes, on_lookup
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._unsaved = 0

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return self._bytes

    def load(self) -> None:
        """Find what is there; call once before anything else.

        Raises:
            NotReadyError: The store can't be reached.
        """
        self._folder.sweep("cache")
        files = self._folder.files("cache")
        found = {m[1]: files[m[0]] for m in map(_NAME.fullmatch, files) if m is not None}
        order = [key for key in self._saved_order() if key in found]
        with self._lock:
            # What the order does not know was written after it, so it is newer.
            for key in (*order, *sorted(found.keys() - set(order))):
                self._sizes[key] = found[key]
            self._bytes = sum(self._sizes.values())
        self._make_room()

    def get(self, key: str) -> tuple[Header, bytes] | None:
        """The take for *key* as header and packed samples, or None.

        Raises:
            NotReadyError: The store can't be reached.
        """
        found = self._read(key)
        self._on_lookup(found is not None)
        return found

    def put(self, header: Header, flac: bytes) -> None:
        """Keep a take under its key; one that is doubtful is not kept.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        info: TakeInfo = replace(header.info, wall_s=0.0, cached=True)
        data = write_take(replace(header, info=info), flac)
        with self._lock:
            known = info.key in self._sizes
        if known or info.doubtful or len(data) > self._max_bytes:
            return
        self._folder.write(_path(info.key), data)
        with self._lock:
            self._bytes += len(data) - self._sizes.pop(info.key, 0)
            self._sizes[info.key] = len(data)
            self._unsaved += 1
        self._make_room()
        if self._unsaved >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write down in which order segments were used.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        with self._lock:
            order, self._unsaved = list(self._sizes), 0
        self._folder.write(_ORDER, json.dumps(order).encode())

    def _read(self, key: str) -> tuple[Header, bytes] | None:
        with self._lock:
            if key not in self._sizes:
                return None
            self._sizes.move_to_end(key)
            self._unsaved += 1
        try:
            return split_take(self._folder.read(_path(key)), key)
        except (FileNotFoundError, DamagedTakeError):
            self._drop(key)
            return None

    def _saved_order(self) -> list[str]:
        try:
            order = json.loads(self._folder.read(_ORDER))
        except (FileNotFoundError, ValueError):
            return []
        return [str(key) for key in order] if isinstance(order, list) else []

    def _make_room(self) -> None:
        while True:
            with self._lock:
                if self._bytes <= self._max_bytes:
                    return
                oldest = next(iter(self._sizes))
            self._drop(oldest)

    def _drop(self, key: str) -> None:
        with self._lock:
            self._bytes -= self._sizes.pop(key, 0)
        self._folder.remove(_path(key))


def _path(key: str) -> str:
    return f"cache/{key}.take"
