"""What becomes of a job's files when something is damaged, killed or removed meanwhile."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from serve_app.core.job_status import Status
from serve_app.errors import ConflictError, NotReadyError
from serve_app.jobs.files import finish_in_child
from serve_app.jobs.finish_work import FinishAnswer, FinishOrder
from serve_app.jobs.folder import Folder
from serve_app.jobs.order import JobOrder
from serve_app.jobs.store import DamagedRecordError
from serve_app.jobs.views import job_json
from serve_app.jobs.writers import Writers
from tests.unit.job_scene import (
    FAST,
    RULES,
    TEXT,
    FailingFolder,
    Scene,
    finish_here,
    scene,
    with_speaking,
)
from tests.unit.test_job_policies import Clock

SHORT = "One ship sails. It never comes back, and nobody knows why."


def spoil(folder: Path, job_id: str, take: str) -> None:
    """Change one byte of the audio of the takes whose names begin so."""
    for path in (folder / "jobs" / job_id / "takes").glob(f"{take}*"):
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(bytes(data))


def all_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def file_told(at: Scene, job_id: str) -> list[tuple[str, str | None]]:
    """State and failure of each file once none is in the making."""
    async with asyncio.timeout(60):
        while True:
            view = await at.runner.jobs.get(job_id)
            files = view.files or ()
            told: list[tuple[str, str | None]] = [(file.state, file.failure) for file in files]
            if view.status.ended and told and "making" not in {state for state, _ in told}:
                return told
            await asyncio.sleep(0.01)


async def test_a_damaged_job_is_listed_with_what_to_do_about_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        plan, record, state, sound = [
            await at.submit(SHORT, title=title, idempotency_key=title)
            for title in ("plan", "record", "state", "sound")
        ]
        for job_id in (plan, record, state, sound):
            await at.done(job_id)
    jobs = tmp_path / "jobs"
    restored = (jobs / plan / "plan.json").read_bytes()
    (jobs / plan / "plan.json").unlink()
    (jobs / record / "job.json").write_bytes(b"{")
    next((jobs / state).glob("state.*.json")).write_bytes(b"{}}")
    async with scene(tmp_path) as at:
        with pytest.raises(DamagedRecordError, match="missing"):
            await at.runner.jobs.get(plan)  # of jobs that have ended, only those that are looked at
        told = {view.id: view for view in await at.runner.jobs.list()}
        assert told.keys() == {plan, record, state, sound}
        assert told[sound].status is Status.COMPLETE
        assert {told[it].title for it in (plan, state)} == {"plan", "state"}
        for job_id in (plan, record, state):
            said = job_json(told[job_id])
            assert said["status"] == "damaged"
            assert "restore it" in said["reason"]
            assert "delete the job" in said["reason"]
        with pytest.raises(DamagedRecordError):  # nothing is written over what may be restored
            await at.runner.jobs.submit(JobOrder(SHORT, title="plan", idempotency_key="plan"))
        (jobs / plan / "plan.json").write_bytes(restored)
        assert (await at.runner.jobs.get(plan)).status is Status.COMPLETE
        assert (await at.runner.jobs.list())[-1].status is Status.DAMAGED
        for job_id in (plan, record, state):
            await at.runner.jobs.forget(job_id)
        assert [view.id for view in await at.runner.jobs.list()] == [sound]


async def test_a_job_that_was_copied_back_in_part_keeps_its_audio(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        whole, half_made = await at.submit(SHORT), await at.submit(SHORT)
        for job_id in (whole, half_made):
            await at.done(job_id)
        undisturbed = await at.heard(whole)
    jobs = tmp_path / "jobs"
    record = (jobs / whole / "job.json").read_bytes()
    (jobs / whole / "job.json").unlink()
    (jobs / half_made / "job.json").unlink()
    for take in (jobs / half_made / "takes").iterdir():
        take.unlink()
    async with scene(tmp_path) as at:
        (view,) = await at.runner.jobs.list()
        assert (view.id, view.status) == (whole, Status.DAMAGED)
        assert "are missing; restore" in view.reason
        assert not (jobs / half_made).exists()
        (jobs / whole / "job.json").write_bytes(record)
        assert await at.heard(whole) == undisturbed
        assert at.cards.spoken == []


class StuckFolder(Folder):
    """A folder in which nothing can be removed with all that is in it."""

    def remove_tree(self, path: str) -> None:
        raise NotReadyError("stuck")


async def test_a_removal_that_was_begun_is_ended_by_the_next_runner(tmp_path: Path) -> None:
    async with scene(StuckFolder(str(tmp_path))) as at:
        job_id = await at.submit(SHORT)
        await at.done(job_id)
        with pytest.raises(NotReadyError, match="stuck"):
            await at.runner.jobs.forget(job_id)
    assert list((tmp_path / "jobs" / job_id / "takes").iterdir())
    async with scene(tmp_path) as at:
        assert await at.runner.jobs.list() == ()
    assert job_id not in all_files(tmp_path)


async def test_a_full_disk_can_be_made_room_on(tmp_path: Path) -> None:
    full = False
    async with scene(FailingFolder(str(tmp_path), lambda _path: full)) as at:
        job_id = await at.submit(SHORT)
        await at.done(job_id)
        full = True
        await at.runner.jobs.forget(job_id)
        assert not (tmp_path / "jobs" / job_id).exists()


async def test_a_lost_take_of_an_old_edition_is_spoken_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job_id = await at.submit(SHORT)
        await at.done(job_id)
        before = await at.heard(job_id)
        await at.runner.jobs.retry(job_id, 0)
        await at.until(job_id, lambda view: view.status.ended and view.edition == 1)
        newest = await at.heard(job_id)
        spoil(tmp_path, job_id, "000000.0000.")
        assert await at.heard(job_id, edition=0) == before
        view = await at.done(job_id)
        assert (view.status, view.edition) == (Status.COMPLETE, 1)
        assert any("damaged" in text and "spoken again" in text for text in view.warnings)
        assert await at.heard(job_id) == newest


async def test_what_a_cancelled_job_loses_is_not_said_to_come_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job_id = await at.submit()
        await at.until(job_id, lambda view: view.done > 1)
        await at.runner.jobs.cancel(job_id)
        spoil(tmp_path, job_id, "000000.0000.")
        await at.heard_until_error(job_id)
        view = await at.runner.jobs.get(job_id)
        assert view.status is Status.CANCELLED
        assert [text for text in view.warnings if "gone" in text]


async def test_an_ordered_file_is_made_again_once_damaged_audio_is_spoken_again(
    tmp_path: Path,
) -> None:
    made: list[FinishAnswer] = []

    async def finish(order: FinishOrder) -> FinishAnswer:
        if not made:
            spoil(tmp_path, order.job_id, "000000.")
        made.append(await finish_here(order))
        return made[-1]

    async with scene(tmp_path, finish=finish) as at:
        job_id = await at.submit(SHORT)
        assert await file_told(at, job_id) == [("made", None)]
    assert [answer.outcome for answer in made] == ["damaged", "made"]


async def test_a_file_s_process_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job_id = await at.submit("\n\n".join([TEXT] * 10))
        await at.done(job_id)
        order = FinishOrder(
            store=str(tmp_path),
            store_options={},
            job_id=job_id,
            edition=0,
            audio_format="mp3",
            target_lufs=-16.0,
            limit_s=60.0,
        )
        before = all_files(tmp_path)
        making = asyncio.create_task(finish_in_child(order))
        staged = tmp_path / "jobs" / job_id / "output" / f".{order.staging}.tmp"
        while not staged.exists() and not making.done():
            await asyncio.sleep(0.005)
        assert not making.done()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert all_files(tmp_path) - before <= {"output"}


async def test_what_is_being_read_stays_until_nobody_has_read_it_for_a_while(
    tmp_path: Path,
) -> None:
    clock, at_s = Clock(), 1_000.0
    rules = replace(
        with_speaking(RULES, clock=clock), wall=lambda: at_s, retention_s=1e9, max_age_s=50.0
    )
    async with scene(tmp_path, rules=rules, finish=finish_here) as at:

        def passes(seconds: float) -> None:
            clock.now_s += seconds
            at.runner._lease.renew()

        read, other = await at.submit(SHORT), await at.submit(SHORT)
        for job_id in (read, other):
            assert await file_told(at, job_id) == [("made", None)]
        first = await at.runner.jobs.file(read, audio_format="wav")
        for edition in (1, 2):
            await at.runner.jobs.retry(read, 0)
            await at.until(read, lambda view: view.status.ended)
            await at.runner.jobs.file(read, audio_format="wav", edition=edition, wait_s=20)
        assert first.name in all_files(tmp_path)
        at_s += 100.0
        passes(rules.grace_s - 1.0)
        await at.runner.jobs.reading(read, str(first.name))
        passes(rules.grace_s - 1.0)
        await at.runner._shelf.retain()
        assert [view.id for view in await at.runner.jobs.list()] == [read]
        await at.runner.jobs.retry(read, 0)
        await at.until(read, lambda view: view.status.ended)
        passes(2.0)
        await at.runner.jobs.file(read, audio_format="wav", edition=3, wait_s=20)
        assert first.name not in all_files(tmp_path)
        at_s += 100.0
        passes(rules.grace_s + 1.0)
        await at.runner._shelf.retain()
        assert await at.runner.jobs.list() == ()


async def test_a_finished_file_is_as_loud_as_the_settings_say(tmp_path: Path) -> None:
    rules = replace(RULES, target_lufs=-23.0)
    async with scene(tmp_path, rules=rules, finish=finish_here) as at:
        job_id = await at.submit(SHORT)
        await at.done(job_id)
        file = await at.runner.jobs.file(job_id, audio_format="wav", wait_s=20)
    assert file.lufs == pytest.approx(-23.0, abs=1.0)


def test_a_staging_folder_of_a_remote_store_can_be_cleared_by_its_name() -> None:
    folder = Folder("memory://staged")
    with pytest.raises(RuntimeError), folder.staging("jobs/x/output", "here") as place:
        (place / "signal").write_bytes(b"half")
        folder.unstage("jobs/x/output", "here")
        assert not place.exists()
        raise RuntimeError
    folder.unstage("jobs/x/output", "here")  # once more does nothing


class HeldTakes(Folder):
    """A folder in which the next take waits until it is let go."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.holds = False
        self.reached, self.go = threading.Event(), threading.Event()

    def write(self, path: str, data: bytes) -> None:
        if self.holds and "/takes/" in path:
            self.holds = False
            self.reached.set()
            assert self.go.wait(20)
        super().write(path, data)


