"""500 slow, broken and vanishing clients, and a few good ones that must not notice.

The real application over a real socket, with a simulated engine in its process; the rude clients
share a key with a bound of streams, as a key has that is given away. What is open and held is
counted before and after: tasks, threads, sockets, places on the cards, requests, memory.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias

from fastapi import FastAPI

from serve_app.access import Access
from serve_app.config import parse_settings
from serve_app.core.fair import FairPool
from serve_app.core.limits import KeyLimits
from serve_app.engines.base import EngineInfo
from serve_app.engines.registry import create
from serve_app.ingress.bounded import GateRules
from serve_app.ingress.gate import Gate
from serve_app.ingress.http import create_app
from serve_app.ingress.service import Service
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.outcomes import Outcomes
from serve_app.prepare import Ability
from serve_app.readiness import Readiness
from serve_app.replica import ReplicaIdentity, Speaker
from serve_app.speech import SpeechService
from telemetry.speech_metrics import NoSynthesisHook
from tests.browser.serving import serving
from tests.malformed import wrong_requests
from tests.processes import rss_bytes

CLIENTS, SECONDS = 500, 120.0
MOST_GROWN_MIB: Final = 64
"""Of resident memory, from the first settled moment on."""
_GOOD, _RUDE = "vvs-good", "vvs-rude"
_SLOTS, _RUDE_STREAMS, _GOOD_CLIENTS = 8, 6, 3
_BODY_S, _SEND_S = 1.0, 2.0
_SETTLE_S = 20.0
_POOLED: Final = ("asyncio_", "uvloop_", "AnyIO worker thread")
"""Threads of the loop's own bounded pools, which grow to their bound as they are used."""
_SHORT: Final = "Hello, is anybody there? I should like to speak to the lady of the house."
_LONG: Final = "There was once a sentence that went on and on, and nobody could stop it. " * 60
_PATH: Final = "/v1/audio/speech"


class Silent(NoSynthesisHook):
    """A node that nobody asks."""

    def load(self, busy: int, slots: int) -> None:
        """Not written down."""


@dataclass
class Target:
    """The service and what can be counted in it.

    Args:
        pool: Places on its cards.
        outcomes: Its streams.
        speaker: Its replica.
    """

    pool: FairPool
    outcomes: Outcomes
    speaker: Speaker
    info: EngineInfo
    loop: asyncio.AbstractEventLoop | None = None
    gate: Gate | None = None

    async def engine(self) -> EngineInfo:
        """Facts of the engine."""
        return self.info

    async def readiness(self) -> Readiness:
        """Always ready."""
        return Readiness(True, {})

    def counts(self) -> dict[str, int]:
        """What is open or held."""
        assert self.loop is not None
        assert self.gate is not None
        tasks = asyncio.run_coroutine_threadsafe(_tasks(), self.loop).result(10)
        return {
            "tasks": tasks,
            "threads": sum(not t.name.startswith(_POOLED) for t in threading.enumerate()),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "places": self.pool.used + self.pool.waiting,
            "streams": self.outcomes.running,
            "requests": self.gate.open_requests,
        }


async def _tasks() -> int:
    return len(asyncio.all_tasks())


@dataclass
class Report:
    """What came of a storm.

    Args:
        before, after: Counts.
        grown_mib: Resident memory.
        rude: Visits of rude clients.
        good: Answers to good clients.
        harmed: Good requests that went wrong, and how.
        waits_s: To the whole answer of each good request.
    """

    before: dict[str, int]
    after: dict[str, int] = field(default_factory=dict)
    grown_mib: float = 0.0
    rude: int = 0
    good: int = 0
    harmed: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


def run() -> Sequence[str]:
    """Two minutes of it; a leak or a harmed client is an error."""
    report = storm(CLIENTS, SECONDS)
    waits_s = sorted(report.waits_s)
    lines = [
        f"storm: {CLIENTS} rude clients for {SECONDS:.0f} s made {report.rude} visits",
        f"before {report.before}",
        f"after  {report.after}, memory {report.grown_mib:+.0f} MiB",
        f"good   {report.good} answers, {len(report.harmed)} harmed, wait p50 "
        f"{waits_s[len(waits_s) // 2]:.2f} s, p95 {waits_s[int(len(waits_s) * 0.95)]:.2f} s",
    ]
    leaks = any(report.after[key] > count for key, count in report.before.items())
    if report.harmed or leaks or report.grown_mib >= MOST_GROWN_MIB:
        raise AssertionError("\n".join([*lines, *report.harmed[:5]]))
    return lines


