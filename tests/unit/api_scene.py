"""All routes of the HTTP face behind a real socket, and jobs that stand where a test wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from fastapi import FastAPI

from serve_app.access import Access
from serve_app.core.limits import KeyLimits
from serve_app.engines.simulated_faults import FaultRule
from serve_app.fleet_link import FleetLink
from serve_app.ingress.bounded import App, Receive, Scope, Send
from serve_app.ingress.http import create_app
from serve_app.jobs.port import JobsPort
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_roster import LibraryReplicas, VoiceRoster
from serve_app.voices import VoiceLibrary
from telemetry.card_watch import ActiveAlert
from telemetry.cluster import ClusterView
from telemetry.core.channels import ChannelCount
from telemetry.core.history import Window
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Language
from telemetry.core.thermal import DEFAULT_RULES
from telemetry.fleet_watch import FleetWatch
from tests.browser.serving import serving
from tests.fleet_source import Fleet
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import ENGINE, SETTINGS, Known, service
from tests.unit.job_scene import FAST, finish_here, scene

KEY = "vvs-described"
HEADERS = {"Authorization": f"Bearer {KEY}"}
RING = KeyRing([ApiKey("tester", digest_of(KEY), admin=True, limits=KeyLimits())])
STANDINGS = ("complete", "failed", "cancelled", "paused")
ALIASES = {"alloy": "tenor", "nova": "alto", "onyx": "tenor"}
_POISON = "unspeakable"
_SHORT = "One ship sails. It never comes back, and nobody knows why."
_LONG = "\n\n".join(f"{_SHORT} That was tale {n}." for n in range(60))
_CARD = replace(FAST, first_chunk_s=0.01, faults=(FaultRule("crash", text=_POISON),))
_TIMEOUT_S = 60
_TRIES = 20


class WatchHere:
    """The fleet's watch in this process.

    Args:
        watch: Has looked.
    """

    def __init__(self, watch: FleetWatch) -> None:
        self._watch = watch

    async def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        return self._watch.windows(uuids, track, step_s, since)

    def heard(self, report: IngressReport) -> None:
        self._watch.heard(report)

    async def alerts(self) -> tuple[ActiveAlert, ...]:
        return self._watch.alerts()

    async def channels(self) -> tuple[ChannelCount, ...]:
        return (ChannelCount("mail", sent=2, failed=1),)

    async def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        return self._watch.report(hours, language, as_html=as_html)


class InItsLoop:
    """An application that is made, and ended, in the event loop of its server.

    Args:
        made: Makes it.
    """

    def __init__(self, made: Callable[[], AbstractAsyncContextManager[App]]) -> None:
        self._made = made
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            assert self._app is not None
            await self._app(scope, receive, send)
            return
        await receive()
        async with self._made() as self._app:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def everything(store: Path, ring: KeyRing = RING) -> Iterator[str]:
    """The URL of a service with voices, jobs and a fleet; no Ray, and simulated cards."""
    with serving(lambda _url: InItsLoop(lambda: _everything(store, ring))) as served:
        yield served.url


@asynccontextmanager
async def _everything(store: Path, ring: KeyRing) -> AsyncIterator[FastAPI]:
    roster = VoiceRoster(VoiceLibrary("memory://described"))
    engine = replace(ENGINE, library_languages=("en",))
    fleet = Fleet()
    view = ClusterView(fleet, clock=fleet.clock, wall=fleet.clock)
    watch = FleetWatch(
        view,
        thermal=DEFAULT_RULES,
        alerts=(),
        post=lambda _message: None,
        clock=fleet.clock,
        wall=fleet.clock,
    )
    await watch.tick()
    async with scene(store, (_CARD,) * 3, finish=finish_here) as at:
        reader = FileReader(at.folder)
        built = service(
            FakeReplicas(),
            voices=VoiceDesk(roster),
            listed=LibraryReplicas(Known(engine=engine), roster),
            settings=SETTINGS.model_copy(update={"voice_aliases": ALIASES}),
        )
        jobs = JobsPort(at.runner.jobs, reader, JobSettings(store=str(store)))
        built = replace(built, jobs=jobs, fleet=FleetLink(view, WatchHere(watch)))
        yield create_app(built, Access(ring))
        reader.close()
        view.close()


class JobsThatStand:
    """Jobs by where they stand; one that has moved on is replaced when it is next wanted.

    Args:
        url: The service.
    """

    def __init__(self, url: str) -> None:
        self._url, self._ids = f"{url}/v1/jobs", dict[str, str]()

    def one(self, standing: str) -> str:
        """Id of a job that stands there."""
        known = self._ids.get(standing)
        if known is not None and self._stands(known) == standing:
            return known
        for _ in range(_TRIES):  # one that is to stand still may have run to its end before
            made = self._ids[standing] = self._make(standing)
            if self._stands(made) == standing:
                return made
        raise AssertionError(f"no job stays {standing}")

    def _make(self, standing: str) -> str:
        text = {"complete": _SHORT, "failed": f"{_SHORT} {_POISON}."}.get(standing, _LONG)
        order = {"input": text, "format": "wav", "normalise": False}
        ordered = self._called("POST", "", json=order)
        ordered.raise_for_status()
        job_id = str(ordered.json()["id"])
        if standing == "paused":
            self._called("POST", f"/{job_id}/pause")
        if standing == "cancelled":
            self._called("DELETE", f"/{job_id}")
        if standing in {"complete", "failed"}:
            # The events end when the job has.
            self._called("GET", f"/{job_id}/events")
        return job_id

    def _stands(self, job_id: str) -> str | None:
        answer = requests.get(f"{self._url}/{job_id}", headers=HEADERS, timeout=_TIMEOUT_S)
        return str(answer.json()["status"]) if answer.ok else None

    def _called(self, method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(
            method, self._url + path, headers=HEADERS, timeout=_TIMEOUT_S, **more
        )
