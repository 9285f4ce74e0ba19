"""A client that costs little beside the service that it measures: HTTP/1.1 over asyncio streams."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answered:
    """One answer.

    Args:
        status: HTTP status.
        size_bytes: Of its body.
        first_s: From the request to the first byte of the body, s.
        wall_s: From the request to its last byte, s.
    """

    status: int
    size_bytes: int
    first_s: float
    wall_s: float


class Connection:
    """One connection that is kept open; for one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._prefix = parts.path.rstrip("/")

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(OSError):  # else it would stay open for as long as its loop does other work
            await self._writer.wait_closed()

    async def post(self, path: str, body: dict[str, Any]) -> Answered:
        """Send a request and read its whole answer."""
        async with asyncio.timeout(_TIMEOUT_S):
            begun_s = time.perf_counter()
            self.send(path, body)
            status, headers = await self.head()
            if (length := headers.get("content-length")) is not None:
                data = await self._reader.readexactly(int(length))
                first_s = time.perf_counter() - begun_s
                return Answered(status, len(data), first_s, time.perf_counter() - begun_s)
            size, first_s = 0, 0.0
            while count := int(await self._reader.readline(), 16):
                await self._reader.readexactly(count + 2)
                first_s = first_s or time.perf_counter() - begun_s
                size += count
            await self._reader.readline()
            return Answered(status, size, first_s, time.perf_counter() - begun_s)

    def send(self, path: str, body: dict[str, Any]) -> None:
        """Send a request only."""
        data = json.dumps(body).encode()
        self._writer.write(
            f"POST {self._prefix}{path} HTTP/1.1\r\nhost: {self._host}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            + data
        )

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return int(lines[0].split()[1]), headers

    async def read(self, most: int) -> bytes:
        """Some of the answer's bytes."""
        async with asyncio.timeout(_TIMEOUT_S):
            return await self._reader.read(most)