def storm(clients: int, seconds: float) -> Report:
    """Let so many rude clients loose for so long."""
    with _target() as (target, port):
        asyncio.run(_weather(port, clients // 10, 2.0, Report({})))  # imports, threads, arenas
        report = Report(_settled(target, None))
        memory_bytes = rss_bytes(os.getpid())
        asyncio.run(_weather(port, clients, seconds, report))
        report.after = _settled(target, report.before)
        report.grown_mib = (rss_bytes(os.getpid()) - memory_bytes) / 2**20
        return report


def _settled(target: Target, wanted: dict[str, int] | None) -> dict[str, int]:
    """The counts once nothing changes any more, or once they are as wanted."""
    deadline_s = time.monotonic() + _SETTLE_S
    last: dict[str, int] = {}
    while time.monotonic() < deadline_s:
        counts = target.counts()
        if counts == last if wanted is None else all(counts[k] <= wanted[k] for k in wanted):
            return counts
        last = counts
        time.sleep(0.5)
    return last


@contextmanager
def _target() -> Iterator[tuple[Target, int]]:
    options = {"slots": _SLOTS, "first_chunk_s": 0.02, "real_time_factor": 0.05}
    engine = create("simulated", options)
    identity = ReplicaIdentity("r", "n", None, simulated=True)
    speaker = Speaker(engine, identity, Silent(), NoSynthesisHook())
    settings = parse_settings(
        {"engine": {"kind": "simulated"}, "cards": "none", "speech": {"buffer_mib": 4}}
    )
    target = Target(FairPool(_SLOTS), Outcomes(), speaker, engine.info)
    speech = SpeechService(
        settings.speech,
        speak=speaker.speak,
        pool=target.pool,
        outcomes=target.outcomes,
        ability=Ability(),
    )
    service = Service(settings, speech, target, _no_metrics)
    ring = KeyRing(
        [
            ApiKey("good", digest_of(_GOOD), admin=False, limits=KeyLimits()),
            ApiKey("rude", digest_of(_RUDE), admin=False, limits=KeyLimits(None, _RUDE_STREAMS)),
        ]
    )
    rules = GateRules(body_timeout_s=_BODY_S, whole_body_timeout_s=3.0, send_timeout_s=_SEND_S)
    app = create_app(service, Access(ring, rules))
    app.router.lifespan_context = _watching(target, app)
    try:
        with serving(lambda _url: app) as served:
            yield target, served.port
    finally:
        asyncio.run(speaker.close())


def _watching(target: Target, app: FastAPI) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncGenerator[None, None]:
        target.loop = asyncio.get_running_loop()
        found: Any = app.middleware_stack
        while not isinstance(found, Gate):
            found = found.app
        target.gate = found
        yield

    return lifespan


async def _no_metrics(_since: float | None) -> dict[str, Any]:
    return {"gpu": [], "inference": []}


async def _weather(port: int, clients: int, seconds: float, report: Report) -> None:
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_rude(port, random.Random(number), until_s, report))
        for _ in range(_GOOD_CLIENTS):
            group.create_task(_good(port, until_s, report))


async def _good(port: int, until_s: float, report: Report) -> None:
    usual = None
    while time.monotonic() < until_s:
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(_request(_GOOD, _SHORT))
                data = await reader.read(-1)
                writer.close()
        except (OSError, TimeoutError) as error:
            report.harmed.append(f"{type(error).__name__}: {error}")
            continue
        report.waits_s.append(time.monotonic() - begun_s)
        report.good += 1
        status, audio = _answer(data)
        usual = usual or audio
        if (
            status != 200 or not audio or audio != usual
        ):  # the same text is the same audio, to its last byte
            report.harmed.append(f"{len(audio)} bytes of {len(usual)}: {data[:300]!r}")


def _answer(data: bytes) -> tuple[int, bytes]:
    """Status and body of an answer; 0 if it is not whole."""
    answer = HTTPResponse(_Received(data))  # type: ignore[arg-type] # all that it asks of a socket
    try:
        answer.begin()
        return answer.status, answer.read()
    except (HTTPException, ValueError):
        return 0, b""


class _Received:
    """A socket from which all has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        """What was read."""
        return BytesIO(self._data)


async def _rude(port: int, dice: random.Random, until_s: float, report: Report) -> None:
    manners = (_drips, _tears, _vanishes, _dawdles, _stares, _babbles)
    while time.monotonic() < until_s:
        report.rude += 1
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_BODY_S + _SEND_S + 5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**14)
                try:
                    await dice.choice(manners)(reader, writer, dice)
                finally:
                    if dice.random() < 0.5:  # with a bang: RST instead of FIN
                        linger = struct.pack("ii", 1, 0)
                        held = writer.get_extra_info("socket")
                        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.close()
        await asyncio.sleep(dice.random())


Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


async def _drips(_reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Sends its body a few bytes at a time."""
    data = _request(_RUDE, _SHORT)
    for at in range(0, len(data), 40):
        writer.write(data[at : at + 40])
        await writer.drain()
        await asyncio.sleep(dice.random() * 0.4)


async def _tears(_reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Leaves in the middle of its request."""
    data = _request(_RUDE, _SHORT)
    writer.write(data[: dice.randint(1, len(data) - 1)])
    await writer.drain()


async def _vanishes(reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Leaves in the middle of its answer."""
    writer.write(_request(_RUDE, _LONG))
    await reader.read(dice.randint(1, 50_000))


async def _dawdles(reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Reads a little now and then."""
    writer.write(_request(_RUDE, _LONG))
    for _ in range(dice.randint(1, 10)):
        await reader.read(1000)
        await asyncio.sleep(0.3)


async def _stares(_reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Asks, and reads nothing; or does not even ask."""
    if dice.random() < 0.7:
        writer.write(_request(_RUDE, _LONG))
    await asyncio.sleep(_SEND_S + 1)


async def _babbles(reader: Reader, writer: Writer, dice: random.Random) -> None:
    """Sends nonsense."""
    writer.write(next(wrong_requests(dice.randint(0, 10**9))).data)
    await reader.read(1000)


def _request(key: str, text: str) -> bytes:
    body = f'{{"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": "{text}"}}'
    return (
        f"POST {_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
