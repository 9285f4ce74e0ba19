"""Jobs when two things happen at once, or when their files are not what was written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from serve_app.core.job_status import Status
from serve_app.engines.base import EngineInfo
from serve_app.errors import NotFoundError, ServeError
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.folder import Folder
from serve_app.jobs.lease import LeaseLostError
from serve_app.jobs.order import JobOrder
from serve_app.jobs.records import JobRecord
from serve_app.jobs.runner import JobRunner
from serve_app.jobs.store import JobStore
from tests.unit.job_scene import FAST, RULES, Cards, FailingFolder, scene

SHORT = "One ship sails. It never comes back, and nobody knows why."
SLOW = replace(FAST, first_chunk_s=0.05, real_time_factor=0.05)


class HeldFolder(Folder):
    """A folder in which chosen writes wait until they are let go."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.holds: Callable[[str, bytes], bool] = lambda _path, _data: False
        self.reached, self.go = threading.Event(), threading.Event()

    def write(self, path: str, data: bytes) -> None:
        if self.holds(path, data):
            self.holds = lambda _path, _data: False
            self.reached.set()
            assert self.go.wait(20)
        super().write(path, data)


async def _reached(folder: HeldFolder) -> None:
    assert await asyncio.to_thread(folder.reached.wait, 20)


async def test_an_older_state_never_replaces_a_newer_one(tmp_path: Path) -> None:
    folder = HeldFolder(str(tmp_path))
    async with scene(folder, [SLOW]) as here:
        job_id = await here.submit()
        await here.until(job_id, lambda view: view.status is Status.RUNNING)
        folder.holds = lambda path, data: "/state." in path and b'"paused"' in data
        paused = asyncio.create_task(here.runner.jobs.pause(job_id))
        await _reached(folder)
        cancelled = asyncio.create_task(here.runner.jobs.cancel(job_id))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(cancelled)
        folder.go.set()
        await asyncio.gather(paused, cancelled)
        store = JobStore(Folder(str(tmp_path)), lambda: 1)
        assert store.state(job_id).status is Status.CANCELLED


async def test_a_job_that_was_kept_runs_though_its_client_left(tmp_path: Path) -> None:
    folder = HeldFolder(str(tmp_path))
    async with scene(folder) as here:
        folder.holds = lambda path, _data: path.endswith("job.json")
        submitting = asyncio.create_task(here.runner.jobs.submit(JobOrder(SHORT)))
        await _reached(folder)
        submitting.cancel()
        await asyncio.sleep(0)  # now it knows
        folder.go.set()
        await asyncio.wait({submitting})
        async with asyncio.timeout(20):
            while not (jobs := await here.runner.jobs.list()):
                await asyncio.sleep(0.01)
        await here.done(jobs[0].id)