async def test_a_forgotten_job_stays_gone_though_a_write_was_on_its_way(tmp_path: Path) -> None:
    folder = HeldTakes(str(tmp_path))
    async with scene(folder, [FAST]) as at:
        folder.holds = True
        job_id = await at.submit()
        assert await asyncio.to_thread(folder.reached.wait, 20)
        with pytest.raises(ConflictError):
            await at.runner.jobs.forget(job_id)
        await at.runner.jobs.cancel(job_id)
        forgetting = asyncio.create_task(at.runner.jobs.forget(job_id))
        assert not (await asyncio.wait({forgetting}, timeout=0.2))[0]
        folder.go.set()
        await forgetting
        assert not (tmp_path / "jobs" / job_id).exists()
    assert not (tmp_path / "jobs" / job_id).exists()


def test_a_removal_waits_for_writes_and_refuses_later_ones() -> None:
    writers = Writers(limit_s=0.01)
    with writers.writing("a"), pytest.raises(NotReadyError, match="still"), writers.removing("a"):
        raise AssertionError("it must not begin")
    with pytest.raises(RuntimeError), writers.removing("a"):
        raise RuntimeError  # the store failed: the job is still there
    with writers.writing("a"):
        pass
    with writers.removing("a"), pytest.raises(NotReadyError, match="removed"), writers.writing("a"):
        raise AssertionError("it must not write")
    with pytest.raises(NotReadyError, match="removed"), writers.writing("a"):
        raise AssertionError("it must not write")
    with writers.writing("b"):
        pass
    writers.begin("a")
    with writers.writing("a"):
        pass