async def test_an_ended_job_with_a_damaged_plan_does_not_stop_the_runner(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        job_id = await here.submit(SHORT)
        await here.done(job_id)
    (tmp_path / "jobs" / job_id / "plan.json").write_bytes(b"{")
    rules = replace(RULES, max_age_s=-1.0, retention_s=0.01)
    async with scene(tmp_path, rules=rules) as here:
        async with asyncio.timeout(20):
            while (tmp_path / "jobs" / job_id).exists() and here.runner._lost is None:
                await asyncio.sleep(0.01)
        here.runner.health()
        with pytest.raises(NotFoundError):
            await here.runner.jobs.get(job_id)


async def test_retention_leaves_a_job_that_is_used_again_meanwhile(tmp_path: Path) -> None:
    rules = replace(RULES, retention_s=1e9)
    async with scene(tmp_path, rules=rules) as here:
        first, second = await here.submit(SHORT), await here.submit(SHORT + " Really.")
        await here.done(first)
        await here.done(second)
        shelf = here.runner._shelf
        shelf._crew = replace(shelf._crew, rules=replace(rules, max_bytes=1))
        real = shelf._crew.store.size_bytes
        loop = asyncio.get_running_loop()
        retried: list[str] = []

        def sizes(job_id: str) -> int:
            if not retried:
                retried.append(first)
                asyncio.run_coroutine_threadsafe(here.runner.jobs.retry(first, 0), loop).result(20)
            return real(job_id)

        shelf._crew.store.size_bytes = sizes  # type: ignore[method-assign] # something happens meanwhile
        await shelf.retain()
        await here.done(first)
        assert [view.id for view in await here.runner.jobs.list()] == [first]


async def test_a_job_whose_plan_is_gone_keeps_its_audio(tmp_path: Path) -> None:
    async with scene(tmp_path, [SLOW]) as here:
        job_id = await here.submit()
        await here.until(job_id, lambda view: view.done > 1)
    here_files = tmp_path / "jobs" / job_id
    (here_files / "plan.json").unlink()
    before = {path.name for path in (here_files / "takes").iterdir()}
    async with scene(tmp_path) as here:
        with pytest.raises(ServeError, match="missing"):
            await here.runner.jobs.get(job_id)
        assert {path.name for path in (here_files / "takes").iterdir()} == before


async def test_a_lease_lost_while_jobs_are_taken_over_ends_the_runner(tmp_path: Path) -> None:

    cards = Cards([FAST])
    runner = JobRunner(
        Folder(str(tmp_path)), speak=cards.speak, engine=cards.engine, slots=1, rules=RULES
    )
    runner._lease.acquire()
    runner._lease.release()
    tries = 0

    async def adopt() -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            runner._lose("another runner has it")
        if tries > 50:
            raise AssertionError("it never gives up")
        raise LeaseLostError("another runner has it")

    async with asyncio.timeout(10):
        await runner._insist(adopt)
    assert tries == 1
    await runner.close()
    await cards.close()


async def test_a_retry_that_had_to_wait_for_the_engine_is_not_forgotten(tmp_path: Path) -> None:
    async with scene(tmp_path, rules=replace(RULES, loaded_jobs=0)) as here:
        job_id = await here.submit(SHORT)
        await here.done(job_id)
        asked, go = asyncio.Event(), asyncio.Event()

        async def slow_engine() -> EngineInfo:
            asked.set()
            await go.wait()
            return here.cards.info

        desk, shelf = here.runner.jobs, here.runner._shelf
        desk._engine = slow_engine
        speaker = next(iter((await desk.get(job_id)).voices))
        retrying = asyncio.create_task(desk.retry(job_id, 0, voices={speaker: "sim-2"}))
        await asked.wait()
        await here.runner._crew.save(await shelf.get(job_id))
        before = await shelf.get(job_id)
        shelf.make_room()
        assert await shelf.get(job_id) is before
        go.set()
        await retrying
        assert (await desk.get(job_id)).edition == 1


def test_what_a_dead_runner_left_half_written_in_the_cache_goes(tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".0123.take.4567.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    SegmentCache(Folder(str(tmp_path)), 1_000).load()
    assert not left.exists()


async def test_what_ended_in_the_last_moment_is_written_down(tmp_path: Path) -> None:
    full = True
    folder = FailingFolder(str(tmp_path), lambda path: full and ".state." in path)
    async with scene(folder, rules=replace(RULES, tick_s=1e9)) as here:
        job_id = await here.submit(SHORT)
        await here.done(job_id)
        async with asyncio.timeout(20):
            while job_id in here.runner._runs and not here.runner._runs._runs[job_id][1].done():
                await asyncio.sleep(0.01)
        full = False
    assert JobStore(Folder(str(tmp_path)), lambda: 1).state(job_id).status is Status.COMPLETE


async def test_a_store_that_is_slow_to_tidy_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        before = await here.submit(SHORT)
        await here.done(before)
    left = tmp_path / "jobs" / before / "output" / ".half.tmp"
    left.mkdir(parents=True)
    go, reached = threading.Event(), threading.Semaphore(0)

    def held(real: Callable[[JobStore, str], object]) -> Callable[[JobStore, str], object]:
        def wait(store: JobStore, job_id: str) -> object:
            reached.release()
            assert go.wait(20)
            return real(store, job_id)

        return wait

    monkeypatch.setattr(JobStore, "size_bytes", held(JobStore.size_bytes))
    async with scene(tmp_path, rules=replace(RULES, retention_s=0.0)) as here:
        assert await asyncio.to_thread(reached.acquire, timeout=20)
        assert not left.exists()
        await here.done(await here.submit(SHORT))
        go.set()
    monkeypatch.setattr(JobStore, "sweep", held(JobStore.sweep))
    go.clear()
    async with scene(tmp_path) as here:
        assert len(await here.runner.jobs.list()) == 2
        go.set()


async def test_jobs_are_taken_over_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        for _ in range(4):
            await here.done(await here.submit(SHORT))
    met, real = threading.Barrier(4), JobStore.job

    def job(store: JobStore, job_id: str) -> JobRecord:
        met.wait(20)
        return real(store, job_id)

    monkeypatch.setattr(JobStore, "job", job)
    async with scene(tmp_path) as here:
        assert len(await here.runner.jobs.list()) == 4
